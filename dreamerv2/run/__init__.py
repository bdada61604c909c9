"""A run: `loop` has the loop, `training` what it calls, `build` makes the parts.

`tasks` and `phases` say what is trained when, `rundir` owns the folder, `checkpoint`
its snapshots.
"""
