"""What a sweep file means, and every refusal; no Ray and no TensorFlow is loaded."""

import pathlib
import shlex
import subprocess
import sys

import dummy_benchmark
import pytest

from common.config import coerce
from common.records import files
from dreamerv2 import train
from dreamerv2.run import rundir
from dreamerv2.sweep import __main__ as sweep
from dreamerv2.sweep import form as form_lib
from dreamerv2.sweep import plan as plan_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.fixture
def make(write_sweep, tmp_path):
    """Makes the plan of a sweep file with changes."""

    def make(**changes):
        return plan_lib.make(write_sweep(**changes), str(tmp_path / "logs"))

    return make


def tags(plan: plan_lib.Plan) -> list[str]:
    return [trial.tag for trial in plan.trials]


# Trials.


def test_every_method_has_every_seed_and_those_of_one_seed_stand_together(make):
    plan = make()
    assert tags(plan) == ["fifo_s0", "reservoir_s0", "fifo_s1", "reservoir_s1"]


def test_a_command_says_what_the_configuration_of_its_trial_is(make, tmp_path):
    for trial in make(references="{methods: reservoir}").trials:
        script, *words = make(references="{methods: reservoir}").command(trial)
        assert script == str(ROOT / "tests" / "dummy_benchmark.py")
        config = dummy_benchmark.parse_flags(words)
        assert config == trial.config
        assert trial.folder == tmp_path / "logs" / trial.tag
        assert trial.tag.endswith(f"_s{config.seed}")
        assert (config.replay.retention == "reservoir") == ("reservoir" in trial.tag)


def test_references_are_the_tasks_of_a_method_alone(make):
    plan = make(references="{methods: [reservoir], seeds: [1, 7]}")
    assert tags(plan) == [
        *("fifo_s0", "reservoir_s0"),
        *("fifo_s1", "reservoir_s1", "reservoir_ref0_s1", "reservoir_ref1_s1"),
        *("reservoir_ref0_s7", "reservoir_ref1_s7"),
    ]
    method, first, second = (plan.trials[i] for i in (3, 4, 5))
    assert (method.total, first.total, second.total) == (120, 60, 60)
    assert (first.config.tasks, second.config.tasks) == (("walk",), ("run",))
    same = {"tasks": (), "tag": ""}
    assert second.config.update(same) == method.config.update(same)


def test_a_reference_has_the_steps_of_its_task_once(make):
    flags = "--cl --unbalanced_steps=30,50 --num_task_repeats=2"
    plan = make(flags=flags, references="{methods: [fifo]}", seeds=0)
    totals = {trial.tag: trial.total for trial in plan.trials}
    assert totals["fifo_s0"] == 160
    assert (totals["fifo_ref0_s0"], totals["fifo_ref1_s0"]) == (30, 50)


def test_seeds_are_a_range_a_number_or_a_list(make):
    for given, seeds in {"0-2": [0, 1, 2], "7": [7], "[3, 1]": [3, 1]}.items():
        plan = make(methods='{fifo: ""}', seeds=given)
        assert [trial.config.seed for trial in plan.trials] == seeds


def test_flags_may_be_a_list_of_words(make):
    (trial,) = make(flags='["--cl", "--steps", "1e2"]', methods="{a: }", seeds=0).trials
    assert trial.total == 200


def test_resources_and_retries_have_defaults(make):
    plan = make()
    assert plan.resources == (1, 0, 0) and plan.retries == 3
    plan = make(resources="{cpus: 2, gpus: 0.25, memory: 4}", retries=0)
    assert plan.resources == (2, 0.25, 4) and plan.retries == 0


SEQUENCE = "--cl --tasks=catch_plain,catch_swap --unbalanced_steps=30,50"


@pytest.mark.parametrize("script", ["dreamerv2/train.py", "dreamerv2"])
def test_tasks_of_any_suites_are_swept_by_file_and_command(make, script):
    plan = make(script=script, flags=SEQUENCE, references="{methods: [fifo]}", seeds=3)
    assert plan.script == ROOT / "dreamerv2" / "train.py"
    totals = {trial.tag: trial.total for trial in plan.trials}
    assert totals == {
        **{"fifo_s3": 80, "reservoir_s3": 80},
        **{"fifo_ref0_s3": 30, "fifo_ref1_s3": 50},
    }
    for trial in plan.trials:
        assert train.parse_flags(plan.command(trial)[1:]) == trial.config
        made = [task.name for task in train.make_tasks(trial.config).trained]
        assert made == [*trial.config.tasks]
    assert [trial.config.tasks for trial in plan.trials[2:]] == [
        *(("catch_plain",), ("catch_swap",))
    ]


