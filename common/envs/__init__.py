"""Environments behind one small interface; nothing is imported before it is used.

    base          Env, the protocol, and Wrapper, which passes everything on
    wrappers      TimeLimit, ActionRepeat
    gym_spaces    spaces of Gymnasium or classic gym -> arrays and actions of ours
    gym_adapter   any Gymnasium or classic gym environment -> Env
    checks        what is wrong with an environment, said before it is used
    suites        tasks by name, SUITE_NAME: the table of the modules below
    generic       any registered Gymnasium id -> Env
    minigrid      MiniGrid and MultiSkill tasks -> Env
    minihack      MiniHack levels -> Env, each in a supervised process
    minihack_level  what such a process makes (needs the package)
    atari         Atari games -> Env
    dmc           DeepMind Control Suite -> Env, in a process of its own
    crafter       Crafter -> Env
    parallel      an Env in a thread or a process
    supervised    an Env in a process that is replaced when it crashes, hangs or grows
    worker        the program that such a process runs

An Env has

    obs_specs     dict[str, specs.ArraySpec]: uint8 [H, W, C] or float32 [n]
    act_spec      specs.ActionSpec: float32 [A], one-hot or in [-1, 1]^A
    reset(seed)   -> transition with reward 0 and is_first
    step(action)  -> transition
    close()
    get_state(), set_state(state)   what outlives an episode, such as visit counts

A transition is a dict with every key of obs_specs, `reward` float32 (), and the bool
() flags `is_first`, `is_last`, `is_terminal` (never for a time limit). Keys that begin
with `log_` are for logging alone and not in obs_specs. `action`, the one that led to
the observation, is added by common.driver.
"""
