"""Schedules that sum a vector over all workers, one file each."""
