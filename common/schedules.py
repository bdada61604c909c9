"""When something happens and how a number changes, as functions of the step count.

Nothing here knows where a step count comes from.
"""

import functools
import math
import re
from dataclasses import dataclass


class Every:
    """True at the first call, then once for each `interval` steps.

    The intervals are counted from the step of the first call. When a call finds that
    several of them have passed, it is true once for all of them, and the next one
    begins on the same grid.
    """

    def __init__(self, interval: float) -> None:
        """Takes the interval in steps; 0 means never.

        Raises:
          ValueError: the interval is negative or not a whole number.
        """
        self.interval = _whole("interval", interval)
        self._last: int | None = None

    def __call__(self, step: int) -> bool:
        """Says whether the event is due at `step`; steps must not go back."""
        step = int(step)
        if not self.interval:
            return False
        if self._last is None:
            self._last = step
            return True
        passed = (step - self._last) // self.interval
        if passed < 1:
            return False
        self._last += passed * self.interval
        return True

    def get_state(self) -> dict[str, int | None]:
        """The start of the present interval (JSON-able), None before the first call."""
        return {"last": self._last}

    def set_state(self, state: dict[str, int | None]) -> None:
        """Goes on in the interval in which `get_state` was called."""
        self._last = None if state["last"] is None else int(state["last"])


class Until:
    """True as long as the step is below `limit`; always true for a limit of 0."""

    def __init__(self, limit: float) -> None:
        """Takes the limit in steps.

        Raises:
          ValueError: the limit is negative or not a whole number.
        """
        self.limit = _whole("limit", limit)

    def __call__(self, step: int) -> bool:
        """Says whether `step` lies before the limit."""
        return not self.limit or int(step) < self.limit


def _whole(name: str, value: float) -> int:
    if not math.isfinite(value) or value < 0 or value != int(value):
        raise ValueError(
            f"{name} = {value!r}: give a whole number of steps, 0 or more."
        )
    return int(value)


@dataclass(frozen=True)
class Schedule:
    """A number that changes with the step count; made by `parse`.

    Attributes:
      kind: `constant` or a name in `FORMS`.
      numbers: the arguments of that form.
    """

    kind: str
    numbers: tuple[float, ...]

    def __call__(self, step: float) -> float:
        """Returns the value at `step` (0 or more)."""
        return _FUNCTIONS[self.kind](step, *self.numbers)

    def __str__(self) -> str:
        numbers = ",".join(repr(number) for number in self.numbers)
        return numbers if self.kind == "constant" else f"{self.kind}({numbers})"


@functools.lru_cache(maxsize=256)
def parse(expression: str | float) -> Schedule:
    """Reads a schedule: a number or one of four forms.

    - `linear(a,b,d)`: from a to b over d steps, then b.
    - `warmup(w,v)`: from 0 to v over w steps, then v.
    - `exp(a,b,h)`: from a towards b; the distance halves every h steps.
    - `horizon(a,b,d)`: a discount 1 - 1 / h whose horizon h goes from a to b over d
      steps, then stays.

    Raises:
      ValueError: the expression is none of these, names the wrong count of numbers, a
        duration is not above 0, or a horizon is below 1.
    """
    text = str(expression).strip()
    match = re.fullmatch(r"([a-z]+)\s*\(([^()]*)\)", text)
    kind, words = match.groups() if match else ("constant", text)
    names = ("value",) if kind == "constant" else FORMS.get(kind)
    try:
        numbers = tuple(float(word) for word in words.split(","))
    except ValueError:
        numbers = ()
    if names is None or len(numbers) != len(names):
        raise _bad(expression, "it is neither a number nor a known form")
    for name, number in zip(names, numbers, strict=True):
        if not math.isfinite(number):
            raise _bad(expression, f"{name} = {number} is not finite")
        if name in ("d", "w", "h") and number <= 0:
            raise _bad(expression, f"the duration {name} = {number:g} is not above 0")
        if kind == "horizon" and name != "d" and number < 1:
            raise _bad(expression, f"the horizon {name} = {number:g} is below 1")
    return Schedule(kind, numbers)


def _bad(expression: str | float, reason: str) -> ValueError:
    forms = [f"{kind}({','.join(names)})" for kind, names in FORMS.items()]
    return ValueError(
        f"Bad schedule {expression!r}: {reason}; give a number or one of "
        f"{', '.join(forms)}."
    )


def _constant(step: float, value: float) -> float:
    del step
    return value


def _linear(step: float, a: float, b: float, d: float) -> float:
    mix = min(step / d, 1.0)
    return (1.0 - mix) * a + mix * b


def _warmup(step: float, w: float, v: float) -> float:
    return min(step / w, 1.0) * v


def _exp(step: float, a: float, b: float, h: float) -> float:
    return (a - b) * 0.5 ** (step / h) + b


def _horizon(step: float, a: float, b: float, d: float) -> float:
    return 1.0 - 1.0 / _linear(step, a, b, d)


FORMS = {
    "linear": ("a", "b", "d"),
    "warmup": ("w", "v"),
    "exp": ("a", "b", "h"),
    "horizon": ("a", "b", "d"),
}

_FUNCTIONS = {
    "constant": _constant,
    "linear": _linear,
    "warmup": _warmup,
    "exp": _exp,
    "horizon": _horizon,
}
