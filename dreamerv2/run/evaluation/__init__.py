"""What a run is measured by while it learns.

`evaluator` plays every task with the agent, `set_aside` judges the world model on
episodes that no policy has chosen.
"""
