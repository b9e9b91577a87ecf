"""Learning over the sea, as it is told: a report and figures that hold what was learnt against hours, joules and bytes on the air."""
