"""A long run of the smallest agent that watches its memory, for run/tf/test_runs.py.

    python tests/steady.py FOLDER [LEAK]

Four tasks, 2,000 updates with Plan2Explore. Prints as JSON the resident bytes at every
50th update and how often each graph was traced. LEAK: bytes that each update loses, to
see that it would be noticed.
"""

import gc
import json
import os
import pathlib
import sys

import dummies
import numpy as np

from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import learner

UPDATES, TASKS, EVERY = 2000, 4, 50


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main(folder: str, leak: str = "0") -> None:
    sizes, lost, agents = [], [], []
    update, construct = learner.Learner.update, agent_lib.Agent.__init__

    def watched(self, step):
        update(self, step)
        lost.append(np.ones(int(leak), np.uint8))
        if self.updates % EVERY == 0:
            gc.collect()
            sizes.append(resident())

    def remembered(self, *args, **kwargs):
        construct(self, *args, **kwargs)
        agents.append(self)

    learner.Learner.update, agent_lib.Agent.__init__ = watched, remembered
    dummies.run(
        pathlib.Path(folder),
        dummies.Tapes(TASKS),
        steps=UPDATES // TASKS + 20,
        train_every=1,
        log_every=100,
        eval_every=100,
        expl_behavior="Plan2Explore",
    )
    (agent,) = agents
    traces = {
        name: graph.experimental_get_tracing_count()
        for name, graph in vars(agent).items()
        if hasattr(graph, "experimental_get_tracing_count")
    }
    print(json.dumps({"sizes": sizes, "traces": traces}))


if __name__ == "__main__":
    main(*sys.argv[1:])
