"""The house: who may import whom, which names are taken, how large a file may be."""

import ast
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("dreamerv2", "common", "common.envs", "gym_minigrid")

WATCH = "dreamerv2.watch"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

# Every module has a rank; imports go to lower ranks, or inside of a rank in no circle.
RANKS = (
    {"gym_minigrid", "gym_minigrid.*"},
    {
        *("common", "common.specs", "common.coerce", "common.flags", "common.config"),
        *("common.schedules", "common.timing", "common.driver", "common.episodes"),
        *("common.retention", "common.sampling", "common.holding", "common.store"),
        *("common.streams", "common.replay", "common.logger", "common.outputs"),
        *("common.layouts", "common.footprint"),
        *("common.dashboards", "common.continual_metrics", "common.video"),
        *("common.evaluations", "common.tally"),
        *("common.report_runs", "common.report_results", "common.report_published"),
        *("common.report_tables", "common.report_text", "common.report_notes"),
        "common.report_replay",
        *("common.curves", "common.bands", "common.scores", "common.panels"),
    },
    {"common.envs", "common.envs.*"},
    {"common.drawing", "common.plot", "common.report_figures"},
    {
        *("common.layers", "common.tfutils", "common.dists", "common.nets"),
        *("common.perception", "common.optim", "common.embeddings", "common.loops"),
        *("common.replicas", "common.pieces", "common.onehots"),
        "common.convolutions",
    },
    {"dreamerv2"},
    {"dreamerv2.losses"},
    {"dreamerv2.rssm"},
    {"dreamerv2.world_model"},
    {"dreamerv2.actor_critic"},
    {"dreamerv2.explore"},
    {"dreamerv2.acting"},
    {"dreamerv2.agent"},
    {"dreamerv2.blocks", "dreamerv2.phases", "dreamerv2.rundir", "dreamerv2.tasks"},
    {
        *("dreamerv2.checkpoint", "dreamerv2.learner", "dreamerv2.evaluation"),
        *("dreamerv2.assembly", "dreamerv2.summary", "dreamerv2.online"),
        "dreamerv2.success",
    },
    {"dreamerv2.run", "dreamerv2.stopping", "dreamerv2.saved", "dreamerv2.player"},
    {"dreamerv2.loop", "dreamerv2.film", "dreamerv2.viewing"},
    {"dreamerv2.api", "dreamerv2.cli", "dreamerv2.verify"},
    {"dreamerv2.report"},
    {"dreamerv2.continual"},
    {
        *("dreamerv2.sweep_file", "dreamerv2.sweep_plan", "dreamerv2.sweep_exec"),
        *("dreamerv2.sweep_state", "dreamerv2.sweep_process", "dreamerv2.sweep_ray"),
        *("dreamerv2.sweep_loop", "dreamerv2.sweep_table", "dreamerv2.sweep"),
    },
    {
        *("dreamerv2.train", "train_minigrid", "train_minihack", "interference"),
        WATCH,
    },
)
BASE = 1  # rank of what knows neither TensorFlow nor an environment library
ENVS = 2

# Reached when a script starts: --help and a mistyped flag do not wait for TensorFlow.
LIGHT = (
    *("dreamerv2.cli", "dreamerv2.phases", "dreamerv2.rundir", "dreamerv2.tasks"),
    "dreamerv2.report",
)
LAZY = {"common.dashboards": {"tensorflow", "wandb", "PIL"}}
HEAVY = {"tensorflow", "tensorflow_probability", "tf_keras", "keras"}
SUITES = {
    *("gym", "gymnasium", "minigrid", "gym_minigrid", "minihack", "nle", "ale_py"),
    *("dm_control", "mujoco", "crafter"),
}

MOST_LINES = 350
LONG_FILES: dict[str, str] = {}
MAY_CHANGE_THE_PATH = {
    "dreamerv2/train.py": "runs as a script from inside of the package",
    "common/plot.py": "likewise",
    "common/envs/worker.py": "takes over the path of the process that started it",
}


