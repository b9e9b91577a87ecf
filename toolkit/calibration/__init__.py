"""Calibration: the constants of a machine from the times of a handful of gradients.

`probes` are the networks, `timing` takes their times, `fit` finds the constants by which `toolkit.core.device.Device` says them.
"""
