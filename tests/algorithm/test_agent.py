"""Laws of the whole agent: what an update does, and that it can be repeated."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import graphs
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint

UPDATES = 3
SCHEDULES = {"actor_ent": "linear(2e-3,1e-3,9)", "expl_noise": "linear(0.1,0,9)"}
CASES = {  # observations, discrete actions, settings
    "discrete": (("image", "scalar", "vector"), True, SCHEDULES),
    "continuous": (("vector",), False, {}),
    "Gaussian": (("vector",), True, {"rssm__discrete": 0, "rssm__ensemble": 2}),
}


class Trained(NamedTuple):
    """An agent after three updates."""

    agent: agent_lib.Agent
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    metrics: list[dict[str, float]]  # of each update
    state: dict[str, tf.Tensor]


def make(case, **settings):
    keys, discrete, more = CASES[case]
    return tiny_agent.make(*keys, discrete=discrete, **more, **settings)


def batch(case, seed=0, **sizes):
    keys, discrete, _ = CASES[case]
    return tiny_agent.batch(*keys, discrete=discrete, seed=seed, **sizes)


def update(agent, case, state=None, updates=UPDATES, first=0):
    """Takes updates on one batch after the other; returns metrics and state."""
    metrics = []
    for i in range(first, first + updates):
        state, now = agent.train(batch(case, seed=i), state, step=i)
        metrics.append({key: float(value) for key, value in now.items()})
    return metrics, state


def train(case, updates=UPDATES, **settings) -> Trained:
    agent = make(case, **settings)
    before = tiny_agent.snapshot(agent)
    metrics, state = update(agent, case, updates=updates)
    return Trained(agent, before, tiny_agent.snapshot(agent), metrics, state)


@pytest.fixture(autouse=True, scope="module")
def _graphs():
    with tiny_agent.running(eagerly=False):
        yield


@pytest.fixture
def eager(_graphs):
    with tiny_agent.running(eagerly=True):
        yield


@pytest.fixture(scope="module")
def discrete():
    return train("discrete")


@pytest.fixture(scope="module", params=CASES)
def trained(request):
    if request.param == "discrete":
        return request.getfixturevalue("discrete")
    return train(request.param)


def losses_of(metrics: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if key.endswith("_loss")}


def test_updates_give_finite_metrics(trained):
    for metrics in trained.metrics:
        assert np.isfinite(list(metrics.values())).all(), metrics
    names = {"kl", "reward", "discount", "vector", "model", "actor", "critic"}
    assert {f"{name}_loss" for name in names} <= set(trained.metrics[0])


def test_updates_change_every_weight_that_is_trained(trained):
    agent, before, after = trained.agent, trained.before, trained.after
    optimised = {id(w) for opt in agent.optimizers().values() for w in opt.weights}
    fixed = {"updates", "reward_norm/magnitude"}
    for name, weight in agent.named_weights().items():
        changed = (before[name] != after[name]).any()
        assert changed or name in fixed, name
        slow = name.startswith("target_critic/")
        assert (id(weight) in optimised) != (slow or name in fixed), name
    assert after["updates"] == UPDATES
    assert after["model_opt/steps"] == UPDATES


def test_updates_leave_a_state_for_the_next_batch(trained):
    state, agent = trained.state, trained.agent
    zero = agent.model.initial(tiny_agent.BATCH)
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in zero.items()
    }


def test_the_same_seed_gives_the_same_agent_bit_by_bit(discrete):
    again = train("discrete")
    tiny_agent.assert_same(again.before, discrete.before)
    tiny_agent.assert_same(again.after, discrete.after)
    assert again.metrics == discrete.metrics


def test_another_seed_gives_other_weights_and_other_samples(discrete, eager):
    other = make("discrete", seed=1)
    kernels = [name for name in other.named_weights() if name.endswith("kernel")]
    weights = tiny_agent.snapshot(other)
    assert all((weights[name] != discrete.before[name]).any() for name in kernels)
    checkpoint.assign(other.named_state(), discrete.before)
    metrics, _ = update(other, "discrete", updates=1)
    one, two = losses_of(metrics[0]), losses_of(discrete.metrics[0])
    assert one["kl_loss"] != two["kl_loss"]
    assert one["actor_loss"] != two["actor_loss"]


def test_every_update_samples_anew(eager):
    results = []
    agent = make("Gaussian")
    before = tiny_agent.snapshot(agent)
    for _ in range(2):
        checkpoint.assign(agent.named_state(), before)
        results.append(losses_of(update(agent, "Gaussian", updates=1)[0][0]))
    assert all(results[0][key] != results[1][key] for key in results[0])


def test_the_parameters_told_are_those_that_are_learned():
    agent = make("discrete", expl_behavior="Plan2Explore")
    sizes = {name: weight.shape for name, weight in agent.named_weights().items()}
    parts = agent.parameters()
    assert set(parts) == {"world model", "actor and critic", "exploration"}
    for name, rooms in (
        ("world model", ("encoder/", "rssm/", "heads/")),
        ("actor and critic", ("actor/", "critic/")),
    ):
        mine = [np.prod(v) for key, v in sizes.items() if key.startswith(rooms)]
        assert parts[name] == sum(mine) > 0
    assert 0 < parts["exploration"] < sum(map(np.prod, sizes.values()))


def test_batches_continue_the_state_unless_an_episode_begins(eager):
    losses = []
    for first in (True, False):
        for carried in (None, "state"):
            agent = make("continuous")
            before = tiny_agent.snapshot(agent)
            data = batch("continuous")
            state, _ = agent.train(data, None, step=0)
            checkpoint.assign(agent.named_state(), before)
            agent.set_state({"train": 0})
            data["is_first"][:, 0] = first
            metrics = agent.train(data, carried and state, step=0)[1]
            losses.append(float(metrics["model_loss"]))
    assert losses[0] == losses[1]  # the state does not matter after a reset
    assert losses[2] != losses[3]


def test_running_eagerly_gives_the_numbers_of_the_graph(discrete, eager):
    metrics = train("discrete", updates=1).metrics[0]
    assert set(metrics) == set(discrete.metrics[0])
    for key, value in discrete.metrics[0].items():
        np.testing.assert_allclose(
            metrics[key], value, rtol=1e-3, atol=1e-6, err_msg=key
        )


def update_of_modes(**settings):
    """Metrics and weights after an update without samples, for XLA draws its own."""
    agent = tiny_agent.make(**settings)
    data = {k: tf.constant(v) for k, v in tiny_agent.batch().items()}
    state = agent.model.initial(tiny_agent.BATCH)
    _, metrics = agent.train_graph(data, state, agent.coefficients(0), None)
    return {**metrics, **tiny_agent.snapshot(agent)}


@pytest.mark.slow
def test_xla_and_unrolled_loops_give_the_numbers_of_the_eager_run():
    with tiny_agent.running(eagerly=True):
        expected = update_of_modes()
    for switches in (
        {"unroll": True},
        {"jit_compile": True},
        {"unroll": True, "jit_compile": True},
    ):
        try:
            found = update_of_modes(**switches)
        except (tf.errors.UnimplementedError, tf.errors.NotFoundError) as error:
            pytest.skip(f"XLA is not available: {error}")
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, rtol=1e-3, atol=1e-5, err_msg=f"{key}, {switches}"
            )


def test_updates_and_calls_of_the_policy_trace_one_graph_each(discrete):
    agent, state = discrete.agent, discrete.state
    assert agent.train_graph.experimental_get_tracing_count() == 1
    obs = {key: value[:, 0] for key, value in batch("discrete").items()}
    for evaluate in (False, True):
        acting = None
        for step in range(3):
            exploring = np.array([step > 1, True])
            _, acting = agent.policy(
                obs, acting, step=step, exploring=exploring, evaluate=evaluate
            )
    agent.train(batch("discrete"), state, step=10**6)
    agent.train(batch("discrete"), None, step=2)
    assert agent.train_graph.experimental_get_tracing_count() == 1
    assert agent.policy_graph.experimental_get_tracing_count() == 2


def test_a_snapshot_goes_on_bit_by_bit(tmp_path, eager):
    case = "Gaussian"
    agent = make(case)
    _, state = update(agent, case, updates=2)
    everything = {**agent.named_state(), **{f"carry/{k}": v for k, v in state.items()}}
    counters = agent.get_state()
    path = checkpoint.Checkpoints(tmp_path).save(7, everything, {"agent": counters})
    one, _ = update(agent, case, state, updates=2, first=2)

    other = make(case, seed=0)
    update(other, case, updates=1)  # whatever it did before
    arrays = checkpoint.load_tensors(path)
    names = [name for name in arrays if name.startswith("carry/")]
    state = {name[len("carry/") :]: tf.constant(arrays.pop(name)) for name in names}
    checkpoint.assign(other.named_state(), arrays)
    other.set_state(checkpoint.load_state(path)["agent"])
    two, _ = update(other, case, state, updates=2, first=2)
    assert one == two
    tiny_agent.assert_same(tiny_agent.snapshot(agent), tiny_agent.snapshot(other))


def test_the_state_holds_all_weights_moments_and_counters(discrete):
    names = set(discrete.agent.named_state())
    assert set(discrete.agent.named_weights()) < names
    assert {"updates", "target_critic/out/out/kernel"} < names
    for opt in ("model_opt", "actor_opt", "critic_opt"):
        assert f"{opt}/steps" in names
    assert "model_opt/slot1/rssm/gru/kernel" in names


# Reports.


@pytest.mark.parametrize("rows, shown", [(7, 6), (2, 2)])
def test_a_report_shows_truth_model_and_error_of_up_to_six_sequences(
    rows, shown, discrete, eager
):
    data = batch("discrete", rows=rows, length=8)
    videos = discrete.agent.report(data)
    assert set(videos) == {"openl_image"}
    video = videos["openl_image"]
    assert video.shape == (8, 30, 10 * shown, 3)
    assert video.min() >= 0 and video.max() <= 1
    truth, model, error = np.split(video, 3, 1)
    for row in range(shown):
        expected = data["image"][row] / 255
        columns = np.s_[:, :, 10 * row : 10 * row + 10]
        np.testing.assert_allclose(truth[columns], expected, atol=1e-6)
    inside = (model > 0) & (model < 1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(
        error[inside], (model - truth + 1)[inside] / 2, atol=1e-6
    )


def test_a_report_predicts_from_five_images_and_all_actions(eager):
    # Gaussian latents: a sample follows every change of its distribution.
    agent = tiny_agent.make("image", rssm__discrete=0)

    def models(data):
        agent.set_state({"report": 0})  # the same noise
        return np.split(agent.report(data)["openl_image"], 3, 1)[1]

    data = tiny_agent.batch("image", length=8)
    before = models(data)
    for key, time, first in (("image", 5, None), ("image", 4, 4), ("action", 6, 6)):
        changed = {k: v.copy() for k, v in data.items()}
        changed[key][:, time] = 1 - changed[key][:, time]
        same = (models(changed) == before).all((1, 2, 3))
        assert same.all() if first is None else same[:first].all() and not same[first]


def test_an_agent_without_images_reports_no_video(eager):
    assert make("continuous").report(batch("continuous", length=8)) == {}


def test_a_seed_can_wait_for_a_tensor():
    with tf.Graph().as_default():
        norm, seed = tf.constant(1.0), tf.constant([1, 2])
        late = graphs.not_before(norm, seed)
    assert norm.op in late.op.control_inputs
    assert graphs.not_before(norm, None) is None