def find_modules() -> dict[str, pathlib.Path]:
    modules = {}
    for package in PACKAGES:
        folder = ROOT / package.replace(".", "/")
        for path in folder.glob("*.py"):
            name = package if path.stem == "__init__" else f"{package}.{path.stem}"
            modules[name] = path
    for name in RANKS[-1]:
        if (ROOT / f"{name}.py").exists():
            modules[name] = ROOT / f"{name}.py"
    del modules["gym_minigrid.setup"]  # not part of the package
    return modules


MODULES = find_modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


@functools.cache
def imports(name: str, lazy: bool = True) -> set[str]:
    """Dotted names that a module imports; those inside of functions if `lazy`."""
    found = set()
    for node in walk(TREES[name], lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import"
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = below & set(MODULES)
            found |= ours or {node.module}
    return found


def walk(tree: ast.AST, lazy: bool):
    for node in ast.iter_child_nodes(tree):
        yield node
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if lazy or not inside:
            yield from walk(node, lazy)


def ours(names: set[str]) -> set[str]:
    return names & set(MODULES)


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def rank(name: str) -> int:
    """The place of a module in RANKS; -1 if it has none."""
    package = name.rpartition(".")[0]
    ranks = [i for i, r in enumerate(RANKS) if name in r or f"{package}.*" in r]
    return ranks[0] if len(ranks) == 1 else -1


def closure(name: str) -> set[str]:
    """The module and all of ours that importing it loads."""
    seen, todo = set(), [name]
    while todo:
        now = todo.pop()
        if now not in seen:
            seen.add(now)
            todo += ours(imports(now, lazy=False))
            todo += ours({now.rpartition(".")[0]})
    return seen


# Layers.


def test_the_walk_sees_imports_of_every_kind():
    assert {"common.coerce", "common.flags", "ruamel.yaml"} <= imports("common.config")
    assert "dreamerv2.continual" in imports("train_minigrid")
    assert "dreamerv2.continual" not in imports("train_minigrid", lazy=False)


def test_every_module_has_its_place():
    homeless = [name for name in MODULES if rank(name) < 0]
    assert not homeless, "give these exactly one place in RANKS"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name):
    wrong = {other for other in ours(imports(name)) if rank(other) > rank(name)}
    assert not wrong, f"{name} imports {wrong}, which lie above it"


def test_no_imports_go_in_a_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in ours(imports(name)):
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", sorted(n for n in MODULES if rank(n) == BASE))
def test_the_base_knows_neither_tensorflow_nor_environments(name):
    loaded = {top for module in closure(name) for top in tops(imports(module, False))}
    assert not loaded & (HEAVY | SUITES | {"wandb"})
    later = tops(imports(name)) - tops(imports(name, False))
    assert not later & (HEAVY | SUITES | {"wandb"}) - LAZY.get(name, set())


@pytest.mark.parametrize(
    "name", sorted(n for n in MODULES if rank(n) == ENVS or n in LIGHT)
)
def test_environments_and_flags_do_not_know_tensorflow(name):
    loaded = {top for module in closure(name) for top in tops(imports(module))}
    assert not loaded & (HEAVY | {"wandb"})


def test_figures_need_matplotlib_and_the_base_alone():
    loaded = {module for name in closure("common.plot") for module in imports(name)}
    assert tops(loaded) <= {"matplotlib", "numpy", "ruamel", "common"} | set(
        sys.stdlib_module_names
    )
    assert {rank(name) for name in ours(loaded)} <= {BASE, rank("common.plot")}
    drawing = {name for name in MODULES if "matplotlib" in tops(imports(name))}
    assert drawing == {"common.drawing", "common.report_figures", "dreamerv2.success"}


