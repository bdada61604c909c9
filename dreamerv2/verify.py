"""Checks this machine's numbers against reference numbers.

    python -m dreamerv2.verify tests/golden/discrete tests/golden/p2e

A folder holds `weights.npz`, `batch.npz` and `expected.npz`; the sizes stand in
`config.yaml` of its parent folder, under `all` and under the folder's own name. All
sampling is replaced by the mode, so every entry of `expected.npz` is deterministic.
Use it for a new GPU, TensorFlow version, or precision (`--precision 16`, with a
tolerance to match: `--scale 1000`).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import devices, loading, onehots
from common.nets import coders
from dreamerv2 import settings as settings_lib
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import explore, world_model

TOLERANCE = 1e-4  # relative error of outputs
TOLERANCE_GRADIENT = 1e-3  # of gradients and of weights after an update
_GRADIENT_NAMES = ("/grad/", "train_step/weights/")
_FLAGS = ("is_first", "is_last", "is_terminal")


class Case(NamedTuple):
    """One folder of reference numbers."""

    config: config_lib.Config
    weights: dict[str, np.ndarray]
    batch: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


class Row(NamedTuple):
    """The comparison of one entry."""

    name: str
    error: float
    passed: bool


def load_case(folder: str | os.PathLike, **overrides: Any) -> Case:
    """Reads a folder of reference numbers.

    Args:
      folder: Folder with the three files, `config.yaml` beside it.
      **overrides: Configuration keys to set on top.

    Raises:
      FileNotFoundError: If a file is missing.
      ValueError: If the configuration does not name the folder or a file is damaged.
    """
    folder = pathlib.Path(folder).resolve()
    path = folder.parent / "config.yaml"
    for needed in (path, *(folder / f"{n}.npz" for n in Case._fields[1:])):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed} is missing; a folder of reference numbers has weights.npz, "
                "batch.npz and expected.npz, and config.yaml beside it."
            )
    settings = config_lib.load(path)
    if folder.name not in settings:
        raise ValueError(
            f"{path} has no block {folder.name!r}; it has {sorted(settings)}."
        )
    config = settings_lib.defaults.update(
        settings.get("all", {}),
        settings[folder.name],
        {"eval_state_mean": True},  # the policy takes the modes as well
        overrides,
    )
    arrays = [_load_arrays(folder / f"{name}.npz") for name in Case._fields[1:]]
    return Case(config, *arrays)


def build_agent(case: Case) -> agent_lib.Agent:
    """Builds the agent of a case with the case's weights."""
    observations = {
        key: specs.ArraySpec(value.shape[2:], value.dtype)
        for key, value in case.batch.items()
        if key not in ("action", "reward", *_FLAGS)
    }
    action = case.batch["action"]
    onehot = np.isin(action, (0, 1)).all() and (action.sum(-1) <= 1).all()
    act_spec = specs.ActionSpec(action.shape[-1], bool(onehot))
    agent = agent_lib.Agent(case.config, observations, act_spec)
    weights = agent.named_weights()
    for name, value in _gather_ensemble(case.weights).items():
        if name not in weights:
            raise ValueError(f"weights.npz has {name!r}, which the agent has not.")
        weights[name].assign(value)
    return agent


def compute(case: Case) -> dict[str, np.ndarray]:
    """Returns this implementation's value for every kind of entry."""
    results: dict[str, Any] = {}
    agent = build_agent(case)
    batch = {k: tf.convert_to_tensor(v) for k, v in case.batch.items()}
    coefficients = agent.coefficients(0)

    @tf.function(autograph=False)
    def evaluate() -> dict[str, Any]:
        data = agent.model.preprocess(batch)
        found, outputs = _world_model(agent, data)
        found.update(_behaviour(agent, data, outputs, coefficients))
        return found

    results.update(evaluate())
    results["policy/eval_action"] = _policy(agent, case.batch)
    results.update(_train_step(agent, batch, coefficients))
    return _numpy(results)


