"""Environments behind one small interface; nothing is imported before it is used.

    base          Env, the protocol, and Wrapper, which passes everything on
    wrappers      TimeLimit, ActionRepeat
    gym_spaces    spaces of Gymnasium or classic gym -> arrays and actions of ours
    native        raw observations and actions -> ours and back, from the specs alone
    meaning/      what reset and step return in one form; what keys are taken for
    gym_adapter   any Gymnasium or classic gym environment -> Env
    checks        any of one's own -> Env, and what is wrong with it, said before
    registry      tasks by name, SUITE_NAME: the table of the suites
    suites/       one module each, whose `make` returns an Env
    workers/      an Env in a thread, in a process, in one that is supervised

An Env has

    obs_specs     dict[str, specs.ArraySpec]: uint8 [H, W, C] or float32 [n]
    act_spec      specs.ActionSpec: float32 [A], one-hot or in [-1, 1]^A
    reset(seed)   -> transition with reward 0 and is_first
    step(action)  -> transition
    close()
    get_state(), set_state(state)   what outlives an episode, such as visit counts
    readings      may be there: what observations and actions are taken for
    render()      may be there: a picture to look at, uint8 [H, W, C], or None

A transition is a dict with every key of obs_specs, `reward` float32 (), and the bool
() flags `is_first`, `is_last`, `is_terminal` (never for a time limit). Keys that begin
with `log_` are for logging alone and not in obs_specs. `action`, the one that led to
the observation, is added by common.driver.
"""
