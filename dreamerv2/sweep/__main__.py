"""Runs every trial of a sweep file on Ray, here or on a cluster, and reports.

python -m dreamerv2.sweep sweeps/forgetting.yaml
python -m dreamerv2.sweep sweeps/minigrid3.yaml --address auto

The same command again runs only what is missing.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import shutil
import sys
from collections.abc import Sequence

from dreamerv2 import cli
from dreamerv2.run import rundir, stopping
from dreamerv2.sweep import cluster, process, progress, supervisor
from dreamerv2.sweep import plan as plan_lib
from dreamerv2.sweep import table as table_lib

REPORT = "report"
FILE = "sweep.yaml"  # a copy of what was asked for


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sweep; returns the exit status.

    0: every trial is finished; 1: some have failed for good; 130 and 143: stopped by
    Ctrl-C or SIGTERM, the same command goes on.

    Args:
      argv: As in `sys.argv[1:]`.

    Raises:
      ValueError: If the sweep cannot be run as it is; nothing has been started.
    """
    args = _parse(argv)
    plan = plan_lib.make(args.file, args.logdir)
    if args.dry_run:
        for trial in plan.trials:
            print(shlex.join(["python", *_short(plan.command(trial))]))
        return 0
    with rundir.locked(plan.logdir):
        _keep_copy(pathlib.Path(args.file).expanduser().resolve(), plan.logdir / FILE)
        statuses, signal_name = _run(plan, args)
    code = _conclude(statuses, signal_name)
    if not signal_name:
        _report(plan, args.outdir)
    return code


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dreamerv2.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", help="the sweep, see sweeps/")
    parser.add_argument("--logdir", default="", help="in place of the file's")
    parser.add_argument("--outdir", default="", help="of the report; LOGDIR/report")
    text = "print the commands of all trials and start nothing"
    parser.add_argument("--dry_run", action="store_true", help=text)
    text = "of a Ray cluster, such as auto; without it this machine alone is used"
    parser.add_argument("--address", default="", help=text)
    text = "how many of this machine's to use, 0 = all"
    parser.add_argument("--cpus", type=int, default=0, help=text)
    text = "how many of this machine's to use, -1 = all"
    parser.add_argument("--gpus", type=int, default=-1, help=text)
    return parser.parse_args(argv)


def _short(command: Sequence[str]) -> list[str]:
    """The command with the script's path as one would type it here."""
    script, here = pathlib.Path(command[0]), pathlib.Path.cwd()
    if script.is_relative_to(here):
        script = script.relative_to(here)
    return [str(script), *command[1:]]


def _keep_copy(path: pathlib.Path, copy: pathlib.Path) -> None:
    """Keeps a copy of the sweep file beside the runs; it may be run itself."""
    if path != copy:
        shutil.copyfile(path, copy)


def _run(
    plan: plan_lib.Plan, args: argparse.Namespace
) -> tuple[list[supervisor.Status], str]:
    """Runs what is missing; returns how the trials are, and a signal's name."""
    statuses = [supervisor.examine(trial) for trial in plan.trials]
    missing = [s for s in statuses if s.state != supervisor.FINISHED]
    print(f"{len(missing)} of {len(statuses)} trials are to be run, in {plan.logdir}.")
    if not missing:
        return statuses, ""
    with (
        cluster.connected(args.address, plan.resources, args.cpus, args.gpus) as pool,
        stopping.StopRequest() as stop,
    ):
        table = table_lib.Table()
        loop = supervisor.Loop(plan, statuses, pool, table.show)
        loop.run(stop)
        return statuses, stop.name


def _conclude(statuses: Sequence[supervisor.Status], signal_name: str) -> int:
    """Says what has failed, and with which words; returns the exit status."""
    failed = [s for s in statuses if s.state == supervisor.FAILED]
    for status in failed:
        log = status.trial.folder / process.LOG
        print(f"\n{status.trial.tag} has failed: {status.problem}. The end of {log}:")
        print(progress.log_end(log))
    print(f"\n{table_lib.head(statuses)}.")
    if signal_name:
        print(f"{signal_name}: stopped. The same command goes on.")
        return 130 if signal_name == "SIGINT" else 143
    return 1 if failed else 0


def _report(plan: plan_lib.Plan, outdir: str) -> None:
    """Writes the report over all trials that are there."""
    try:
        from dreamerv2 import report
    except ImportError as error:  # drawing is an extra
        print(f"No report ({error}): pip install -e '.[plot]' -c constraints.txt")
        return
    out = outdir or str(plan.logdir / REPORT)
    try:
        print(f"The report is {report.write([str(plan.logdir)], out)}.")
    except ValueError as error:  # such as no run at all; it is no fault of the trials
        print(f"No report: {error}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(lambda: sys.exit(main()))
