"""How near an update comes to what the machine can do.

The operations of an update (`operations` beside it) over its time, over the rate of one
large product of matrices of the same type, measured in the same rounds. One is the most
that any program could reach whose operations are these; ours leaves out the products of
one-hot latents, so that its share is of the rest.
"""

import contextlib
import statistics

from benchmarks.turns import cases, inturn

OPERATIONS = "operations, 10^9"
RATE = "a product's, 10^9/s"
SHARE = "share of that"
REPEATS = 5  # products in a round


class Limit:
    """Processes that count and multiply for columns of our own implementation."""

    def __init__(self, stack: contextlib.ExitStack):
        """Starts nothing yet; `stack` ends what is started."""
        self._stack = stack
        self._products: dict[str, inturn.Worker] = {}
        self._rates: dict[str, list[float]] = {}
        self._operations: dict[str, int] = {}
        self._precisions: dict[str, str] = {}

    def add(self, name: str, case: cases.Case) -> None:
        """Counts what a column's update computes, and makes its product."""
        with inturn.Worker(inturn.Source()) as worker:
            worker.make("operations", case)
            self._operations[name] = worker.run()["info"]["operations"]
        precision = case["settings"].get("precision", "32")
        self._precisions[name] = precision
        if precision not in self._products:
            worker = self._stack.enter_context(inturn.Worker(inturn.Source()))
            worker.make("product", case)
            worker.run(REPEATS)
            self._products[precision] = worker
            self._rates[precision] = []

    def update(self) -> None:
        """Multiplies, once a round."""
        for precision, worker in self._products.items():
            reply = worker.run(REPEATS)
            seconds = statistics.median(reply["wall"])
            self._rates[precision].append(reply["info"]["operations"] / seconds)

    def figures(self, name: str, seconds: float) -> dict[str, float]:
        """Returns the lines of a column whose updates take so long."""
        if name not in self._operations:
            return {}
        operations = self._operations[name]
        rate = statistics.median(self._rates[self._precisions[name]])
        share = operations / seconds / rate
        return {OPERATIONS: operations / 1e9, RATE: rate / 1e9, SHARE: share}