def compare(
    expected: Mapping[str, np.ndarray],
    computed: Mapping[str, np.ndarray],
    scale: float = 1.0,
) -> list[Row]:
    """Compares every expected entry: ||out - ref|| / ||ref|| against its tolerance.

    Args:
      expected: Reference arrays.
      computed: Arrays of this implementation.
      scale: Factor on the tolerances.
    """
    rows = []
    for name, reference in expected.items():
        limit = TOLERANCE
        if any(part in name for part in _GRADIENT_NAMES):
            limit = TOLERANCE_GRADIENT
        error = relative_error(computed.get(name), reference)
        rows.append(Row(name, error, bool(error <= limit * scale)))
    return rows


def relative_error(value: np.ndarray | None, reference: np.ndarray) -> float:
    """Returns ||value - reference|| / ||reference||, infinite if not comparable."""
    if value is None or value.shape != reference.shape:
        return float("inf")
    reference = reference.astype(np.float64)
    difference = np.linalg.norm((value.astype(np.float64) - reference).ravel())
    norm = np.linalg.norm(reference.ravel())
    error = difference / norm if norm else difference
    return float(error) if np.isfinite(error) else float("inf")


def main(argv: list[str] | None = None) -> int:
    """Prints a table for each folder; returns 1 if an entry fails, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m dreamerv2.verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--precision", default="32", choices=devices.PRECISIONS)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the tolerances"
    )
    parser.add_argument("--jit_compile", action="store_true", help="let XLA compile")
    args = parser.parse_args(argv)
    print(devices.setup())
    failures = 0
    for folder in args.folders:
        try:
            case = load_case(
                folder, precision=args.precision, jit_compile=args.jit_compile
            )
        except (OSError, ValueError) as error:
            print(f"dreamerv2.verify: {error}", file=sys.stderr)
            return 2
        rows = compare(case.expected, compute(case), args.scale)
        failures += sum(not row.passed for row in rows)
        _print_table(folder, rows)
    print(f"{'FAILED' if failures else 'OK'}: {failures} entries out of tolerance.")
    return 1 if failures else 0


def _load_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}. Copy it again.") from error


def _world_model(
    agent: agent_lib.Agent, data: Mapping[str, tf.Tensor]
) -> tuple[dict[str, Any], world_model.Outputs]:
    model = agent.model
    state = model.initial(data["action"].shape[0])
    image = coders.to_numbers(data["image"], tf.float32)
    results = {"preprocess/image": image}
    results.update({f"preprocess/{k}": data[k] for k in ("reward", "discount")})
    weights = model.named_weights()
    with tf.GradientTape() as tape:
        loss, outputs, metrics = model.loss(data, state, None)
    grads = tape.gradient(loss, list(weights.values()))
    prior_stoch = model.rssm.dist(outputs.prior).mode()
    results["encoder/embed"] = outputs.embed
    for key, value in outputs.post.items():
        results[f"rssm/post/{key}"] = value
    for key, value in {**outputs.prior, "stoch": prior_stoch}.items():
        results[f"rssm/prior/{key}"] = value
    results["rssm/feat"] = outputs.feat
    results["rssm/kl_loss"] = metrics["kl_loss"]
    results["rssm/kl_value"] = outputs.kl
    for key, dist in model.heads["decoder"](outputs.feat).items():
        results[f"heads/decoder/{key}_mean"] = dist.mode()
    results["heads/reward/mean"] = model.reward(outputs.feat)
    if "discount" in model.heads:
        results["heads/discount/logit"] = model.heads["discount"](outputs.feat).logits
    results["world_model/loss"] = loss
    results.update({f"world_model/metrics/{k}": v for k, v in metrics.items()})
    for name, grad in zip(weights, grads, strict=True):
        results[f"world_model/grad/{name}"] = grad
    return results, outputs


def _behaviour(
    agent: agent_lib.Agent,
    data: Mapping[str, tf.Tensor],
    outputs: world_model.Outputs,
    coefficients: Mapping[str, tf.Tensor],
) -> dict[str, Any]:
    task, model = agent.task, agent.model
    actor, critic = task.actor.named_weights(), task.critic.named_weights()
    with tf.GradientTape(persistent=True) as tape:
        plan, metrics = task.plan(
            model,
            outputs.post,
            data["is_terminal"],
            lambda trajectory: (model.reward(trajectory.feat), {}),
            None,
        )
        actor_loss, more = task.actor_loss(plan, coefficients)
        metrics.update(more)
        critic_loss, more = task.critic_loss(plan)
        metrics.update(more)
    trajectory = plan.trajectory
    results = {f"imagine/{k}": v for k, v in trajectory._asdict().items()}
    size = model.rssm.stoch_size
    results["imagine/feat"] = onehots.expand(trajectory.feat, size)
    results["imagine/reward"] = model.reward(trajectory.feat)
    results["behaviour/target"] = plan.target
    results["behaviour/actor_loss"] = actor_loss
    results["behaviour/critic_loss"] = critic_loss
    results.update({f"behaviour/metrics/{k}": v for k, v in metrics.items()})
    for part, weights, loss in (
        ("actor", actor, actor_loss),
        ("critic", critic, critic_loss),
    ):
        grads = tape.gradient(loss, list(weights.values()))
        for name, grad in zip(weights, grads, strict=True):
            results[f"behaviour/grad/{part}/{name}"] = grad
    if isinstance(agent.expl, explore.Plan2Explore):
        # The whole exploration reward along the exploring actor's own trajectory.
        plan, _ = agent.expl.plan(
            model, outputs.post, data["is_terminal"], agent.expl.reward, None
        )
        reward, _ = agent.expl.reward(plan.trajectory)
        results["p2e/intrinsic_reward"] = reward
    return results


def _policy(agent: agent_lib.Agent, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the evaluation actions [B, A] after the first observations."""
    first = {key: value[:, 0] for key, value in batch.items()}
    exploring = np.zeros(len(first["is_first"]), bool)
    action, _ = agent.policy(first, None, step=0, exploring=exploring, evaluate=True)
    return action


