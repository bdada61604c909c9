"""What is read from logs: `logs` finds runs, `evaluations` their evaluations.

`continual` has performance, forgetting and transfer, `bands` joins seeds, `scores`
has published curves and statistics over tasks, `panels` what a figure shows, and
`drawing` draws it.
"""
