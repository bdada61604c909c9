"""Laws of heads, encoder, decoder and ensemble."""

import numpy as np
import pytest
import tensorflow as tf

from common.compute import onehots
from common.nets import coders, dists, heads, sizes

SHAPES = {
    "image": (10, 10, 3),
    "depth": (10, 10, 1),
    "pose": (4,),
    "angle": (2,),
    "height": (),
}
CODER = {
    "cnn_keys": ".*",
    "mlp_keys": ".*",
    "act": "elu",
    "norm": "none",
    "cnn_depth": 2,
    "cnn_kernels": [4, 4],
    "mlp_layers": [8, 6],
}
HEAD = {"layers": 2, "units": 8, "act": "elu", "norm": "none"}
LEAD = (2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def encoder(shapes=None, **settings):
    return coders.Encoder(rng(), shapes or SHAPES, **{**CODER, **settings})


def decoder(shapes=None, **settings):
    return coders.Decoder(rng(), 7, shapes or SHAPES, **{**CODER, **settings})


def observations(dtype=np.float32):
    source = rng(1)
    return {k: source.normal(size=LEAD + s).astype(dtype) for k, s in SHAPES.items()}


def tensors(dtype):
    return {k: tf.cast(v, dtype) for k, v in observations().items()}


def features(dtype=tf.float32):
    return tf.cast(rng(2).normal(size=(*LEAD, 7)), dtype)


# Heads.


@pytest.mark.parametrize(
    "name, shape, kind",
    [
        ("mse", (), dists.Normal),
        ("mse", (2, 3), dists.Normal),
        ("binary", (), dists.Bernoulli),
        ("onehot", (3,), dists.OneHot),
        ("trunc_normal", (3,), dists.TruncatedNormal),
    ],
)
def test_a_head_gives_a_distribution_over_its_shape(name, shape, kind):
    dist = heads.MLP(rng(), 7, shape, **HEAD, dist=name)(features())
    assert type(dist) is kind
    assert dist.mode().shape == (*LEAD, *shape)
    assert dist.log_prob(dist.mode()).shape == LEAD


def test_a_head_is_dense_layers_with_an_output_on_top():
    head = heads.MLP(rng(), 7, (), **HEAD, dist="mse")
    weights = {key: w.numpy() for key, w in head.named_weights().items()}
    x = features().numpy()
    for name in ("dense0", "dense1"):
        x = x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        x = np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)
    x = x @ weights["out/out/kernel"] + weights["out/out/bias"]
    np.testing.assert_allclose(head(features()).mode(), x[..., 0], rtol=1e-4)


def test_a_truncated_normal_head_keeps_location_and_scale_in_bounds():
    head = heads.MLP(rng(), 7, (3,), **HEAD, dist="trunc_normal", min_std=0.25)
    for weight in head.named_weights().values():
        weight.assign(weight * 100)
    dist = head(features())
    assert np.abs(dist.mean).max() <= 1
    assert dist.std.numpy().min() == 0.25
    assert 2.0 < dist.std.numpy().max() <= 2.25


def test_an_unknown_distribution_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="'normal'.*binary.*mse.*onehot.*trunc_normal"):
        heads.MLP(rng(), 7, (), **HEAD, dist="normal")


# Encoder.


def test_observations_are_images_or_vectors_by_rank_and_expression():
    images, vectors = sizes.select_keys(SHAPES, ".*", "p|h")
    assert images == ["depth", "image"]
    assert vectors == ["height", "pose"]


def test_the_embedding_is_images_then_vectors():
    whole, images = encoder(), encoder(mlp_keys="$^")
    data = observations()
    embed = whole(data)
    assert embed.shape == (*LEAD, whole.size)
    assert whole.size == images.size + CODER["mlp_layers"][-1]
    # Both encoders draw their convolutions first, from the same generator.
    np.testing.assert_allclose(embed[..., : images.size], images(data), rtol=1e-5)
    weights = {key: w.numpy() for key, w in whole.named_weights().items()}
    keys = ("angle", "height", "pose")
    parts = [data[k][..., None] if k == "height" else data[k] for k in keys]
    x = np.concatenate(parts, -1)
    for name in ("dense0", "dense1"):
        x = x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        x = np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)
    np.testing.assert_allclose(embed[..., images.size :], x, rtol=1e-4, atol=1e-5)


