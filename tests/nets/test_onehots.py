"""Sparse products give what products with one-hot vectors give."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import graphs, onehots
from dreamerv2.algorithm import explore

pytestmark = pytest.mark.tf

ROWS, COUNT, CLASSES, REST, SIZE = 6, 3, 4, 5, 7


def inputs(dtype=tf.float32):
    """One-hot vectors beside numbers, sparse and as they are; a kernel."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, CLASSES, [ROWS, COUNT])
    onehot = tf.one_hot(index, CLASSES, dtype=dtype)
    rest = tf.cast(rng.normal(size=[ROWS, REST]), dtype)
    sparse = onehots.Sparse(onehots.places(onehot), rest)
    flat = tf.concat([tf.reshape(onehot, [ROWS, -1]), rest], -1)
    kernel = tf.cast(rng.normal(size=[COUNT * CLASSES + REST, SIZE]), dtype)
    return sparse, flat, kernel


def test_ones_are_placed_among_all_numbers():
    onehot = tf.one_hot([[2, 0, 3], [1, 1, 0]], CLASSES)
    expected = [[2, 4, 11], [1, 5, 8]]
    np.testing.assert_array_equal(onehots.places(onehot), expected)
    sparse, flat, _ = inputs()
    np.testing.assert_array_equal(onehots.expand(sparse, COUNT * CLASSES), flat)
    np.testing.assert_array_equal(onehots.expand(flat, COUNT * CLASSES), flat)


def test_a_sparse_input_has_the_type_and_the_batch_of_what_it_stands_for():
    sparse, flat, _ = inputs(tf.float16)
    assert sparse.dtype == flat.dtype
    assert sparse.shape[:-1] == flat.shape[:-1]
    parts = tf.nest.map_structure(lambda x: tf.reshape(x, [2, 3, -1]), sparse)
    assert parts.shape[:-1] == (2, 3)
    for one, two in zip(onehots.merge_axes(parts), sparse, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("how", ["graph", "eager", "xla"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_a_sparse_product_and_its_gradients_are_those_of_the_product(dtype, how):
    sparse, flat, kernel = inputs(dtype)
    upstream = tf.cast(np.random.default_rng(1).normal(size=[ROWS, SIZE]), dtype)

    def run(x, dense):
        with tf.GradientTape() as tape:
            tape.watch([dense, kernel])
            y = onehots.matmul(x(dense), kernel)
        return y, *tape.gradient(y, [dense, kernel], upstream)

    graph = run
    if how != "eager":
        graph = tf.function(run, autograph=False, jit_compile=how == "xla")
    found = graph(lambda dense: sparse._replace(dense=dense), sparse.dense)
    ones = flat[:, : COUNT * CLASSES]
    expected = run(lambda dense: tf.concat([ones, dense], -1), sparse.dense)
    bound = 1e-5 if dtype == tf.float32 else 0.05
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == dtype
        one, two = (tf.cast(x, tf.float32) for x in (one, two))
        np.testing.assert_allclose(one, two, rtol=bound, atol=bound)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pred_discount": False, "grad_heads": ["decoder", "reward"]},
        {"expl_behavior": "Plan2Explore", "expl_extr_scale": 1.0},
        {"expl_behavior": "Plan2Explore", "disag_action_align": "next"},
        {"expl_behavior": "ModelLoss", "expl_model_loss": "kl"},
    ],
)
def test_an_update_is_the_same_with_places_as_with_vectors(settings, monkeypatch):
    found = []
    for sparse in (True, False):
        monkeypatch.setattr(graphs, "fuses", lambda sparse=sparse: sparse)
        agent = tiny_agent.make(**settings)
        for _ in range(2):
            _, metrics = agent.train(tiny_agent.batch(), None, step=0)
        found.append((metrics, agent.named_weights()))
    (one, weights), (two, others) = found
    for key in one:
        np.testing.assert_allclose(one[key], two[key], rtol=1e-3, atol=1e-5)
    for key in weights:
        np.testing.assert_allclose(weights[key], others[key], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    "discrete, latents, precision, sparse",
    [
        (True, 4, "32", True),
        (True, 0, "32", False),
        (False, 4, "32", False),
        (True, 4, "bfloat16", False),
    ],
)
def test_places_are_used_where_no_gradient_needs_the_vectors(
    discrete, latents, precision, sparse
):
    agent = tiny_agent.make(
        discrete=discrete, rssm__discrete=latents, precision=precision
    )
    kinds = set()
    reward = type(agent.model).reward

    def spy(self, feat):
        kinds.add(type(feat) is onehots.Sparse)
        return reward(self, feat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(agent.model), "reward", spy)
        agent.train(tiny_agent.batch(discrete=discrete), None, step=0)
    assert kinds == {sparse}


def test_an_action_goes_with_a_sparse_feature():
    agent = tiny_agent.make(expl_behavior="Plan2Explore", disag_action_cond=True)
    assert isinstance(agent.expl, explore.Plan2Explore)
    sparse, flat, _ = inputs()
    action = tf.one_hot([0, 1, 2, 0, 1, 2], 3)
    found = agent.expl._inputs(sparse, action, 0)
    expected = agent.expl._inputs(flat, action, 0)
    np.testing.assert_array_equal(onehots.expand(found, COUNT * CLASSES), expected)
