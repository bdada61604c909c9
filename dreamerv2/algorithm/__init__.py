"""The algorithm, in the paper's order and words (Hafner et al. 2021).

`losses` has the mathematics, `rssm` and `world_model` section 2.1, `actor_critic`
section 2.2, `behaviour` and `explore` exploration; `agent` puts them together and
`policy` acts.
"""
