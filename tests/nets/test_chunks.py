"""Means over rows, differentiated piece by piece."""

import numpy as np
import pytest
import tensorflow as tf

from common.compute import chunks
from common.nets import layers

ROWS, SIZE = 12, 5
SCALES = {"near": -1.0, "far": -0.3}


@pytest.fixture
def network():
    """A function of rows, and its weights; one of them is read by nobody."""
    rng = np.random.default_rng(0)
    first = layers.Dense(rng, SIZE, 7, "elu")
    second = layers.Dense(rng, 7, 3)
    weights = [*first.named_weights().values(), *second.named_weights().values()]
    weights.append(tf.Variable([1.0, 2.0]))

    def function(x, data):
        y = tf.cast(second(first(x)), tf.float32)
        near = tf.reduce_sum(tf.square(y - data["target"]), -1)
        return {"near": near, "far": data["weight"] * tf.reduce_sum(tf.abs(y), -1)}

    return function, weights


def inputs(dtype):
    rng = np.random.default_rng(1)
    data = {"target": rng.normal(size=[ROWS, 3]), "weight": rng.random(ROWS)}
    data = {k: tf.constant(v, tf.float32) for k, v in data.items()}
    return tf.constant(rng.normal(size=[ROWS, SIZE]), dtype), data


def differentiate(network, dtype, most, *, loss_scale=1.0, how="graph"):
    """Total, values, and gradients of 3 x total for the inputs and weights."""
    function, weights = network
    seen = []

    def counted(x, data):
        seen.append(x.shape[0])
        return function(x, data)

    def run(x, data):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *weights])
            total, values = chunks.mean(
                counted,
                2 * x,
                data,
                weights,
                scales=SCALES,
                most=most,
                loss_scale=loss_scale,
            )
            loss = 3 * total * loss_scale
        grads = tape.gradient(loss, [x, *weights], unconnected_gradients="zero")
        return total, values, grads

    graph = run
    if how != "eager":
        graph = tf.function(run, autograph=False, jit_compile=how == "xla")
    return (*graph(*inputs(dtype)), set(seen))


@pytest.mark.parametrize("how", ["graph", "eager", "xla"])
@pytest.mark.parametrize(("most", "rows"), [(1, 1), (4, 4), (5, 4), (11, 6)])
def test_pieces_give_what_all_rows_at_once_give(network, most, rows, how):
    whole = differentiate(network, np.float32, ROWS)
    parts = differentiate(network, np.float32, most, how=how)
    assert (whole[3], parts[3]) == ({ROWS}, {rows})
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-6)
    for name in SCALES:
        np.testing.assert_allclose(parts[1][name], whole[1][name], rtol=1e-6)
    *_, unused = parts[2]
    assert not np.abs(unused).any()
    for one, two in zip(parts[2][:-1], whole[2][:-1], strict=True):
        assert np.abs(two).max() > 1e-2
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("total", "most", "rows"),
    [(800, 100, 100), (400, 100, 100), (8, 100, 8), (784, 100, 98), (211, 100, 211)],
)
def test_pieces_divide_the_rows_evenly_and_are_not_tiny(total, most, rows):
    assert chunks._choose(total, most) == rows


def test_inputs_that_nothing_depends_on_take_a_gradient_of_zero(network):
    function, weights = network

    def cut(x, data):
        return function(tf.stop_gradient(x), data)

    slope, *slopes = differentiate((cut, weights), np.float32, 3)[2]
    assert slope.shape == (ROWS, SIZE) and not np.abs(slope).any()
    assert np.abs(slopes[0]).max() > 1e-2


def test_the_values_alone_take_no_gradient(network):
    function, weights = network
    for most in (3, ROWS):
        x, data = inputs(np.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            _, values = chunks.mean(
                function, x, data, weights, scales=SCALES, most=most
            )
            loss = tf.reduce_sum(values["near"])
        found = tape.gradient(loss, x)
        assert found is None or not np.abs(found).any()


def test_a_loss_scale_keeps_half_precision_from_vanishing(network):
    function, weights = network

    def small(x, data):
        return {k: 1e-7 * v for k, v in function(x, data).items()}

    expected = differentiate((small, weights), np.float32, 3)[2]
    scaled = differentiate((small, weights), np.float16, 3, loss_scale=2.0**15)[2]
    lost = differentiate((small, weights), np.float16, 3)[2]
    for one, two, three in zip(expected[:-1], scaled[:-1], lost[:-1], strict=True):
        found = np.float32(two) / 2**15
        np.testing.assert_allclose(found, one, rtol=0.05, atol=1e-2 * np.abs(one).max())
        assert np.abs(np.float32(three) - one).max() > 0.1 * np.abs(one).max()


def test_inputs_may_be_a_nest(network):
    function, weights = network
    x, data = inputs(np.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        whole, values = chunks.mean(function, x, data, weights, scales=SCALES, most=4)
        left, right = x[:, :2], {"rest": x[:, 2:]}
        parts, others = chunks.mean(
            lambda x, data: function(tf.concat([x[0], x[1]["rest"]], 1), data),
            (left, right),
            data,
            weights,
            scales=SCALES,
            most=4,
        )
    np.testing.assert_allclose(whole, parts, rtol=1e-6)
    for name in SCALES:
        np.testing.assert_allclose(values[name], others[name], rtol=1e-6)
    found = tape.gradient(parts, [x, *weights[:-1]])
    expected = tape.gradient(whole, [x, *weights[:-1]])
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
