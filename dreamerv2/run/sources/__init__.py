"""Where a run has its experience from, and its first weights.

`collector` plays in environments, `offline` stands still where there are episodes
already. `saved` finds what another run has saved, and `initial` gives its weights to an
agent that begins. `datasets` makes episodes of a dataset of Minari.
"""
