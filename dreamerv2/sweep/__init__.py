"""Many runs: a sweep, every trial of a file in a process of its own, or a comparison.

A file is read (`form`) and becomes trials (`plan`). The `supervisor` starts them on the
`cluster` (Ray), where each is a `process` behind the `launcher`, and starts them again;
`progress` reads how far a trial is, `table` shows it. A `comparison` is a few runs of
one script in one process, which differ in their replay.
"""
