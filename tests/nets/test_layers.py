"""Laws of the layers, against slow NumPy twins."""

import numpy as np
import pytest
import tensorflow as tf

from common.compute import graphs
from common.nets import convolutions, layers

EPSILON = 1e-3  # of the layer norm


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0):
    return rng(seed).normal(size=shape).astype(np.float32)


def shake(part):
    """Gives every weight a random value, biases and norms too; returns them."""
    weights = {}
    for i, (name, weight) in enumerate(part.named_weights().items()):
        weight.assign(normal(*weight.shape, seed=100 + i))
        weights[name] = weight.numpy()
    return weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def layer_norm(x, weights):
    """Normalises the last axis; `weights` has `norm/gamma` and `norm/beta`."""
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    return x * weights["norm/gamma"] + weights["norm/beta"]


def slow_conv(x, kernel):
    """Convolves [N, h, w, in] with [k, k, in, out] at stride 2, pixel by pixel."""
    size = kernel.shape[0]
    side = (x.shape[1] - size) // 2 + 1
    y = np.zeros((len(x), side, side, kernel.shape[-1]))
    for i in range(side):
        for j in range(side):
            patch = x[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size]
            y[:, i, j] = np.einsum("nabc,abcd->nd", patch, kernel)
    return y


def slow_conv_transpose(x, kernel):
    """Adds the patch [k, k, out] that every pixel of [N, h, w, in] draws."""
    size, side = kernel.shape[0], 2 * x.shape[1] - 2 + kernel.shape[0]
    y = np.zeros((len(x), side, side, kernel.shape[2]))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            patch = np.einsum("nc,abdc->nabd", x[:, i, j], kernel)
            y[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size] += patch
    return y


def test_dense_multiplies_adds_normalises_and_activates_in_this_order():
    layer = layers.Dense(rng(), 5, 4, "elu", "layer")
    weights, x = shake(layer), normal(2, 3, 5)
    expected = elu(layer_norm(x @ weights["kernel"] + weights["bias"], weights))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lead", [(), (5,)])
