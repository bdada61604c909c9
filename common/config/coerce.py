"""The type rules of the configuration: a new value takes the type of the old one.

    old value        accepts                                   example
    bool             true, false, 1, 0, also as text           "True" -> True
    int              whole numbers, also as text; False = 0    "5e3" -> 5000
    float            numbers, also as text, but not nan        "1e-4" -> 0.0001
    str              text and numbers, but not booleans        16 -> "16"
    list             a list, a tuple, "a,b,c", a single value  "4,4" -> (4, 4)

Elements of a list take the type of the old list's first element. Elements that
replace an empty list have a free type: whole numbers become int, other numbers float,
the rest stays as it is. Lists are kept as tuples, so that nobody can alter them.
"""

import difflib
import math
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration key, value, block or flag that cannot be accepted."""


def convert(key: str, old: object, value: object) -> object:
    """Returns `value` in the type of `old`.

    Args:
      key: the name of the setting, for the error message.
      old: the present value (bool, int, float, str or tuple).
      value: the new value; NumPy scalars are accepted as Python numbers.

    Raises:
      ConfigError: `value` does not fit, see the table above.
    """
    value = _as_python(value)
    if isinstance(old, tuple):
        return _to_tuple(key, old, value)
    name, rule, function = _SCALARS[type(old)]
    try:
        return function(value)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(
            f"{key} = {value!r}: not {name}; give {rule} (it was {show(old)})."
        ) from None


def check(key: str, value: object) -> object:
    """Returns a first value in the form it is kept in: a scalar or a tuple of them.

    Raises:
      ConfigError: the value is of a type that a configuration cannot hold.
    """
    value = _as_python(value)
    if isinstance(value, list | tuple):
        return tuple(_check_scalar(key, _as_python(element)) for element in value)
    return _check_scalar(key, value)


def show(value: object) -> str:
    """The value as it would be written behind a flag: `32`, `True`, `a,b`, `''`."""
    if isinstance(value, tuple):
        return ",".join(str(element) for element in value) or "[]"
    return repr(value) if value == "" else str(value)


def kind(value: object) -> str:
    """The name of a value's type: bool, int, float, str or list."""
    return "list" if isinstance(value, tuple) else type(value).__name__


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known dotted names most like `name`, best first; may be empty.

    A name whose last part is `name` comes first (`deter` -> `rssm.deter`), then those
    of similar spelling, then those whose last part is similar.
    """
    known = list(known)
    tails: dict[str, list[str]] = {}
    for candidate in known:
        tails.setdefault(candidate.rsplit(".", 1)[-1], []).append(candidate)
    tail = name.rsplit(".", 1)[-1]
    found = list(tails.get(tail, []))
    found += difflib.get_close_matches(name, known, n=limit, cutoff=0.6)
    for similar in difflib.get_close_matches(tail, tails, n=limit, cutoff=0.75):
        found += tails[similar]
    return list(dict.fromkeys(found))[:limit]


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A sentence that names the nearest known names, or says that none is near."""
    names = [f"{prefix}{found}" for found in nearest(name, known)]
    if not names:
        return "No known name is near it; --help lists them all."
    return f"Did you mean {' or '.join(names)}?"


def _as_python(value: object) -> object:
    """NumPy scalars and arrays as Python values; everything else unchanged."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def _check_scalar(key: str, value: object) -> object:
    if type(value) not in _SCALARS:
        raise ConfigError(
            f"{key} = {value!r}: the type {type(value).__name__} cannot be kept; give "
            "a bool, int, float, str, or a list of these."
        )
    return value


def _to_tuple(key: str, old: tuple, value: object) -> tuple:
    if isinstance(value, str):
        inner = value.strip()
        if inner.startswith("[") and inner.endswith("]"):
            inner = inner[1:-1]
        value = [part.strip() for part in inner.split(",") if part.strip()]
    elif not isinstance(value, list | tuple):
        value = [value]
    value = [_as_python(element) for element in value]
    if not old:
        return tuple(_check_scalar(key, _guess(element)) for element in value)
    return tuple(
        convert(f"{key}[{index}]", old[0], element)
        for index, element in enumerate(value)
    )


def _guess(element: object) -> object:
    if isinstance(element, bool):
        return element
    try:
        return _to_int(element)
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        return _to_float(element)
    except (ValueError, TypeError, OverflowError):
        return element


def _to_bool(value: object) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    text = str(value).strip().lower()
    if text not in known:
        raise ValueError(value)
    return known[text]


def _to_int(value: object) -> int:
    if isinstance(value, str):
        if value.strip().lower() == "false":
            return 0
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if value is True or value != int(value):
        raise ValueError(value)
    return int(value)


def _to_float(value: object) -> float:
    if isinstance(value, bool) or math.isnan(float(value)):
        raise ValueError(value)
    return float(value)


def _to_str(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return repr(value)


_SCALARS = {
    bool: ("a boolean", "True or False", _to_bool),
    int: ("a whole number", "one such as 5000 or 5e3, or False for 0", _to_int),
    float: ("a number", "one such as 0.5 or 1e-4", _to_float),
    str: ("text", "a word or a number (a boolean needs quotes in YAML)", _to_str),
}
