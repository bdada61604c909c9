"""The random embedding that coverage maximisation compares episodes by."""

import numpy as np
import pytest

from common.envs.suites import minigrid
from common.nets import embeddings, layers
from common.replay import episodes as episodes_lib
from common.replay import layouts


@pytest.fixture(scope="module")
def episodes():
    """Episodes of three tasks under random actions, arrays [T, 64, 64, 3]."""
    rng, result = np.random.default_rng(0), []
    for task in minigrid.MINIGRID_3:
        env = minigrid.make(task, time_limit=30)
        for seed in range(8):
            tran = env.reset(seed)
            images = [tran["image"]]
            while not tran["is_last"]:
                action = np.eye(7, dtype=np.float32)[rng.integers(7)]
                tran = env.step(action)
                images.append(tran["image"])
            result.append(np.stack(images))
    return result


def stored(images):
    """The images as an episode of the replay holds them."""
    total = len(images)
    arrays = {
        "image": images,
        "action": np.zeros((total, 7), np.float32),
        **{key: np.zeros(total, dtype) for key, dtype in layouts.STANDARD.items()},
    }
    layout = layouts.Layout.of(arrays, batched=True)
    return episodes_lib.from_arrays(arrays, layout, index=0, task=0)


def make(seed=0, **options):
    settings = {"filters": 3, "kernel_size": 4, "normalize_lstm_state": True}
    return embeddings.ConvLSTM(
        "image", (64, 64, 3), seed=seed, **{**settings, **options}
    )


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_median_distances_survive_the_projection_within_a_tenth(episodes):
    embed = make()
    whole = np.stack([embed.cell_state(images) for images in episodes])
    small = np.stack([embed(stored(images)) for images in episodes])
    before = np.median(distances(whole), axis=1)
    after = np.median(distances(small), axis=1)
    error = np.abs(after / before - 1)
    assert np.median(error) < 0.04
    assert error.max() < 0.1


def test_the_same_seed_embeds_alike_and_another_one_differs(episodes):
    first, again, other = make(1), make(1), make(2)
    episode = stored(episodes[0])
    np.testing.assert_array_equal(first(episode), again(episode))
    assert np.abs(first(episode) - other(episode)).max() > 1e-3


@pytest.mark.parametrize(
    ("side", "length"),
    [(3, 3), (4, 3), (16, 128), (16, 130), (16, 260)],
    ids=["odd", "even pads more behind", "one reading", "two", "three"],
)
def test_the_cell_state_equals_a_plain_recursion_in_numpy(side, length):
    embed = make(filters=2, kernel_size=side)
    around = (side - 1) // 2, side // 2
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (length, 64, 64, 3), np.uint8)
    draw = np.random.default_rng([0, 5])
    kernel = layers.glorot(draw, [side, side, 3, 8]) / 255  # of bytes
    recurrent = layers.glorot(draw, [side, side, 2, 8])

    def convolve(x, w, stride):
        view = np.lib.stride_tricks.sliding_window_view(x, (side, side), (0, 1))
        return np.einsum("hwcij,ijcf->hwf", view[::stride, ::stride], w)

    def sigmoid(x):
        return np.clip(0.2 * x + 0.5, 0, 1)

    hidden = cell = np.zeros((64 // side, 64 // side, 2))
    for image in images:
        gates = convolve(image, kernel, side)
        gates += convolve(np.pad(hidden, (around, around, (0, 0))), recurrent, 1)
        write, forget, candidate, read = np.split(gates, 4, -1)
        cell = sigmoid(forget + 1) * cell + sigmoid(write) * np.tanh(candidate)
        hidden = sigmoid(read) * np.tanh(cell)
    expected = cell.ravel() / np.linalg.norm(cell)
    np.testing.assert_allclose(embed.cell_state(images), expected, atol=1e-5)


def test_one_graph_serves_episodes_of_all_lengths(episodes):
    embed = make()
    many = np.concatenate(episodes)[:300]
    for length in (1, 5, 16, 17, 127, 128, 129, 256, 300):
        embed(stored(many[:length]))
    assert embed._run_graph.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("options", [{"filters": 0}, {"kernel_size": 65}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="at least 1, and the kernel no larger"):
        make(**options)
