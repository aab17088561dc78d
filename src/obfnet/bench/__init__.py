"""Side-by-side measurements: each command gives one result file, from which documents take their figures.

Absolute times of a machine mean nothing to another: every time is reported beside a reference that was
timed in the same go, in turn with it.
"""