def test_a_full_name_beside_ids_has_its_reference_in_any_script(make):
    plan = make(
        script="train_minigrid.py",
        flags="--cl --tasks=catch_plain,MiniGrid-Empty-5x5-v0",
        references="{methods: [fifo]}",
        seeds=0,
    )
    alone = {trial.tag: trial.config.tasks for trial in plan.trials[2:]}
    assert alone == {
        "fifo_ref0_s0": ("catch_plain",),
        "fifo_ref1_s0": ("MiniGrid-Empty-5x5-v0",),
    }


# Refusals, before anything starts.


def test_a_mistake_is_named(make, monkeypatch):
    monkeypatch.setattr("setuptools.setup", lambda **options: None)
    for changes, wanted in MISTAKES:
        with pytest.raises(ValueError, match=wanted):
            make(**changes)


MISTAKES = [
    ({"methodes": "{}"}, "unknown key 'methodes'.*Did you mean methods"),
    ({"seeds": None}, "seeds is missing"),
    ({"script": None}, "script is missing"),
    ({"methods": "{}"}, "methods is missing"),
    ({"methods": "[a, b]"}, "map names to flags"),
    ({"methods": '{a/b: ""}'}, "'a/b' becomes part of a folder's name"),
    ({"methods": '{a: "", b: --cl}'}, "a_s0 and b_s0 have the same flags"),
    ({"methods": "{a: {cl: True}}"}, r"methods.a = .*give flags"),
    ({"methods": "{a: --reservoir_samplin}"}, "method a: .*--reservoir_sampling"),
    ({"methods": "{a: --steps=ten}"}, "method a: .*steps = 'ten'"),
    ({"methods": "{a: --num_tasks=5}"}, "method a: .*benchmark has 2 tasks"),
    ({"methods": "{a: --unbalanced_steps=5}"}, "method a: .*1 entries"),
    ({"methods": """{a: "--tag 'x"}"""}, "No closing quotation"),
    ({"methods": "{a: --seed=3}"}, "flag --seed, which is the sweep's business"),
    ({"flags": "--logdir logs"}, "flag --logdir, which is the sweep's business"),
    ({"flags": "--overwrite"}, "flag --overwrite"),
    ({"flags": "--(overwrite)=True"}, "sets overwrite, which is the sweep's business"),
    ({"methods": "{a: '--(ta|se).*=3'}"}, "sets tag, seed, which is the sweep's"),
    ({"flags": "--(overwrite=True"}, "'[(]overwrite' is no regular expression"),
    ({"seeds": "[0, 0]"}, "different whole numbers"),
    ({"seeds": "[-1]"}, "different whole numbers"),
    ({"seeds": "[True]"}, "different whole numbers"),
    ({"seeds": "3-1"}, "different whole numbers"),
    ({"seeds": "many"}, "different whole numbers"),
    ({"references": "fifo"}, "references = 'fifo': give a mapping"),
    ({"references": "{methods: [lifo]}"}, "no method 'lifo'; choose from fifo"),
    ({"references": "{method: fifo}"}, "unknown key 'method'.*mean methods"),
    ({"resources": "{cpu: 1}"}, "resources: unknown key 'cpu'.*mean cpus"),
    ({"resources": "{cpus: 0}"}, "cpus are above 0"),
    ({"resources": "{gpus: 1.5}"}, "a share of one or a whole number"),
    ({"resources": "{memory: much}"}, "resources.memory = 'much'"),
    ({"flags": "--devices=2"}, "--devices=2, but resources give it 0 GPUs"),
    ({"retries": -1}, "retries = -1"),
    ({"retries": "often"}, "retries = 'often'"),
    ({"script": "train_minigird.py"}, "no script 'train_minigird.py'.*minigrid.py"),
    ({"script": str(ROOT / "setup.py")}, "has no function parse_flags"),
    ({"script": "dreamerv2", "flags": "--cl --tasks=catc_x"}, "method fifo: .*catch_x"),
    ({"script": "dreamerv2", "flags": "--cl"}, "method fifo: .*tasks is empty"),
    ({"script": "dreamerv2", "flags": "--tasks=a,b"}, "method fifo: .*give --cl"),
]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero, in .*own.py, line 2"),
        ("raise SystemExit(3)", "it exits, with 3; .*__main__"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all', in .*, line 2"),
        ("def f(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_script_that_fails_while_it_is_imported_is_named(
    make, tmp_path, line, problem
):
    (tmp_path / "own.py").write_text(f"import sys\n{line}\n")
    with pytest.raises(form_lib.SweepError, match=f"own.py cannot .*{problem}"):
        make(script=str(tmp_path / "own.py"))


def test_a_script_that_exits_at_its_flags_is_named(make, tmp_path):
    (tmp_path / "own.py").write_text(
        "def parse_flags(argv):\n    raise SystemExit(2)\nmake_tasks = parse_flags\n"
    )
    with pytest.raises(form_lib.SweepError, match="method fifo: .*exits, with 2, at"):
        make(script=str(tmp_path / "own.py"))


def test_two_methods_of_one_name_are_refused(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("script: a.py\nmethods:\n  a: --cl\n  a: --cl\n")
    with pytest.raises(coerce.ConfigError, match="duplicate key"):
        form_lib.read(path)


def test_names_that_make_one_folder_are_refused(make):
    with pytest.raises(form_lib.SweepError, match="Two trials.*fifo_ref0_s0"):
        make(
            methods='{fifo: "", fifo_ref0: --discount=0.5}',
            references="{methods: [fifo]}",
        )


def test_a_folder_with_a_run_of_another_configuration_is_noticed(make):
    trial = make().trials[1]
    rundir.begin(trial.config, files.Tasks(), is_saved=False)
    (trial.folder / files.METRICS).write_text('{"step": 1}\n')
    assert tags(make()) == tags(make(retries=1))  # the same runs: nothing to say
    with pytest.raises(rundir.RunDirError, match="discount: 0.99 there, 0.5 now"):
        make(flags="--cl --steps=60 --discount=0.5")


def test_a_script_without_a_choice_of_tasks_has_no_references(make, tmp_path):
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import dummy_benchmark\n"
        "parse_flags = dummy_benchmark.parse_flags\n"
        "def make_tasks(config):\n"
        "    return dummy_benchmark.make_tasks(config.update(tasks=[]))\n"
    )
    plan = make(script=script)
    assert plan.script == script and len(plan.trials) == 4
    with pytest.raises(form_lib.SweepError, match="leave references out"):
        make(script=script, references="{methods: [fifo]}")


# The files of sweeps/.


def shipped(path):
    """A sweep's path as a parameter; to import MiniHack takes seconds."""
    marks = [pytest.mark.slow] if "minihack" in path.read_text() else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [shipped(path) for path in SHIPPED])
