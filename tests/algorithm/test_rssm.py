"""Laws of the recurrent state-space model, for each kind of latent."""

import numpy as np
import pytest
import tensorflow as tf

from dreamerv2.algorithm import rssm

B, T, E, A = 3, 5, 6, 2
SIZES = {
    "ensemble": 1,
    "hidden": 7,
    "deter": 8,
    "stoch": 3,
    "discrete": 4,
    "act": "elu",
    "norm": "layer",
    "std_act": "sigmoid2",
    "min_std": 0.1,
}
KINDS = {
    "discrete": {},
    "Gaussian": {"discrete": 0},
    "ensemble": {"ensemble": 3},
}
SEED = tf.constant([3, 4])


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def make(**settings):
    model = rssm.RSSM(np.random.default_rng(0), E, A, **{**SIZES, **settings})
    for i, weight in enumerate(model.named_weights().values()):
        values = np.random.default_rng(i).normal(size=weight.shape)
        weight.assign(
            weight + 0.5 * values
        )  # biases too, and what is drawn is not flat
    return model


def inputs(seed=0, is_first=()):
    """Embeddings, actions and flags [B, T, ...]; pairs (row, time) begin episodes."""
    rng = np.random.default_rng(seed)
    embed, action = rng.normal(size=(B, T, E)), rng.normal(size=(B, T, A))
    flags = np.zeros((B, T), bool)
    for pair in is_first:
        flags[pair] = True
    return [tf.constant(x, tf.float32) for x in (embed, action)] + [tf.constant(flags)]


def start(model, seed=5):
    """Some state that is not zero."""
    rng = np.random.default_rng(seed)
    zero = model.initial(B, tf.float32)
    return {
        k: tf.constant(rng.normal(size=v.shape), tf.float32) for k, v in zero.items()
    }


def assert_states(one, two, rows=slice(None), **tolerance):
    assert set(one) == set(two)
    for key in one:
        a, b = one[key].numpy()[rows], two[key].numpy()[rows]
        np.testing.assert_allclose(a, b, err_msg=key, **{"rtol": 1e-4, **tolerance})


def at(states, t):
    return {key: value[:, t] for key, value in states.items()}


def stack(states):
    """[B, ...] by time -> [B, T, ...]."""
    return tf.nest.map_structure(lambda *xs: tf.stack(xs, 1), *states)


@pytest.mark.parametrize("seed", [None, SEED], ids=["modes", "samples"])
def test_observing_a_sequence_is_observing_its_steps(kind, seed, monkeypatch):
    model = make(**kind)
    embed, action, is_first = inputs(is_first=[(0, 0), (1, 2)])
    post, prior = model.observe(embed, action, is_first, start(model), seed)
    draws = model.draws(T, B, seed)
    states, priors, state = [], [], start(model)
    for t in range(T):
        draw = rssm.Draw(draws.noise[t : t + 1], draws.member[t : t + 1])
        monkeypatch.setattr(model, "draws", lambda *_, draw=draw: draw)
        keep = 1 - tf.cast(is_first[:, t], tf.float32)
        masked = {k: tf.einsum("b,b...->b...", keep, v) for k, v in state.items()}
        now = rssm.Draw(draw.noise[0], draw.member[0])
        priors.append(model.img_step(masked, action[:, t] * keep[:, None], now))
        state = model.obs_step(state, action[:, t], embed[:, t], is_first[:, t], seed)
        states.append(state)
    assert_states(post, stack(states), atol=1e-5)
    priors = stack(priors)
    del priors["stoch"]  # nobody needs it
    assert_states(prior, priors, atol=1e-5)


def test_what_comes_before_the_first_step_does_not_matter(kind):
    model = make(**kind)
    first = [(1, 2)]
    embed, action, is_first = inputs(is_first=first)
    before = np.arange(T) < 2
    other_embed = tf.where(before[:, None], embed + 1, embed)
    # The action that is stored with a reset led nowhere either.
    other_action = tf.where((np.arange(T) <= 2)[:, None], action + 1, action)
    one = model.observe(embed, action, is_first, start(model), SEED)
    two = model.observe(other_embed, other_action, is_first, start(model, 6), SEED)
    for a, b in zip(one, two, strict=True):
        assert_states(a, b, rows=np.s_[1, 2:], rtol=0)
        for rows in (np.s_[0], np.s_[2], np.s_[1, :2]):  # elsewhere it does matter
            assert (a["deter"].numpy()[rows] != b["deter"].numpy()[rows]).any(-1).all()


def test_a_first_step_starts_from_the_zero_state_without_an_action(kind):
    model = make(**kind)
    embed, action, _ = inputs()
    yes, no = tf.fill([B], True), tf.fill([B], False)
    one = model.obs_step(start(model), action[:, 0], embed[:, 0], yes, SEED)
    zero, still = model.initial(B, tf.float32), tf.zeros([B, A])
    assert_states(one, model.obs_step(zero, still, embed[:, 0], no, SEED), rtol=0)


def test_imagining_a_sequence_is_predicting_its_steps(kind):
    model = make(**kind)
    _, action, _ = inputs()
    ahead = model.imagine(action, start(model), SEED)
    draws, state, states = model.draws(T, B, SEED), start(model), []
    for t in range(T):
        draw = rssm.Draw(draws.noise[t], draws.member[t])
        state = model.img_step(state, action[:, t], draw)
        states.append(state)
    assert_states(ahead, stack(states), atol=1e-5)


