"""Where a run has its experience from, and its first weights.

`collector` plays in environments. `saved` finds what another run has saved, and
`initial` gives its weights to an agent that begins.
"""
