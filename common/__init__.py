"""Parts that do not know the agent.

Without TensorFlow and without an environment library:

- `config`: immutable settings, YAML, flags.
- `specs`, `schedules`, `driver`: shapes of observations and actions; things that happen
  every n steps; stepping environments with a policy.
- `replay`: episodes, which of them stay and which are drawn.
- `records`: what a run writes; `curves`: what is read from that.
- `envs`: environments behind one interface, each suite imported only when used.

With TensorFlow: `compute`, below what a network is, and `nets`.

`plot` is a script.
"""