def test_loading_the_replay_or_the_flags_loads_no_tensorflow():
    base = [n for n in MODULES if rank(n) == BASE]
    program = (
        f"import importlib, sys\nfor n in {[*base, *LIGHT]!r}: "
        "importlib.import_module(n)\n"
        "print([n for n in ('tensorflow', 'gymnasium', 'wandb') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is chosen on x86"
)
@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_the_package_turns_onednn_on_unless_somebody_has_chosen(given, expected):
    env = {k: v for k, v in os.environ.items() if k != ONEDNN}
    env |= {} if given is None else {ONEDNN: given}
    program = f"import os, dreamerv2\nprint(os.environ[{ONEDNN!r}])"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert result.stdout == f"{expected}\n", result.stderr


# Names.


def test_no_module_bears_a_name_that_is_taken():
    installed = {
        top
        for top, owners in importlib.metadata.packages_distributions().items()
        if set(owners) - {"dreamerv2", "gym_minigrid"}
    }
    taken = set(sys.stdlib_module_names) | installed
    for name in MODULES:
        package, _, stem = name.rpartition(".")
        if package in ("common", "dreamerv2", "gym_minigrid"):
            assert stem not in taken, f"{name} hides another module, run as a script"


def test_no_folder_of_the_tests_hides_a_package():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert not folders & {"common", "dreamerv2", "gym_minigrid"}
    assert not (ROOT / "gym_minigrid" / "gym_minigrid").exists()


def changes_the_path(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            targets = [node.func.value]
        if any("sys.path" in ast.unparse(target) for target in targets):
            return True
    return False


def test_only_those_with_a_reason_change_the_import_path():
    assert changes_the_path(ast.parse("sys.path.insert(0, '.')"))
    assert changes_the_path(ast.parse("sys.path[0] = '.'"))
    changing = {n for n, tree in TREES.items() if changes_the_path(tree)}
    relative = {str(MODULES[name].relative_to(ROOT)) for name in changing}
    assert relative <= set(MAY_CHANGE_THE_PATH)


# Files.


def public(node: ast.AST) -> list[ast.AST]:
    """Public functions and classes of a module or class, methods included."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = [
        child
        for child in ast.iter_child_nodes(node)
        if isinstance(child, kinds) and not child.name.startswith("_")
    ]
    classes = [child for child in found if isinstance(child, ast.ClassDef)]
    return found + [below for child in classes for below in public(child)]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_everything_public_has_a_docstring(name):
    tree = TREES[name]
    assert ast.get_docstring(tree), f"{name} has no docstring"
    bare = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not bare, f"{name}: no docstring for {bare}"


def test_files_are_short_or_have_a_reason():
    sizes = {path: len(path.read_text().splitlines()) for path in MODULES.values()}
    long = {str(p.relative_to(ROOT)) for p, size in sizes.items() if size > MOST_LINES}
    assert long == set(LONG_FILES), "look for the second idea in these files"


@pytest.mark.parametrize("name", sorted(set(MODULES) & RANKS[-1] - {WATCH}))
def test_the_runs_of_a_script_can_be_watched(name):
    functions = [node for node in TREES[name].body if isinstance(node, ast.FunctionDef)]
    names = {function.name for function in functions}
    assert {"parse_flags", "make_tasks"} <= names, "sweeps and watching ask for these"
    (scripts,) = (
        ast.literal_eval(node.value)
        for node in TREES[WATCH].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SCRIPTS"
    )
    assert name in scripts
    noted = [
        keyword.value.value
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".train")
        for keyword in node.keywords
        if keyword.arg == "script"
    ]
    assert noted == [name], "train(..., script=...) gets the script's own name"


@pytest.mark.parametrize("name", sorted(set(MODULES) & RANKS[-1]))
def test_importing_a_script_does_nothing(name):
    *head, last = TREES[name].body
    assert ast.unparse(last).startswith("if __name__ == '__main__':")
    for node in head:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guarded = ast.unparse(node).startswith("if __name__ == '__main__':")
        kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Assign
        assert docstring or guarded or isinstance(node, kinds), ast.unparse(node)
    assert len(MODULES[name].read_text().splitlines()) <= 90
