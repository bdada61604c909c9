"""Laws of the world model's losses on episodes that it does not learn from."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from dreamerv2.run.evaluation import set_aside

IMAGE, VECTOR = tiny_agent.IMAGE, tiny_agent.VECTOR
SEED = 7


def episodes(*lengths, keys=(VECTOR,)):
    """Episodes of these lengths, each of other numbers."""
    found = []
    for number, length in enumerate(lengths):
        data = tiny_agent.batch(*keys, rows=1, length=length, seed=number)
        episode = {key: value[0] for key, value in data.items()}
        for key in ("is_first", "is_last", "is_terminal"):
            episode[key] = np.zeros(length, bool)
        episode["is_first"][0] = episode["is_last"][-1] = True
        episode["is_terminal"][-1] = number % 2
        found.append(episode)
    return found


@pytest.fixture(scope="module", params=[True, False], ids=["eagerly", "in a graph"])
def agent(request):
    with tiny_agent.running(eagerly=request.param):
        yield tiny_agent.make(VECTOR)


def one_by_one(agent, episode, length, noise, row, rows):
    """The slow twin: the sums over an episode, the others' rows left empty."""
    model, sums = agent.model, {}
    state = model.initial(rows)
    for number, start in enumerate(range(0, len(episode["reward"]), length)):
        data = {k: v[start : start + length] for k, v in episode.items()}
        steps = len(data["reward"])
        batch = {
            k: np.zeros((rows, length, *v.shape[1:]), v.dtype) for k, v in data.items()
        }
        for key, values in data.items():
            batch[key][row, :steps] = values
        batch = {key: tf.convert_to_tensor(value) for key, value in batch.items()}
        seed = tf.constant([noise, number], tf.int32)
        _, out, _ = model.loss(model.preprocess(batch), state, seed)
        state = {key: value[:, -1] for key, value in out.post.items()}
        for key, value in {**out.log_probs, "kl": -out.kl}.items():
            sums[key] = sums.get(key, 0.0) - value.numpy()[row, :steps].sum()
    return sums


def test_the_losses_are_means_over_the_real_steps_of_all_episodes(agent):
    found, lengths = episodes(3, 9, 6), (3, 9, 6)
    windows = set_aside.cut(found, 4)
    result = agent.assess(windows, SEED)
    sums = [one_by_one(agent, e, 4, SEED, row, 3) for row, e in enumerate(found)]
    assert set(result) == {VECTOR, "reward", "discount", "kl"}
    for key, value in result.items():
        expected = sum(each[key] for each in sums) / sum(lengths)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5), key


def test_what_lies_behind_an_episode_does_not_count(agent):
    windows = set_aside.cut(episodes(3, 9), 4)
    before = agent.assess(windows, SEED)
    for window in windows:
        for key in (VECTOR, "reward"):
            window[key][~window["valid"]] = 1e6
    assert agent.assess(windows, SEED) == before


def test_nothing_is_learned_and_no_stream_of_seeds_goes_on(agent):
    windows = set_aside.cut(episodes(5, 5), 4)
    state, weights = agent.get_state(), tiny_agent.snapshot(agent)
    first = agent.assess(windows, SEED)
    assert agent.assess(windows, SEED) == first
    assert agent.assess(windows, SEED + 1) != first
    assert agent.get_state() == state
    tiny_agent.assert_same(tiny_agent.snapshot(agent), weights)


def test_scales_and_free_nats_do_not_change_the_readings():
    windows = set_aside.cut(episodes(5, 3), 4)
    with tiny_agent.running(eagerly=True):
        plain = tiny_agent.make(VECTOR).assess(windows, SEED)
        scales = {"loss_scales__kl": 0.1, "loss_scales__reward": 9.0, "kl__free": 3.0}
        scaled = tiny_agent.make(VECTOR, **scales).assess(windows, SEED)
    assert scaled == pytest.approx(plain, rel=1e-6)


def test_a_model_that_predicts_no_discount_has_no_reading_of_it():
    with tiny_agent.running(eagerly=True):
        settings = {"pred_discount": False, "grad_heads": ["decoder", "reward"]}
        agent = tiny_agent.make(VECTOR, **settings)
        found = agent.assess(set_aside.cut(episodes(5), 4), SEED)
    assert set(found) == {VECTOR, "reward", "kl"}


@pytest.mark.parametrize("precision", ["16", "bfloat16"])
def test_half_precision_reads_nearly_the_same(precision):
    windows = set_aside.cut(episodes(5, 3, keys=(IMAGE, VECTOR)), 4)
    found = {}
    with tiny_agent.running(eagerly=True):
        for each in ("32", precision):
            agent = tiny_agent.make(
                IMAGE, VECTOR, precision=each, rssm__discrete=0, rssm__min_std=1.0
            )
            found[each] = agent.assess(windows, SEED)
    assert found[precision] == pytest.approx(found["32"], rel=0.05, abs=0.05)


def test_one_graph_serves_episodes_of_any_length():
    with tiny_agent.running(eagerly=False):
        agent = tiny_agent.make(VECTOR)
        for lengths in ((3, 9, 6), (4, 4, 4), (3, 3, 17)):
            agent.assess(set_aside.cut(episodes(*lengths), 4), SEED)
        graph = agent._assessment._graph
        assert graph.experimental_get_tracing_count() == 1
