"""What is read from logs: `logs` finds runs, `evaluations` their evaluations.

`continual` has performance, forgetting and transfer, `intervals` means over runs with
their intervals, `bands` joins the curves of seeds, `scores` has published curves and
statistics over tasks, `panels` what a figure shows, and `drawing` draws it.
"""