def test_an_unrolled_loop_gives_the_same_states_and_gradients(kind):
    results = []
    for unroll in (False, True):
        model = make(**kind, unroll=unroll)
        embed, action, is_first = inputs(is_first=[(0, 1)])
        with tf.GradientTape() as tape:
            post, prior = model.observe(embed, action, is_first, start(model), SEED)
            ahead = model.imagine(action, at(post, -1), SEED)
            total = sum(tf.reduce_sum(s[k] ** 2) for s in (post, ahead) for k in s)
            total += sum(tf.reduce_sum(v**2) for v in prior.values())
        grads = tape.gradient(total, model.named_weights())
        results.append((post, prior, ahead, grads))
    for one, two in zip(*results, strict=True):
        assert_states(one, two, rtol=1e-3, atol=1e-3)


def test_a_seed_fixes_every_sample(kind):
    model = make(**kind)
    arguments = (*inputs(), start(model))
    one, two = model.observe(*arguments, SEED), model.observe(*arguments, SEED)
    for a, b in zip(one, two, strict=True):
        assert_states(a, b, rtol=0)
    other, _ = model.observe(*arguments, SEED + 1)
    assert (one[0]["stoch"] != other["stoch"]).numpy().any()


def test_a_sample_belongs_to_the_distribution_beside_it(kind):
    model = make(**kind)
    noise = model.draws(T, B, SEED).noise
    assert (noise[0] != noise[1]).numpy().any()
    post, _ = model.observe(*inputs(), start(model), SEED)
    ahead = model.imagine(inputs()[1], start(model), SEED)
    for states in (post, ahead):
        sample = model.dist(states).sample(tf.stack(tf.unstack(noise), 1))
        np.testing.assert_allclose(states["stoch"], sample, atol=1e-5)


def test_without_a_seed_every_latent_is_its_mode(kind):
    model = make(**kind)
    post, _ = model.observe(*inputs(), start(model), None)
    ahead = model.imagine(inputs()[1], start(model), None)
    for states in (post, ahead):
        np.testing.assert_allclose(
            states["stoch"], model.dist(states).mode(), atol=1e-6
        )


def test_a_feature_is_the_latent_beside_the_deterministic_state(kind):
    model = make(**kind)
    post, _ = model.observe(*inputs(), start(model), SEED)
    feat, flat = model.feat(post), model.flat_stoch(post)
    assert feat.shape == (B, T, model.feat_size)
    assert flat.shape == (B, T, model.stoch_size)
    np.testing.assert_array_equal(feat[..., : model.stoch_size], flat)
    np.testing.assert_array_equal(feat[..., model.stoch_size :], post["deter"])
    np.testing.assert_array_equal(flat, tf.reshape(post["stoch"], flat.shape))


def members_by_logit(model):
    """Lets prior k predict the logits k, whatever the state."""
    for name, weight in model.named_weights().items():
        if name.startswith("img_dist"):
            member = int(name[len("img_dist_")])
            weight.assign(weight * 0 + (member if name.endswith("bias") else 0))


def test_every_step_uses_the_member_of_the_ensemble_that_was_drawn():
    model = make(ensemble=3)
    members_by_logit(model)
    draws = model.draws(T, B, SEED)
    assert len(set(draws.member.numpy())) > 1
    expected = np.broadcast_to(draws.member[None, :, None, None], (B, T, 3, 4))
    _, prior = model.observe(*inputs(), start(model), SEED)
    np.testing.assert_array_equal(prior["logit"], expected)
    ahead = model.imagine(inputs()[1], start(model), SEED)
    np.testing.assert_array_equal(ahead["logit"], expected)


def test_every_member_of_the_ensemble_is_drawn_alike():
    members = make(ensemble=3).draws(3000, 1, SEED).member
    np.testing.assert_allclose(np.bincount(members) / 3000, 1 / 3, atol=0.03)


@pytest.mark.parametrize(
    "name, at_zero", [("softplus", np.log(2)), ("sigmoid", 0.5), ("sigmoid2", 1.0)]
)
def test_deviations_are_activated_above_their_minimum(name, at_zero):
    model = make(discrete=0, std_act=name, min_std=0.25)
    for key, level in (("zero", 0.0), ("low", -100.0)):
        for part in ("obs_dist", "img_dist_0"):
            model.named_weights()[f"{part}/kernel"].assign(tf.zeros([7, 6]))
            model.named_weights()[f"{part}/bias"].assign(tf.fill([6], level))
        post, prior = model.observe(*inputs(), start(model), None)
        expected = 0.25 + (at_zero if key == "zero" else 0)
        np.testing.assert_allclose(post["std"], np.full((B, T, 3), expected), rtol=1e-6)
        np.testing.assert_array_equal(post["std"], prior["std"])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_states_are_in_half_precision_and_distributions_in_single(kind, dtype):
    model = make(**kind)
    embed, action, is_first = inputs()
    embed, zero = tf.cast(embed, dtype), model.initial(B, dtype)
    post, prior = model.observe(embed, action, is_first, zero, SEED)
    ahead = model.imagine(action, at(post, -1), SEED)
    for states in (zero, post, ahead):
        assert states["deter"].dtype == states["stoch"].dtype == dtype
    for states in (zero, post, prior, ahead):
        stats = set(states) - {"deter", "stoch"}
        assert stats == ({"logit"} if "logit" in zero else {"mean", "std"})
        assert {states[key].dtype for key in stats} == {tf.float32}
