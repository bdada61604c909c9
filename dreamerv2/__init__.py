"""DreamerV2 and Continual-Dreamer in TensorFlow 2.

The way through the package: `losses`, `rssm`, `world_model`, `actor_critic` and
`explore` are the algorithm, `agent` puts them together; `phases`, `checkpoint` and
`loop` run it; `api` is what users import (`import dreamerv2.api as dv2`).
"""