def test_an_observation_is_embedded_alike_wherever_it_stands_in_a_batch():
    net, data = encoder(), observations()
    one = net({k: v[1, 2][None] for k, v in data.items()})
    np.testing.assert_allclose(net(data)[1, 2], one[0], rtol=1e-4, atol=1e-5)


def in_bytes(*keys):
    """Observations, those keys as bytes; and the same as the numbers they stand for."""
    data = {key: tf.constant(value) for key, value in observations().items()}
    numbers, source = dict(data), rng(4)
    for key in keys:
        data[key] = tf.constant(source.integers(0, 256, LEAD + SHAPES[key], np.uint8))
        numbers[key] = tf.cast(data[key], tf.float32) / 255 - 0.5
    return data, numbers


@pytest.mark.parametrize("keys", [("image",), ("image", "depth")])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_bytes_are_embedded_like_the_numbers_they_stand_for(keys, dtype):
    data, numbers = in_bytes(*keys)
    net = encoder(dtype=dtype)
    found, expected = net(data), encoder()(numbers)
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype == tf.float32 else 0.05
    np.testing.assert_allclose(
        tf.cast(found, tf.float32), expected, rtol=tolerance, atol=tolerance
    )


def test_every_observation_in_use_reaches_the_embedding():
    net, data = encoder(), observations()
    before = net(data).numpy()
    for key in SHAPES:
        assert (net({**data, key: data[key] + 1}).numpy() != before).any(-1).all()
    chosen = encoder(mlp_keys="pose")
    before = chosen(data).numpy()
    changed = {**data, "angle": data["angle"] + 1}
    np.testing.assert_array_equal(chosen(changed), before)


@pytest.mark.parametrize("cnn_keys, mlp_keys", [("$^", "$^"), ("pose", "image")])
def test_an_encoder_without_an_observation_names_what_there_is(cnn_keys, mlp_keys):
    with pytest.raises(ValueError, match="No observation.*'image'.*'pose'"):
        encoder(cnn_keys=cnn_keys, mlp_keys=mlp_keys)


@pytest.mark.parametrize("make", [encoder, decoder])
def test_images_of_different_sizes_are_refused(make):
    with pytest.raises(ValueError, match=r"differ in size.*\(10, 10, 3\).*\(12, 12"):
        make({"image": (10, 10, 3), "map": (12, 12, 3)})


def test_images_too_small_for_the_kernels_are_refused():
    with pytest.raises(ValueError, match=r"10x10 pixels are too small.*\[4, 4, 4\]"):
        encoder({"image": (10, 10, 3)}, cnn_kernels=[4, 4, 4])


# Decoder.


def test_the_decoder_gives_every_observation_a_distribution_of_its_shape():
    data, outputs = observations(), decoder()(features())
    assert set(outputs) == set(SHAPES)
    for key, dist in outputs.items():
        assert dist.mode().shape == LEAD + SHAPES[key]
        assert dist.log_prob(data[key]).shape == LEAD
        square = np.square(data[key] - dist.mode().numpy())
        size = np.prod(SHAPES[key])
        expected = square.reshape(*LEAD, -1).sum(-1) + size * np.log(2 * np.pi)
        np.testing.assert_allclose(dist.log_prob(data[key]), -expected / 2, rtol=1e-4)


def test_images_share_the_convolutions_but_not_the_channels():
    net = decoder()
    before = {key: dist.mode().numpy() for key, dist in net(features()).items()}
    bias = net.named_weights()["conv1/bias"]
    bias.assign([1, 0, 0, 0])  # the first in the order of names: depth
    after = {key: dist.mode().numpy() for key, dist in net(features()).items()}
    np.testing.assert_allclose(after["depth"], before["depth"] + 1, rtol=1e-5)
    np.testing.assert_array_equal(after["image"], before["image"])


def test_a_feature_is_decoded_alike_wherever_it_stands_in_a_batch():
    net, feat = decoder(), features()
    one = net(feat[1, 2][None])
    for key, dist in net(feat).items():
        expected = one[key].mode()[0]
        np.testing.assert_allclose(dist.mode()[1, 2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"cnn_keys": "$^"}, {"mlp_keys": "$^"}])
