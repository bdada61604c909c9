"""Parts that do not know the agent; each is imported by its own name.

Base (NumPy and the standard library, no TensorFlow, no environment library):

- `specs`: shapes and types of observations and actions.
- `config`: immutable configuration, YAML; `flags` reads the command line for it and
  `coerce` holds the type rules.
- `schedules`: counters, things that happen every n steps, numbers that change.
- `episodes` (and `layouts`), `retention`, `sampling`, `replay`: one episode and its
  file, which episodes stay, which are drawn, and the memory that joins them; `holding`
  has what is held, `store` the folder, `streams` the batches, `tally` counts what is
  drawn, `footprint` the size.
- `driver`: steps environments with a policy.
- `logger`: one record to every output; `outputs` has the terminal and JSON lines,
  `dashboards` TensorBoard and wandb (imported only when used).
- `timing`: seconds by section, speed, time left.
- `continual_metrics`: performance, forgetting, transfer, intervals; `evaluations` reads
  the curves they are made of.
- `curves`: learning curves read from the logs of many runs; `bands` joins seeds,
  `scores` has published curves and statistics over tasks, `panels` what a figure shows.
- `report_runs`, `report_results`, `report_replay`: many runs, what they came to and
  what their replays did; `report_published` has the paper's figures, `report_tables`,
  `report_text` and `report_notes` write.

Environments: `envs`, one file for each suite, imported only when used.

TensorFlow: `tfutils`, `dists`, `layers`, `convolutions`, `nets` and `perception`
(encoder, decoder), `optim`, `embeddings`; `onehots`, `loops` and `pieces` are ways to
multiply, to loop and to differentiate that cost less, `replicas` shares a batch among
devices.

Matplotlib: `drawing`, `report_figures` and `plot`, a script.
"""
