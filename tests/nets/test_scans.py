"""Loops over time whose matrices get their gradient after the loop."""

import numpy as np
import pytest

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
            inputs, state = problem["inputs"], problem["state"]
            states = scan(inputs.read_value(), state.read_value())
            weights = tf.reshape(tf.range(states.shape.num_elements()), states.shape)
            loss = tf.reduce_sum(tf.cos(tf.cast(weights, tf.float32)) * states)
        return loss, tape.gradient(loss, problem)

    return differentiate()


class Layer:
    """Multiplies with a matrix of the problem."""

    def __init__(self, weight):
        self.weight = weight

    def matrix(self, dtype):
        import tensorflow as tf

        return tf.cast(self.weight, dtype)

    def __call__(self, x):
        from common.compute import scans

        return scans.product(self, x)


@pytest.fixture
def layers(problem):
    return Layer(problem["narrow"]), Layer(problem["wide"])


@pytest.fixture
def step(layers):
    """A step of the loop that calls both layers, as code of the algorithm does."""
    import tensorflow as tf

    narrow, wide = layers

    def step(state, now):
        small = tf.tanh(narrow(state))
        return tf.tanh(wide(tf.concat([small, now], -1)) + 0.5 * state)

    return step


@pytest.mark.parametrize("unroll", [False, True])
def test_states_and_gradients_equal_those_of_a_plain_loop(
    problem, layers, step, unroll
):
    import tensorflow as tf

    from common.compute import scans

    def plain(inputs, state):
        states = []
        for t in range(STEPS):
            state = step(state, inputs[t])
            states.append(state)
        return tf.stack(states)

    def lifted(inputs, state):
        return scans.lifted(
            step, inputs, state, layers, dtype=tf.float32, unroll=unroll
        )

    expected_loss, expected = run(problem, plain)
    loss, gradients = run(problem, lifted)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 0.1, name
        np.testing.assert_allclose(gradient, expected[name], atol=1e-5, err_msg=name)


def test_no_step_of_the_way_back_holds_a_product_as_large_as_a_matrix(
    problem, layers, step
):
    """What the loop is for: its body multiplies with matrices, and makes none."""
    import tensorflow as tf

    from common.compute import scans

    @tf.function(autograph=False)
    def differentiate():
        inputs, state = (problem[k].read_value() for k in ("inputs", "state"))
        with tf.GradientTape() as tape:
            states = scans.lifted(step, inputs, state, layers, dtype=tf.float32)
            loss = tf.reduce_sum(states)
        return tape.gradient(loss, problem)

    library = differentiate.get_concrete_function().graph.as_graph_def().library
    bodies = [f for f in library.function if "while_body" in f.signature.name]
    backward = [f for f in bodies if "grad" in f.signature.name]
    products = [n for f in backward for n in f.node_def if n.op == "MatMul"]
    assert len(products) == 2  # one for each matrix: the gradient of its input


def test_a_layer_that_is_called_twice_in_a_step_is_refused(problem, layers, step):
    """Its gradient would be that of the second call alone."""
    import tensorflow as tf

    from common.compute import scans

    def twice(state, now):
        return step(step(state, now), now)

    with pytest.raises(ValueError, match="called twice"):
        inputs, state = problem["inputs"], problem["state"]
        scans.lifted(twice, inputs, state, layers, dtype=tf.float32, unroll=True)
    before = layers[0](problem["state"].read_value())  # and the layers are as they were
    expected = problem["state"] @ problem["narrow"]
    np.testing.assert_allclose(before, expected, rtol=1e-6)
