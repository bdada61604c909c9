"""Laws of one episode: its chunks in memory and its file."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.replay import episodes, layouts


def make_arrays(total, seed=0, shape=(4, 4, 3)):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 255, (total, *shape), dtype=np.uint8),
        "place": rng.normal(size=(total, 2)),
        "count": np.arange(total, dtype=np.int32),
        "action": np.eye(3, dtype=np.float32)[rng.integers(3, size=total)],
        "reward": rng.normal(size=total).astype(np.float32),
        "is_first": np.arange(total) == 0,
        "is_last": np.arange(total) == total - 1,
        "is_terminal": np.zeros(total, bool),
    }


def make_episode(total, index=7, task=1, extras=None, **kwargs):
    arrays = make_arrays(total, **kwargs)
    layout = layouts.Layout.of(arrays, batched=True)
    return episodes.from_arrays(arrays, layout, index=index, task=task, extras=extras)


def assert_same(left, right):
    assert set(left) == set(right)
    for key in left:
        assert left[key].dtype == right[key].dtype, key
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


@settings(max_examples=30)
@given(
    total=st.integers(1, 70),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64", "bool"]),
)
def test_packing_loses_nothing_whatever_the_shapes(total, shape, dtype):
    arrays = make_arrays(total)
    rng = np.random.default_rng(0)
    arrays["other"] = (rng.normal(size=(total, *shape)) * 50).astype(dtype)
    layout = layouts.Layout.of(arrays, batched=True)
    episode = episodes.from_arrays(arrays, layout, index=0, task=0)
    assert_same(episode.arrays(), arrays)
    assert (episode.total, episode.steps) == (total, total - 1)


def test_a_block_holds_its_own_transitions_only():
    episode = make_episode(2 * episodes.CHUNK + 3)
    counts = [episode.chunk(i)["count"].tolist() for i in range(3)]
    assert [len(count) for count in counts] == [episodes.CHUNK, episodes.CHUNK, 3]
    assert sum(counts, []) == list(range(episode.total))


def test_an_episode_takes_no_more_memory_than_it_says():
    arrays = make_arrays(400, shape=(32, 32, 3))
    arrays["image"][:] = 7
    layout = layouts.Layout.of(arrays, batched=True)
    tracemalloc.start()
    episode = episodes.from_arrays(arrays, layout, index=0, task=0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < episode.nbytes + 100 * len(episode.chunks) + 2000
    assert episode.nbytes < arrays["image"].nbytes / 50


def test_a_builder_gives_the_same_episode_as_whole_arrays():
    for total in (1, 15, 16, 17, 40):
        arrays = make_arrays(total)
        whole = make_episode(total)
        builder = episodes.Builder(whole.layout, task=1)
        for i in range(total):
            builder.append({key: value[i] for key, value in arrays.items()})
        built = builder.build(7)
        assert built.chunks == whole.chunks
        assert built.reward == whole.reward  # to the last bit: draws depend on it
        assert built.name == whole.name


def test_a_builder_copies_and_can_go_on_after_building():
    arrays = make_arrays(20)
    builder = episodes.Builder(layouts.Layout.of(arrays, batched=True), task=0)
    reused = {}
    for i in range(20):
        for key, value in arrays.items():
            reused[key] = reused.get(key, np.empty_like(value[i]))
            reused[key][...] = value[i]
        builder.append(reused)
        part = builder.build().arrays()
        assert_same(part, {key: value[: i + 1] for key, value in arrays.items()})


def test_log_keys_are_not_stored_and_python_numbers_become_arrays():
    transition = {key: value[0] for key, value in make_arrays(1).items()}
    transition |= {"reward": 1, "is_first": True, "log_note": "text"}
    layout = layouts.Layout.of(transition)
    builder = episodes.Builder(layout, task=0)
    builder.append(transition)
    arrays = builder.build().arrays()
    assert "log_note" not in arrays
    assert arrays["reward"].dtype == np.float32
    assert arrays["is_first"].dtype == bool


def test_a_transition_of_another_form_is_refused_naming_both():
    first = {key: value[0] for key, value in make_arrays(1).items()}
    for change in (
        {"image": np.zeros((4, 5, 3), np.uint8)},
        {"image": np.zeros((4, 4, 3), np.float32)},
        {"reward": np.zeros(2, np.float32)},
        {"unheard": np.zeros(2)},
        {"count": None},
    ):
        builder = episodes.Builder(layouts.Layout.of(first), task=0)
        second = {k: v for k, v in {**first, **change}.items() if v is not None}
        with pytest.raises(ValueError) as error:
            builder.append(second)
        for key, value in {**first, **second}.items():
            assert key in str(error.value)
            assert str(list(np.shape(value))) in str(error.value)
        assert builder.total == 0


def test_what_cannot_be_stored_is_refused_by_name():
    first = {key: value[0] for key, value in make_arrays(1).items()}
    for bad in ({"mission": "go"}, {"extra.x": 0.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            layouts.Layout.of(first | bad)
    with pytest.raises(ValueError, match="is_last"):
        layouts.Layout.of({k: v for k, v in first.items() if k != "is_last"})


@settings(derandomize=True)
@given(st.integers(0, 10**7), st.integers(0, 30), st.integers(0, 10**5))
def test_names_tell_index_task_and_steps(index, task, steps):
    episode = make_episode(1, index=index, task=task)
    object.__setattr__(episode, "total", steps + 1)
    assert episodes.parse_name(episode.name) == (index, task, steps)


def test_other_names_are_not_taken_for_episodes():
    for name in (
        *("a.npz", "1-task0-len3.npz", "000001-task0.npz"),
        *("0000001-task0-len0003.npz", "000001-task00-len0003.npz"),  # two of one name
        *(f"{10**18}-task0-len0003.npz", f"{'0' * 230}1-task0-len0003.npz"),
        f"000001-task0-len{10**12}.npz",
    ):
        assert episodes.parse_name(name) is None


def test_plain_numpy_opens_the_file_without_pickle(tmp_path):
    episode = make_episode(33, extras={"embedding": np.arange(3, dtype=np.float32)})
    episodes.save(episode, tmp_path)
    with np.load(tmp_path / "000007-task1-len0032.npz", allow_pickle=False) as file:
        content = dict(file)
    np.testing.assert_array_equal(content.pop("extra.embedding"), [0, 1, 2])
    assert_same(content, make_arrays(33))


def test_a_file_comes_back_as_the_same_episode(tmp_path):
    episode = make_episode(33, extras={"embedding": np.arange(3, dtype=np.float32)})
    episodes.save(episode, tmp_path)
    loaded = episodes.load(tmp_path / episode.name)
    assert (loaded.name, loaded.reward) == (episode.name, episode.reward)
    assert loaded.chunks == episode.chunks
    assert loaded.layout == episode.layout
    assert_same(loaded.extras, episode.extras)
    before = (tmp_path / episode.name).read_bytes()
    episodes.save(loaded, tmp_path)
    assert (tmp_path / episode.name).read_bytes() == before


def test_a_file_that_numpy_wrote_is_read_too(tmp_path):
    arrays = make_arrays(9)
    arrays["place"] = np.asfortranarray(arrays["place"])
    arrays["wide"] = np.zeros((9, 0), np.float32)
    np.savez(tmp_path / "000003-task2-len0008.npz", **arrays)
    episode = episodes.load(tmp_path / "000003-task2-len0008.npz")
    assert (episode.index, episode.task, episode.steps) == (3, 2, 8)
    assert_same(episode.arrays(), {k: arrays[k] for k in episode.layout.fields})


def test_a_write_that_fails_leaves_nothing_and_spares_the_old_file(
    tmp_path, monkeypatch
):
    old, new = make_episode(9), make_episode(9, seed=1)
    episodes.save(old, tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space"):
        episodes.save(new, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert episodes.load(tmp_path / old.name).reward == old.reward


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def damaged(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)


def foreign(path):
    np.savez(path, weights=np.zeros(3))


def pickled(path):
    np.savez(path, **make_arrays(9), note=np.array([{}] * 9, object))


def too_short(path):
    np.savez(path, **make_arrays(8))


def scalar(path):
    np.savez(path, **make_arrays(9), note=3.0)


def not_an_archive(path):
    path.write_text("not an archive")


def bare_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(9))


HARMS = [truncated, damaged, foreign, pickled, too_short, scalar, bare_array]


def test_a_bad_file_is_unreadable_and_never_half_an_episode(tmp_path):
    episode = make_episode(9)
    for harm in (*HARMS, not_an_archive):
        episodes.save(episode, tmp_path)
        harm(tmp_path / episode.name)
        with pytest.raises(episodes.Unreadable):
            episodes.load(tmp_path / episode.name)


PROMISES = {  # arrays of zeros that are small on the disk
    "more transitions than the name": {"image": (10**8, 4)},
    "a key of its own": {"weights": (9, 10**7)},
    "another shape": {"image": (9, 5000, 5000)},
    "large extras": {"extra.embedding": (10**8,)},
}


@pytest.mark.slow
@pytest.mark.parametrize("promise", PROMISES)
def test_what_a_file_promises_is_checked_before_it_is_decompressed(tmp_path, promise):
    episode = make_episode(9)
    path = tmp_path / episode.name
    episodes.save(episode, tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    for key, shape in PROMISES[promise].items():
        arrays[key] = np.broadcast_to(np.uint8(0), shape)
    np.savez_compressed(path, **arrays)
    del arrays

    def check(found):
        layouts.share(found, episode.layout, "It")

    tracemalloc.start()
    with pytest.raises((episodes.Unreadable, layouts.UnfitError)):
        episodes.load(path, check)
    _, taken = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 10**6


def test_a_header_that_promises_more_than_the_file_has_is_no_episode(tmp_path):
    episode = make_episode(9)
    path = tmp_path / episode.name
    for shape in ((9, 10**12), (9, 10**30), (9, -1), (2**62, 2**62)):
        head = io.BytesIO()
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(head, header)
        episodes.save(episode, tmp_path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("other.npy", head.getvalue() + bytes(90))
        with pytest.raises(episodes.Unreadable):
            episodes.load(path)


def test_more_than_the_memory_holds_is_refused_and_not_taken_for_damaged(
    tmp_path, monkeypatch
):
    episode = make_episode(9)
    episodes.save(episode, tmp_path)
    monkeypatch.setattr(episodes, "_LARGE", 100)
    monkeypatch.setattr(episodes.footprint, "available_memory", lambda: 500)
    with pytest.raises(layouts.UnfitError, match="memory are left"):
        episodes.load(tmp_path / episode.name)


def test_extras_that_could_not_be_read_again_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(episodes, "MOST_EXTRAS", 100)
    episodes.save(make_episode(9, extras={"a": np.zeros(100, np.uint8)}), tmp_path)
    with pytest.raises(ValueError, match="beside the transitions has 101 bytes"):
        episodes.save(make_episode(9, extras={"a": np.zeros(101, np.uint8)}), tmp_path)


def test_a_file_that_may_not_be_read_is_not_taken_for_a_bad_one(tmp_path, monkeypatch):
    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    episode = make_episode(9)
    episodes.save(episode, tmp_path)
    monkeypatch.setattr(zipfile, "ZipFile", forbidden)
    with pytest.raises(PermissionError):
        episodes.load(tmp_path / episode.name)
