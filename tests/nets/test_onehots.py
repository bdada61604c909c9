"""Features are what they stand for, in whichever form they are kept."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import onehots

ROWS, COUNT, CLASSES, REST, SIZE = 6, 3, 4, 5, 7


def inputs(dtype=tf.float32):
    """One-hot vectors beside numbers, as places and as vectors; a kernel."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, CLASSES, [ROWS, COUNT])
    onehot = tf.one_hot(index, CLASSES, dtype=dtype)
    rest = tf.cast(rng.normal(size=[ROWS, REST]), dtype)
    sparse = onehots.join(onehots.places(onehot), rest, COUNT * CLASSES)
    dense = onehots.join(onehot, rest, COUNT * CLASSES)
    kernel = tf.cast(rng.normal(size=[COUNT * CLASSES + REST, SIZE]), dtype)
    return sparse, dense, kernel


def test_ones_are_placed_among_all_numbers():
    onehot = tf.one_hot([[2, 0, 3], [1, 1, 0]], CLASSES)
    expected = [[2, 4, 11], [1, 5, 8]]
    np.testing.assert_array_equal(onehots.places(onehot), expected)


def fold(feat):
    """[6, F] as [2, 3, F]."""
    return feat.map(lambda x: tf.reshape(x, [2, 3, x.shape[-1]]))


# What extensions do with features; each must mean the same in both forms.
OPERATIONS = {
    "all of it": lambda feat: feat,
    "a slice of time": lambda feat: feat[:-1],
    "a slice of rows and time": lambda feat: feat[:, 1:],
    "one step": lambda feat: feat[0],
    "a step in a loop": lambda feat: feat[tf.constant(1)],
    "a slice of features": lambda feat: feat[..., 2:14],
    "a slice of all axes": lambda feat: feat[0, :, :5],
    "two times more": lambda feat: feat.concat(tf.ones([2, 3, 2], feat.dtype)),
    "TensorFlow's concat": lambda feat: tf.concat([feat, feat], -1),
    "TensorFlow's stop_gradient": lambda feat: tf.stop_gradient(feat),
    "without gradient": lambda feat: feat.stop_gradient(),
    "one axis less": lambda feat: feat.merge_axes(),
    "a mean": lambda feat: tf.reduce_mean(feat, -1),
    "a sum with a tensor": lambda feat: tf.ones([3, 17], feat.dtype) + feat,
    "a loop": lambda feat: tf.map_fn(lambda x: 2 * x, tf.convert_to_tensor(feat)),
}


def apply(operation, feat):
    """What an operation makes of features, as a tensor."""
    result = operation(feat)
    return tf.zeros(result.shape) + result


@pytest.mark.parametrize("how", ["graph", "eager"])
def test_features_mean_the_same_in_both_forms(how):
    differing = []
    for name, operation in OPERATIONS.items():
        results = []
        for feat in inputs()[:2]:
            feat = fold(feat)
            assert feat.shape == (2, 3, COUNT * CLASSES + REST)

            graph = functools.partial(apply, operation, feat)
            if how == "graph":
                graph = tf.function(graph, autograph=False)
            results.append(graph().numpy())
        if results[0].shape != results[1].shape or (results[0] != results[1]).any():
            differing.append(name)
    assert not differing


def test_features_are_of_their_numbers_type_and_refuse_another():
    for feat in inputs(tf.float16)[:2]:
        assert feat.dtype == tf.float16
        with pytest.raises((TypeError, ValueError)):
            tf.convert_to_tensor(feat, tf.float32)


@pytest.mark.parametrize("how", ["graph", "eager", "xla"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_a_sparse_product_and_its_gradients_are_those_of_the_product(dtype, how):
    sparse, vectors, kernel = inputs(dtype)
    ones, rest = sparse.parts[1], vectors.to_tensor()[:, COUNT * CLASSES :]
    onehot = vectors.to_tensor()[:, : COUNT * CLASSES]
    upstream = tf.cast(np.random.default_rng(1).normal(size=[ROWS, SIZE]), dtype)

    def run(x, dense):
        with tf.GradientTape() as tape:
            tape.watch([dense, kernel])
            y = onehots.matmul(x(dense), kernel)
        return y, *tape.gradient(y, [dense, kernel], upstream)

    graph = run
    if how != "eager":
        graph = tf.function(run, autograph=False, jit_compile=how == "xla")
    found = graph(lambda dense: sparse.of((dense, ones)), rest)
    expected = run(lambda dense: tf.concat([onehot, dense], -1), rest)
    bound = 1e-5 if dtype == tf.float32 else 0.05
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == dtype
        one, two = (tf.cast(x, tf.float32) for x in (one, two))
        np.testing.assert_allclose(one, two, rtol=bound, atol=bound)


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
        kinds.add(len(feat.parts) == 2)
        return reward(self, feat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(agent.model), "reward", spy)
        agent.train(tiny_agent.batch(discrete=discrete), None, step=0)
    assert kinds == {sparse}