@pytest.mark.parametrize("piece", [2, 100])
def test_the_loss_of_a_decoder_is_that_of_its_distributions(
    piece, settings, monkeypatch
):
    monkeypatch.setattr(coders, "_PIECE", piece)
    scales = {"pose": 0.5, "image": 3.0}
    part, feat = decoder(**settings, scales=scales), features()
    data = tensors(feat.dtype)
    weights = list(part.named_weights().values())
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(feat)
        found, log_probs = part.loss(onehots.Latents(feat), data)
        dists_by_key = part(feat)
        expected = 0.0
        for key, dist in dists_by_key.items():
            values = dist.log_prob(data[key])
            np.testing.assert_allclose(log_probs[key], values, rtol=1e-5)
            scale = scales.get(key, 1.0)
            expected -= scale * tf.reduce_mean(values)
    assert set(log_probs) == set(dists_by_key)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    slopes = tape.gradient(expected, [feat, *weights])
    for one, two in zip(tape.gradient(found, [feat, *weights]), slopes, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_a_decoder_judges_bytes_like_the_numbers_they_stand_for():
    part, feat = decoder(), onehots.Latents(features())
    judged = [part.loss(feat, data) for data in in_bytes("image", "depth")]
    np.testing.assert_allclose(judged[0][0], judged[1][0], rtol=1e-5)
    for key, values in judged[0][1].items():
        np.testing.assert_allclose(values, judged[1][1][key], rtol=1e-4)


def test_the_last_layer_of_the_decoder_is_linear():
    weights = decoder(norm="layer").named_weights()
    assert "conv0/norm/gamma" in weights
    assert "conv1/norm/gamma" not in weights


def test_kernels_that_do_not_end_at_the_size_of_the_images_are_refused():
    with pytest.raises(ValueError, match=r"\[4, 5\] draw.*11x11.*10x10.*render_size"):
        decoder(cnn_kernels=[4, 5])


# Precision.


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_coders_follow_the_type_of_their_input_and_keep_single_weights(dtype):
    net, out = encoder(), decoder()
    embed = net(tensors(dtype))
    assert embed.dtype == dtype
    assert encoder(cnn_keys="$^")(tensors(dtype)).dtype == dtype
    outputs = out(features(dtype))
    assert {dist.mode().dtype for dist in outputs.values()} == {tf.float32}
    exact = net(tensors(tf.float32))
    np.testing.assert_allclose(tf.cast(embed, tf.float32), exact, rtol=0.1, atol=0.1)
    for part in (net, out):
        assert {w.dtype for w in part.named_weights().values()} == {tf.float32}


# Ensemble.


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_an_ensemble_is_so_many_separate_networks(norm):
    settings = {**HEAD, "norm": norm, "dist": "mse"}
    ensemble = heads.EnsembleMLP(rng(), 3, 7, 5, **settings)
    for i, weight in enumerate(ensemble.named_weights().values()):
        weight.assign(rng(i).normal(size=weight.shape))
    outputs = ensemble(features())
    assert outputs.shape == (3, *LEAD, 5)
    for i in range(3):
        single = heads.MLP(rng(), 7, (5,), **settings)
        for name, weight in single.named_weights().items():
            weight.assign(tf.reshape(ensemble.named_weights()[name][i], weight.shape))
        expected = single(features()).mode()
        np.testing.assert_allclose(outputs[i], expected, rtol=1e-4, atol=1e-4)


def test_members_of_an_ensemble_start_apart():
    outputs = heads.EnsembleMLP(rng(), 3, 7, 5, **HEAD, dist="mse")(features())
    assert (np.asarray(outputs).std(0) > 0).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"norm": "batch", "dist": "mse"}, "Unknown norm 'batch'"),
        (
            {"norm": "none", "dist": "binary"},
            "Unknown distribution 'binary'.*expl_head",
        ),
    ],
)
def test_an_ensemble_without_a_batched_form_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        heads.EnsembleMLP(rng(), 3, 7, 5, **{**HEAD, **settings})
