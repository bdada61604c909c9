"""Draws learning curves from metrics.jsonl files, a panel a task, a colour a method.

    python3 common/plot.py --indir ~/logdir --outdir ~/plots --yaxis eval_return

Writes YAXIS.png (`--format`: pdf, svg) and, with the same numbers, YAXIS.json: `runs`
are the curves of all seeds (`task`, `method`, `seed`, `xs`, `ys`, like the score files
of the DreamerV2 authors), `bands` what became of them (`task`, `method`, `seeds`,
`xs`, `mid`, `low`, `high`), `statistics` the same over several tasks, `references`
scores drawn as lines.
"""

import argparse
import json
import logging
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence

if __name__ == "__main__":
    # Run as a script, Python looks for modules in common/ instead of the root.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from common.curves import bands, drawing, logs, panels, paper, scores

_LOG = logging.getLogger("plot")


def main(argv: Sequence[str] | None = None) -> int:
    """Draws what the command line asks for; returns the exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        look, rule, baselines = _check(args)
    except ValueError as error:
        parser.error(str(error))
    return _run(args, look, rule, baselines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    some = {"nargs": "+", "default": []}
    group = parser.add_argument_group("what is drawn")
    group.add_argument("--indir", **some, help="folders with runs")
    group.add_argument("--outdir", required=True, help="folder for the picture")
    group.add_argument("--xaxis", default="step", help="metric (default: step)")
    group.add_argument("--yaxis", default="eval_return", help="metric, NAME_0, ... too")
    group.add_argument("--tasks", **some, help="patterns of the tasks, in their order")
    group.add_argument("--methods", **some, help="patterns of the methods, likewise")
    text = "patterns: published, human_gamer, random, rainbow_sticky, ..."
    group.add_argument("--baselines", **some, help=text)
    group = parser.add_argument_group("how seeds and tasks are joined")
    text = "width in x over which to average (default: as the seeds need it)"
    group.add_argument("--bins", type=float, default=0.0, help=text)
    text = (
        "centre (mean, median, iqm) and band (std, std2, minmax, iqr, per5, ci, none)"
    )
    group.add_argument("--agg", nargs="+", default=["mean"], help=text)
    text = f"panels over all tasks: {', '.join(scores.STATISTICS)}"
    group.add_argument("--stats", **some, help=text)
    group = parser.add_argument_group("how it looks")
    group.add_argument("--cols", type=int, default=0, help="panels in a row")
    limits = {"nargs": 2, "type": float}
    group.add_argument("--size", **limits, help="width and height of a panel, inches")
    group.add_argument("--xlim", **limits, help="limits of x")
    group.add_argument("--ylim", **limits, help="limits of y")
    paper.add_flags(group)
    text = f"{', '.join(drawing.PALETTES)}, or colours"
    group.add_argument("--palette", nargs="+", default=["okabe"], help=text)
    return parser


def _check(
    args: argparse.Namespace,
) -> tuple[drawing.Look, bands.Rule, list[str]]:
    """Look, rule and names of the baselines; ValueError if a flag is wrong."""
    for flag in ("tasks", "methods", "baselines"):
        for pattern in getattr(args, flag):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"--{flag} {pattern}: {error}") from error
    for name in args.stats:
        scores.having_references(name, ())
    if not args.indir and not args.baselines:
        raise ValueError("Give --indir with runs, or --baselines published.")
    look = drawing.Look(
        cols=args.cols,
        size=args.size,
        xlim=args.xlim,
        ylim=args.ylim,
        labels=paper.labels(args.labels),
        palette=args.palette,
    )
    return look, bands.parse_rule(args.agg), panels.match_baselines(args.baselines)


def _run(
    args: argparse.Namespace,
    look: drawing.Look,
    rule: bands.Rule,
    baselines: Sequence[str],
) -> int:
    runs = logs.load_runs(args.indir, args.xaxis, args.yaxis)
    own = logs.curves_of(runs, args.yaxis)
    own = panels.choose(own, args.tasks, args.methods)
    found = list(own)
    if own or not args.indir:
        found += panels.add_baselines(own, baselines, args.tasks, bool(args.xlim))
    if own and args.bins > (end := max(curve.points[-1, 0] for curve in own)):
        _LOG.warning("--bins %g leaves one value: the runs end at %g.", args.bins, end)
    if args.xlim:
        found = [panels.cut(curve, args.xlim) for curve in found]
    intervals = panels.training_intervals(runs)
    figure = panels.of_tasks(found, intervals, baselines, args.bins, rule)
    if not figure:
        _report_nothing(runs, args.xaxis, args.yaxis)
        return 1
    over = [panels.over_tasks(name, figure, args.bins) for name in args.stats]
    figure += [panel for panel in over if panel]
    path = pathlib.Path(args.outdir).expanduser() / f"{args.yaxis}.png"
    drawn = drawing.draw(figure, args.xaxis, args.yaxis, rule, look)
    written = drawing.save(drawn, path, args.format)
    asked = {"xaxis": args.xaxis, "yaxis": args.yaxis, "bins": args.bins}
    content = {**asked, **rule._asdict(), **panels.to_json(figure)}
    path.with_suffix(".json").write_text(json.dumps(content) + "\n")
    names = ", ".join(map(str, written))
    print(f"Panels: {len(figure)}, runs: {len(runs)}, written: {names} and .json")
    return 0


def _report_nothing(runs: Sequence[logs.Run], xaxis: str, yaxis: str) -> None:
    def names(found: Iterable[str]) -> str:
        return ", ".join(sorted(set(found))) or "none"

    _LOG.error(
        "Nothing to draw: no chosen run has %r and %r. Metrics found: %s. "
        "Methods: %s. Tasks: %s.",
        xaxis,
        yaxis,
        names(key for run in runs for key in run.log.keys),
        names(run.method for run in runs),
        names(task for run in runs for task in run.tasks),
    )


def plot_continual(
    metrics_path: str | os.PathLike,
    out_png: str | os.PathLike,
    task_names: Sequence[str],
    yaxis: str = "eval_success",
) -> bool:
    """Draws one continual run: a panel a task, shaded where the task was trained.

    Args:
      metrics_path: the run's metrics.jsonl.
      out_png: the picture to write; its folder is made.
      task_names: titles of the panels; tasks beyond them are numbered.
      yaxis: the metrics are `{yaxis}_{k}` for task k.

    Returns:
      False if there was nothing to draw; a warning says why.
    """
    path = pathlib.Path(metrics_path).expanduser()
    wanted = re.compile(rf"{re.escape(yaxis)}_\d+|task")
    log = logs.read_log(path, wanted=wanted)
    run = logs.Run(path, "", "", tuple(task_names), log, {})
    found = logs.curves_of([run], yaxis)
    if not found:
        return False
    figure = panels.of_tasks(found, panels.training_intervals([run]))
    drawing.save(
        drawing.draw(figure, "step", yaxis), pathlib.Path(out_png).expanduser()
    )
    return True


if __name__ == "__main__":
    raise SystemExit(main())