def test_a_split_layer_is_the_whole_layer_whatever_is_computed_ahead(lead):
    whole = layers.Dense(rng(), 7, 4, "elu", "layer")
    split = layers.SplitDense(rng(), 3, 4, 4, "elu", "layer")
    for name, value in shake(whole).items():
        split.named_weights()[name].assign(value)
    a, b = normal(2, 3, seed=1), normal(2, *lead, 4, seed=2)
    ahead = tf.reshape(split.ahead(b), [-1, 4])
    a = np.repeat(a, len(ahead) // len(a), 0)
    expected = whole(np.concatenate([a, np.reshape(b, [-1, 4])], -1))
    np.testing.assert_allclose(split(a, ahead), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_convolution_is_the_sum_over_its_patches(norm):
    layer = convolutions.Conv(rng(), 3, 5, 4, "elu", norm)
    weights, x = shake(layer), normal(2, 11, 11, 3)
    expected = slow_conv(x, weights["kernel"]) + weights["bias"]
    if norm == "layer":
        expected = layer_norm(expected, weights)
    np.testing.assert_allclose(layer(x), elu(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_transposed_convolution_adds_a_patch_for_every_pixel(side):
    layer = convolutions.ConvTranspose(rng(), 3, 5, 4, "elu", "layer")
    weights, x = shake(layer), normal(2, side, side, 3)
    expected = slow_conv_transpose(x, weights["kernel"]) + weights["bias"]
    expected = elu(layer_norm(expected, weights))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_the_product_for_one_pixel_is_the_transposed_convolution_of_tensorflow():
    layer = convolutions.ConvTranspose(rng(), 6, 5, 4)
    weights, x = shake(layer), normal(3, 1, 1, 6)
    expected = tf.nn.conv2d_transpose(x, weights["kernel"], [3, 4, 4, 5], 2, "VALID")
    expected = expected + weights["bias"]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def gradients(function, *inputs):
    """What a graph function gives, and its gradients for a random upstream one."""

    @tf.function(autograph=False)
    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs)
        return y, *tape.gradient(y, inputs, tf.constant(normal(*y.shape, seed=9)))

    return run(*(tf.constant(x) for x in inputs))


@pytest.mark.parametrize("kernel, outputs", [(2, 1), (4, 3), (6, 3), (6, 15)])
def test_four_kinds_of_pixels_make_a_transposed_convolution(kernel, outputs):
    inputs = (
        normal(2, 5, 3, 7),
        normal(kernel, kernel, outputs, 7, seed=1),
        normal(outputs, seed=2),
    )

    def expected(x, weights, bias):
        shape = [2, 2 * 5 - 2 + kernel, 2 * 3 - 2 + kernel, outputs]
        return tf.nn.conv2d_transpose(x, weights, shape, 2, "VALID") + bias

    found = gradients(convolutions._subpixel, *inputs)
    for one, two in zip(found, gradients(expected, *inputs), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("height, width", [(4, 4), (6, 6), (7, 5)])
def test_patches_make_a_convolution(height, width):
    inputs = normal(3, height, width, 6), normal(4, 4, 6, 5, seed=1)

    def product(x, kernel):
        y = tf.matmul(convolutions._patches(x, 4), tf.reshape(kernel, [-1, 5]))
        return tf.reshape(y, [3, (height - 4) // 2 + 1, (width - 4) // 2 + 1, 5])

    found = gradients(product, *inputs)
    expected = gradients(lambda x, k: tf.nn.conv2d(x, k, 2, "VALID"), *inputs)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def test_compiled_gates_are_the_gates(monkeypatch):
    parts, state = normal(3, 15), normal(3, 5, seed=1)
    weights = [normal(15, seed=seed) for seed in (2, 3, 4)]
    found = gradients(layers._gates, parts, state, *weights)
    monkeypatch.setattr(graphs, "fuses", lambda: False)
    expected = gradients(layers._gates, parts, state, *weights)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_only_graphs_on_a_cpu_are_compiled_in_parts():
    assert not graphs.fuses()
    inside = []
    tf.function(lambda: inside.append(graphs.fuses()))()
    assert inside == [not tf.config.list_physical_devices("GPU")]


def test_the_gru_cell_is_its_equations():
    cell = layers.GRUCell(rng(), 3, 5)
    weights, x, state = shake(cell), normal(2, 3, seed=1), normal(2, 5, seed=2)
    parts = np.concatenate([x, state], -1) @ weights["kernel"] + weights["bias"]
    reset, candidate, update = np.split(layer_norm(parts, weights), 3, -1)
    candidate = np.tanh(sigmoid(reset) * candidate)
    update = sigmoid(update - 1)
    expected = update * candidate + (1 - update) * state
    np.testing.assert_allclose(cell(x, state), expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_normalises_the_last_axis():
    norm, x = layers.LayerNorm(6), normal(2, 3, 6) * 5 + 3
    gamma, beta = (norm.named_weights()[key] for key in ("gamma", "beta"))
    expected = layer_norm(x, {"norm/gamma": gamma, "norm/beta": beta})
    np.testing.assert_allclose(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_does_not_overflow_in_half_precision():
    x = tf.constant([[30_000.0, -30_000.0, 30_000.0, -30_000.0]], tf.float16)
    y = layers.LayerNorm(4)(x)  # the squares exceed the largest float16
    np.testing.assert_allclose(y, [[1, -1, 1, -1]], rtol=1e-3)


MADE = {
    "Dense": (lambda: layers.Dense(rng(), 4, 4, "elu", "layer"), [2, 4]),
    "Conv": (lambda: convolutions.Conv(rng(), 3, 4, 4, "elu", "layer"), [2, 6, 6, 3]),
    "ConvTranspose": (lambda: convolutions.ConvTranspose(rng(), 3, 4, 4), [2, 3, 3, 3]),
    "one pixel": (lambda: convolutions.ConvTranspose(rng(), 3, 4, 4), [2, 1, 1, 3]),
    "LayerNorm": (lambda: layers.LayerNorm(4), [2, 4]),
    "GRUCell": (lambda: layers.GRUCell(rng(), 4, 4), [2, 4]),
}


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
@pytest.mark.parametrize("name", MADE)
def test_a_layer_computes_in_the_type_of_its_input_and_keeps_single_weights(
    name, dtype
):
    make, shape = MADE[name]
    layer, x = make(), tf.cast(normal(*shape), dtype)
    inputs = (x, x) if name == "GRUCell" else (x,)
    weights = list(layer.named_weights().values())
    with tf.GradientTape() as tape:
        y = layer(*inputs)
    assert y.dtype == dtype
    exact = layer(*(tf.cast(x, tf.float32) for x in inputs))
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact, rtol=0.1, atol=0.1)
    assert {weight.dtype for weight in weights} == {tf.float32}
    assert {grad.dtype for grad in tape.gradient(y, weights)} == {tf.float32}


def test_initial_kernels_have_the_variance_of_glorot():
    for shape, fans in (([40, 60], 100), ([4, 4, 30, 50], 16 * 80)):
        kernel = layers.glorot(rng(), shape)
        assert kernel.dtype == np.float32
        assert np.abs(kernel).max() <= np.sqrt(6 / fans)
        np.testing.assert_allclose(kernel.var(), 2 / fans, rtol=0.05)
        np.testing.assert_allclose(kernel.mean(), 0, atol=0.05 * np.sqrt(2 / fans))


def test_initial_weights_follow_the_generator():
    one, two, other = (layers.Dense(rng(seed), 3, 4) for seed in (0, 0, 1))
    x = normal(2, 3)
    np.testing.assert_array_equal(one(x), two(x))
    assert (one(x).numpy() != other(x).numpy()).all()


def test_weights_are_named_by_their_path():
    cell = layers.GRUCell(rng(), 2, 3)
    names = {"kernel", "bias", "norm/gamma", "norm/beta"}
    assert set(cell.named_weights()) == names
    whole = layers.Module()
    whole.add("gru", cell)
    assert set(whole.named_weights()) == {f"gru/{name}" for name in names}
    merged = layers.Module()
    merged.merge(whole)
    assert merged.named_weights() == whole.named_weights()


@pytest.mark.parametrize(
    "style, message",
    [(("relu6", "none"), "'relu6'.*elu.*relu"), (("elu", "batch"), "'batch'.*layer")],
)
def test_an_unknown_activation_or_norm_is_answered_with_the_choices(style, message):
    with pytest.raises(ValueError, match=message):
        layers.Dense(rng(), 2, 3, *style)


@pytest.mark.parametrize("side, inputs", [(6, 128), (5, 128), (6, 127), (8, 128)])
def test_a_convolution_over_few_deep_patches_is_a_convolution(side, inputs):
    layer = convolutions.Conv(rng(), inputs, 5, 4)
    x = tf.constant(normal(3, side, side, inputs))
    expected = tf.nn.conv2d(x, layer.named_weights()["kernel"], 2, "VALID")
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


@pytest.mark.parametrize("many", [0, 10**6])
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_a_convolution_of_bytes_is_that_of_numbers_with_its_gradients(
    dtype, eagerly, many, monkeypatch
):
    monkeypatch.setattr(convolutions, "_MANY", many)
    layer = convolutions.Conv(rng(), 3, 5, 4, "elu", "layer")
    shake(layer)
    weights = list(layer.named_weights().values())
    images = tf.constant(rng(1).integers(0, 256, (4, 9, 9, 3), np.uint8))

    def run(function):
        def both(images):
            with tf.GradientTape() as tape:
                y = function(images)
                loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
            return y, *tape.gradient(loss, weights)

        return (both if eagerly else tf.function(both, autograph=False))(images)

    found = run(lambda images: layer.of_bytes(images, dtype))
    expected = run(lambda images: layer(tf.cast(images, dtype) / 255.0 - 0.5))
    tolerance = {"rtol": 1e-4} if dtype == tf.float32 else {"rtol": 0.05}
    assert found[0].dtype == dtype
    for one, two in zip(found, expected, strict=True):
        one, two = tf.cast(one, tf.float32).numpy(), tf.cast(two, tf.float32).numpy()
        atol = (1e-5 if dtype == tf.float32 else 0.02) * np.abs(two).max()
        np.testing.assert_allclose(one, two, **tolerance, atol=atol)


def test_a_convolution_of_bytes_scales_again_once_its_gradient_is_under_way():
    layer = convolutions.Conv(rng(), 3, 5, 4)

    @tf.function(autograph=False)
    def run(images):
        with tf.GradientTape() as tape:
            y = layer.of_bytes(images, tf.float32)
        return tape.gradient(y, list(layer.named_weights().values()))

    images = tf.TensorSpec([4, 9, 9, 3], tf.uint8)
    by_type = {
        op.type: op for op in run.get_concrete_function(images).graph.get_operations()
    }
    back = by_type["Conv2DBackpropFilter"]
    assert back.inputs[0] is not by_type["Conv2D"].inputs[0]
    op, upstream = back.inputs[0].op, back.inputs[2].op
    while not op.control_inputs:
        op = op.inputs[0].op
    assert op.control_inputs == [upstream]


@pytest.mark.parametrize("count", [1, 400_000])
def test_bytes_become_numbers_from_minus_to_plus_a_half(count):
    images = tf.tile(tf.constant([0, 51, 255], tf.uint8), [count])
    scale = tf.function(lambda x: convolutions.scale(x, tf.float32), autograph=False)
    expected = np.tile([-0.5, -0.3, 0.5], count)
    np.testing.assert_allclose(scale(images), expected, atol=1e-6)
