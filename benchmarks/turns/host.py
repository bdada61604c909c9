"""The process in which an adapter runs: answers requests, one JSON line each.

    PYTHON benchmarks/turns/host.py ADAPTER

It is started by `inturn` beside it, with any interpreter from Python 3.8 on, and needs
the standard library alone, so that the implementation that the adapter calls may have
its own versions of everything, even packages that bear our names. Requests arrive on
stdin, replies leave on stdout; what the implementation itself prints goes to stderr.
Between requests the process blocks on its pipe and takes no CPU.

    {"make": KIND, "name": NAME, "case": {...}}  what make_KIND(case) returns is kept
    {"trace": NAME}                              builds its graph, where it can apart
    {"run": NAME, "count": N}                    calls it N times

Replies have `wall` seconds of each call and `cpu` seconds of all, `memory`, the most
bytes that the process has held, and `info`. An exception is answered by `error`.

An adapter is a Python file with some of `make_update(case)`, `make_policy(case)` and
`make_training(case)`. What these return is called for one update, one policy step or a
whole run, and returns when that is done. It may have a method `trace()`, which builds
the graph without running it, and a dict `info`: `weights`, their number; after a run
`returns`, pairs of the step at which an episode ends and its return, and `settings` by
name. `case` says what to build, see `cases` beside it and `benchmarks.learning.runs`;
what an implementation cannot do is a ValueError. The adapter may name itself,
`NAME = "..."`. `benchmarks/adapters/` has some.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import signal
import sys
import time
import traceback

DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "torch", "jax", "numpy")


def load(file):
    """Imports the adapter, which is no module of any package."""
    spec = importlib.util.spec_from_file_location("adapter", file)
    if spec is None:
        raise ValueError("an adapter is a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module
    spec.loader.exec_module(module)
    return module


def describe(adapter):
    """Returns the adapter's name and the versions below it."""
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"name": getattr(adapter, "NAME", None), "versions": versions}


def make(adapter, kind, case):
    """Returns the callable that the adapter makes of a case."""
    maker = getattr(adapter, "make_" + kind, None)
    if maker is None:
        raise ValueError(f"the adapter has no function make_{kind}(case)")
    made = maker(case)
    if not callable(made):
        raise ValueError(f"make_{kind}(case) returned {made!r}, which is not callable")
    return made


def timed(function, count):
    """Calls a function; returns the seconds of each call and the CPU of all."""
    wall, cpu = [], time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        function()
        wall.append(time.perf_counter() - start)
    return {"wall": wall, "cpu": time.process_time() - cpu}


def answer(adapter, made, request):
    """Does what a request says."""
    if "make" in request:
        name = request["name"]
        made[name] = make(adapter, request["make"], request["case"])
        reply = {}
    elif "trace" in request:
        name = request["trace"]
        trace = getattr(made[name], "trace", None)
        reply = {"wall": []} if trace is None else timed(trace, 1)
    else:
        name = request["run"]
        reply = timed(made[name], request["count"])
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = kilobytes if sys.platform == "darwin" else 1024 * kilobytes
    return {**reply, "memory": memory, "info": getattr(made[name], "info", {})}


def guarded(function, *args):
    """Returns the result, or what went wrong."""
    try:
        return function(*args)
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        return {"error": text, "traceback": traceback.format_exc()}


def main():
    """Answers until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides
    del sys.path[0]  # this folder, whose files are no packages
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    adapter, made = None, {}

    def start():
        nonlocal adapter
        adapter = load(sys.argv[1])
        return describe(adapter)

    reply = guarded(start)
    while True:
        print(json.dumps(reply), file=replies, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        reply = guarded(answer, adapter, made, json.loads(line))


if __name__ == "__main__":
    main()
