"""Draws docs/pictures/architecture.png: the rooms of the code, and who imports whom.

    python docs/draw_architecture.py

Rooms and ranks are those of tests/test_architecture.py; imports are read from the
source. An arrow that follows from others is not drawn. The picture keeps all of them as
text, which tests/cli/test_docs.py compares with the code of today.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import source  # noqa: E402
import test_architecture  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "architecture.png"
LINE = "#444444"

# Rooms that share a box. The package dreamerv2 itself, which all of it loads, has none.
SHARED = {
    "common": ("common.specs", "common.schedules", "common.driver"),
    "figures": ("common.plot", "common.curves.drawing"),
    "scripts": test_architecture.RANKS[-1],
}
# Box -> its middle, and a line below its name. A box lies above those that it imports.
PLACES = {
    "scripts": (1.0, 12.0, "train_minigrid, ..."),
    "dreamerv2.api": (4.9, 11.5, "train from Python"),
    "dreamerv2.sweep": (9.4, 11.6, "many runs"),
    "dreamerv2.watch": (3.2, 10.85, "look at an agent"),
    "dreamerv2.trained": (2.3, 9.95, "an agent at hand"),
    "dreamerv2.verify": (5.4, 10.2, "reference numbers"),
    "dreamerv2.report": (8.4, 10.2, "tables, figures"),
    "dreamerv2.success": (11.6, 10.2, "one picture"),
    "dreamerv2.cli": (-0.1, 9.0, "errors for people"),
    "dreamerv2.run": (6.5, 9.0, "loop, snapshots"),
    "dreamerv2.settings": (2.6, 8.0, "configs.yaml, flags"),
    "dreamerv2.algorithm": (4.4, 7.0, "the paper"),
    "common.nets": (5.9, 6.0, "layers, optimisers"),
    "common.compute": (2.8, 5.0, "graphs, scans"),
    "figures": (11.6, 4.3, "curves.drawing, plot"),
    "common.envs": (9.0, 3.3, "suites, workers"),
    "common.replay": (6.3, 2.4, "episodes, batches"),
    "common.curves": (11.6, 2.4, "what is read from logs"),
    "common": (4.6, 0.6, "specs, schedules, driver"),
    "common.config": (0.2, 1.0, "tree, flags, plugins"),
    "common.records": (11.6, 1.0, "what a run writes"),
    "gym_minigrid": (9.0, 0.0, "MiniGrid tasks"),
}
# Where an arrow bends, so that it goes around boxes.
BENDS = {
    ("scripts", "dreamerv2.cli"): [(-0.5, 11.0)],
    ("scripts", "dreamerv2.trained"): [(0.9, 10.8)],
    ("scripts", "dreamerv2.sweep"): [(2.8, 12.3), (8.4, 12.3)],
    ("dreamerv2.settings", "common.config"): [(1.1, 6.6)],
    ("dreamerv2.cli", "common.compute"): [(0.4, 7.3)],
    ("dreamerv2.cli", "common.config"): [(-0.5, 7.8), (-0.5, 2.0)],
    ("dreamerv2.algorithm", "common"): [(4.3, 5.6)],
    ("common.envs", "common.config"): [(7.9, 1.75)],
    ("common.envs", "common"): [(8.1, 1.2)],
    ("common.curves", "common.config"): [(8.0, 1.5)],
}
# Lowest and highest place of a band, its colour and what it is.
BANDS = (
    (-0.5, 4.65, "#eef4ea", "without TensorFlow"),
    (4.65, 6.5, "#fdf3e1", "TensorFlow"),
    (6.5, 7.5, "#fbe9e7", "the algorithm"),
    (7.5, 9.5, "#e8eef8", "a run"),
    (9.5, 12.5, "#f1ecf6", "what one starts"),
)


def box_of(module: str) -> str:
    """The box of a module: its room, or the box that the room shares."""
    rooms = {room for rank in test_architecture.RANKS for room in rank}
    room = module
    while room not in rooms:
        room = room.rpartition(".")[0]
    return next((box for box, inside in SHARED.items() if room in inside), room)


def edges() -> set[tuple[str, str]]:
    """All pairs of boxes of which the first imports the second."""
    found = {
        (box_of(name), box_of(other))
        for name in source.MODULES
        for other in source.ours(source.imports(name))
    }
    return {(a, b) for a, b in found if a != b and "dreamerv2" not in (a, b)}


def text(pairs: set[tuple[str, str]]) -> str:
    """The pairs as lines, for the picture's metadata."""
    return "\n".join(sorted(f"{a} -> {b}" for a, b in pairs))


def needed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs that do not follow from others."""

    def below(box: str) -> set[str]:
        direct = {b for a, b in pairs if a == box}
        return direct.union(*map(below, direct))

    return {
        (a, b)
        for a, b in pairs
        if not any(b in below(other) for x, other in pairs if x == a and other != b)
    }


def draw(path: pathlib.Path) -> None:
    """Writes the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import patches
    from matplotlib import pyplot as plt

    pairs = edges()
    figure, axes = plt.subplots(figsize=(11.5, 10.5))
    axes.set(xlim=(-1.6, 13.6), ylim=(-0.6, 12.6))
    axes.axis("off")
    for low, high, colour, label in BANDS:
        axes.axhspan(low, high, color=colour, lw=0, zorder=0)
        axes.text(13.5, low + 0.08, label, ha="right", va="bottom", color="#777777")
    boxes = {}
    for name, (x, y, note) in PLACES.items():
        width = 0.35 + 0.145 * max(len(name) * 1.1, len(note) * 0.87)
        boxes[name] = patches.FancyBboxPatch(
            (x - width / 2, y - 0.28),
            *(width, 0.56),
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="white",
            edgecolor="#555555",
            zorder=3,
        )
        axes.add_patch(boxes[name])
        axes.text(x, y + 0.1, name, ha="center", va="center", weight="bold", zorder=4)
        axes.text(x, y - 0.13, note, ha="center", va="center", fontsize=8, zorder=4)
    for a, b in sorted(needed(pairs)):
        (start_x, start_y, _), (end_x, end_y, _) = PLACES[a], PLACES[b]
        if start_y <= end_y:
            raise ValueError(f"{a} imports {b}; place its box above it in PLACES.")
        *bends, last = (start_x, start_y), *BENDS.get((a, b), ())
        axes.plot(*zip(*bends, last, strict=True), color=LINE, lw=1.2, zorder=2)
        style = {"arrowstyle": "-|>", "color": LINE, "lw": 1.2, "patchB": boxes[b]}
        style |= {"shrinkA": 0, "shrinkB": 1, "mutation_scale": 14}
        axes.annotate("", (end_x, end_y), last, arrowprops=style, zorder=2)
    figure.savefig(
        path, dpi=110, bbox_inches="tight", metadata={"Description": text(pairs)}
    )


if __name__ == "__main__":
    draw(PICTURE)