def _train_step(
    agent: agent_lib.Agent,
    batch: Mapping[str, tf.Tensor],
    coefficients: Mapping[str, tf.Tensor],
) -> dict[str, Any]:
    """Returns metrics and weights of one whole update."""
    for name, weight in agent.named_weights().items():
        if name.endswith("updates"):
            weight.assign(1)  # the slow critic is not copied in this step
    state = agent.model.initial(batch["action"].shape[0])
    _, metrics = agent.train_graph(batch, state, coefficients, None)
    results = {f"train_step/metrics/{k}": v for k, v in metrics.items()}
    for name, weight in _scatter_ensemble(agent.named_weights()).items():
        results[f"train_step/weights/{name}"] = weight
    return results


def _gather_ensemble(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stacks `expl/ensemble{i}/...` of single networks into `expl/ensemble/...`."""
    prefix = "expl/ensemble"
    result = {k: v for k, v in weights.items() if not k.startswith(prefix)}
    members: dict[str, dict[int, np.ndarray]] = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            index, _, rest = name[len(prefix) :].partition("/")
            members.setdefault(rest, {})[int(index)] = value
    for rest, values in members.items():
        result[f"{prefix}/{rest}"] = np.stack([values[i] for i in sorted(values)])
    return result


def _scatter_ensemble(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `_gather_ensemble`."""
    prefix = "expl/ensemble/"
    result = {}
    for name, value in weights.items():
        array = value.numpy()
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            for i, member in enumerate(array):
                result[f"expl/ensemble{i}/{rest}"] = member
        else:
            result[name] = array
    return result


def _numpy(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in results.items():
        if value is not None:
            array = np.asarray(value)
            wide = array.dtype not in (np.dtype(bool), np.dtype(np.uint8))
            arrays[name] = array.astype(np.float32) if wide else array
    return arrays


def _print_table(folder: str, rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print(f"\n{folder}")
    print(f"  {'entry':<{width}}  {'largest relative error':>22}  verdict")
    for row in rows:
        verdict = "ok" if row.passed else "FAILED"
        print(f"  {row.name:<{width}}  {row.error:>22.2e}  {verdict}")


if __name__ == "__main__":
    loading.prepare_script()
    sys.exit(main())