def test_a_shipped_sweep_has_commands_that_its_script_understands(
    path, tmp_path, capsys, monkeypatch
):
    if "minihack" in path.read_text():
        pytest.importorskip("minihack")
    monkeypatch.chdir(ROOT)
    plan = plan_lib.make(path, str(tmp_path))
    monkeypatch.setattr(plan_lib, "make", lambda *args: plan)
    assert sweep.main([str(path), "--dry_run", "--logdir", str(tmp_path)]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(plan.trials) > 5
    module = plan_lib._load(plan.script)
    for (python, script, *words), trial in zip(lines, plan.trials, strict=True):
        assert (python, ROOT / script) == ("python", plan.script)
        if trial.config.seed == plan.trials[0].config.seed:  # the others have its flags
            assert module.parse_flags(words) == trial.config
    assert not list(tmp_path.iterdir())


def test_the_sweeps_of_the_issue_are_there():
    assert {path.stem for path in SHIPPED} == {
        *("minigrid3", "minihack4", "minihack8_ablation", "interference"),
        *("imbalance", "replay_size", "interference_small"),
        *("forgetting", "forgetting_cycles"),
    }


def test_help_and_plans_wait_for_neither_ray_nor_tensorflow(tmp_path):
    program = (
        "import sys\nfrom dreamerv2.sweep import __main__ as sweep\n"
        f"sweep.main(['sweeps/forgetting.yaml', '--dry_run', '--logdir={tmp_path}'])\n"
        "print([n for n in ('ray', 'tensorflow', 'wandb') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
