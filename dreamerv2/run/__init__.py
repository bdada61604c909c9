"""A run: `loop` has the loop, `training` and `sources/collector` what it calls.

`build` makes the parts that depend on a configuration. `tasks` and `phases` say what is
trained when, `rundir` owns the folder, `checkpoint` its snapshots.
"""
