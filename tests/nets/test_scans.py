"""Loops over time whose matrices get their gradient after the loop."""

import numpy as np
import pytest

pytestmark = pytest.mark.tf

STEPS, ROWS, SIZE = 6, 3, 4


@pytest.fixture
def problem():
    """Inputs [T, B, D], a state [B, D] and two matrices, as float32 tensors."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    shapes = {"inputs": (STEPS, ROWS, SIZE), "state": (ROWS, SIZE)}
    shapes |= {"narrow": (SIZE, 2), "wide": (2 + SIZE, SIZE)}
    return {
        name: tf.Variable(rng.normal(size=shape).astype(np.float32))
        for name, shape in shapes.items()
    }


def run(problem, scan):
    """A loss over all states, and its gradients."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def differentiate():
        with tf.GradientTape() as tape:
            states = scan(
                problem["inputs"].read_value(),
                problem["state"].read_value(),
                {k: problem[k].read_value() for k in ("narrow", "wide")},
            )
            weights = tf.reshape(tf.range(states.shape.num_elements()), states.shape)
            loss = tf.reduce_sum(tf.cos(tf.cast(weights, tf.float32)) * states)
        return loss, tape.gradient(loss, problem)

    return differentiate()


def step(state, now, multiply):
    import tensorflow as tf

    small = tf.tanh(multiply("narrow", state))
    return tf.tanh(multiply("wide", tf.concat([small, now], -1)) + 0.5 * state)


@pytest.mark.parametrize("unroll", [False, True])
def test_states_and_gradients_equal_those_of_a_plain_loop(problem, unroll):
    import tensorflow as tf

    from common.compute import scans

    def plain(inputs, state, kernels):
        states = []
        for t in range(STEPS):
            state = step(state, inputs[t], lambda name, x: x @ kernels[name])
            states.append(state)
        return tf.stack(states)

    expected_loss, expected = run(problem, plain)
    loss, gradients = run(
        problem, lambda *args: scans.lifted(step, *args, unroll=unroll)
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 0.1, name
        np.testing.assert_allclose(gradient, expected[name], atol=1e-5, err_msg=name)


def test_no_step_of_the_way_back_holds_a_product_as_large_as_a_matrix(problem):
    """What the loop is for: its body multiplies with matrices, and makes none."""
    import tensorflow as tf

    from common.compute import scans

    @tf.function(autograph=False)
    def differentiate():
        with tf.GradientTape() as tape:
            states = scans.lifted(
                step,
                problem["inputs"].read_value(),
                problem["state"].read_value(),
                {k: problem[k].read_value() for k in ("narrow", "wide")},
            )
            loss = tf.reduce_sum(states)
        return tape.gradient(loss, problem)

    library = differentiate.get_concrete_function().graph.as_graph_def().library
    bodies = [f for f in library.function if "while_body" in f.signature.name]
    backward = [f for f in bodies if "grad" in f.signature.name]
    products = [n for f in backward for n in f.node_def if n.op == "MatMul"]
    assert len(products) == 2  # one for each matrix: the gradient of its input
