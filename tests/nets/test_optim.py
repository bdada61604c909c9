"""Laws of gradient steps, against NumPy twins of TensorFlow's formulas."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from common.nets import optim

SETTINGS = {"opt": "adam", "lr": 0.1, "eps": 1e-2, "clip": 0.0, "wd": 0.0}
SHAPES = {"kernel": (2, 3), "bias": (3,)}
STEPS = 5


def rng(seed=0):
    return np.random.default_rng(seed)


def weights():
    """Fresh variables, always with the same values."""
    values = rng(1)
    return {
        k: tf.Variable(values.normal(size=s), dtype=tf.float32)
        for k, s in SHAPES.items()
    }


def gradients(steps=STEPS, scale=1.0):
    source = rng(2)
    return [
        [np.float32(scale * source.normal(size=s)) for s in SHAPES.values()]
        for _ in range(steps)
    ]


def make(variables, dtype=tf.float32, **settings):
    settings = {**SETTINGS, **settings, "loss_scale": optim.LossScale(dtype)}
    return optim.Optimizer("model", variables, **settings)


def apply(opt, grads):
    return opt.apply(tf.constant(1.0), [tf.convert_to_tensor(g) for g in grads])


def values(variables):
    return [weight.numpy() for weight in variables.values()]


# Each twin returns the change of a weight at step t from its gradient and its memory.


def adam(g, t, memory, look_ahead=False):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    m = 0.9 * memory["m"] + 0.1 * g if look_ahead else memory["m"]
    return -rate * m / (np.sqrt(memory["v"]) + 1e-2)


def nadam(g, t, memory):
    return adam(g, t, memory, look_ahead=True)


def adamax(g, t, memory):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = np.maximum(0.999 * memory.get("v", 0), np.abs(g))
    return -0.1 / (1 - 0.9**t) * memory["m"] / (memory["v"] + 1e-2)


def sgd(g, t, memory):
    return -0.1 * g


def momentum(g, t, memory):
    memory["m"] = 0.9 * memory.get("m", 0) + g
    return -0.1 * memory["m"]


TWINS = {f.__name__: f for f in (adam, nadam, adamax, sgd, momentum)}


def slow_steps(rule, clip=0.0, wd=0.0):
    """Weights after all steps: clip by the global norm, decay, then change."""
    now = [w.astype(np.float64) for w in values(weights())]
    memories = [{} for _ in now]
    for t, grads in enumerate(gradients(), 1):
        norm = np.sqrt(sum((g**2).sum() for g in grads))
        factor = min(1, clip / norm) if clip else 1
        for i, grad in enumerate(grads):
            now[i] = now[i] * (1 - wd) + rule(grad * factor, t, memories[i])
    return now


def fast_steps(**settings):
    variables = weights()
    opt = make(variables, **settings)
    for grads in gradients():
        apply(opt, grads)
    return values(variables)


def assert_close(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def assert_equal(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("extra", [{}, {"clip": 1.5, "wd": 0.1}], ids=["plain", "full"])
@pytest.mark.parametrize("name", TWINS)
def test_every_optimiser_takes_the_steps_of_its_formula(name, extra):
    assert_close(fast_steps(opt=name, **extra), slow_steps(TWINS[name], **extra))


def test_gradients_are_scaled_down_to_the_clip_together_and_never_up():
    for clip, factor in ((0.5, 0.1), (5.0, 1.0), (50.0, 1.0), (0.0, 1.0)):
        variables = weights()
        before = values(variables)
        grads = [np.zeros([2, 3], np.float32), np.array([0, 3, 4], np.float32)]
        metrics = apply(make(variables, opt="sgd", clip=clip), grads)
        expected = [w - 0.1 * factor * g for w, g in zip(before, grads, strict=True)]
        assert_close(values(variables), expected)
        np.testing.assert_allclose(metrics["model_grad_norm"], 5.0, rtol=1e-6)


def test_weight_decay_is_not_scaled_by_the_learning_rate():
    variables = weights()
    before = values(variables)
    apply(make(variables, lr=0.0, wd=0.25), gradients(1)[0])
    assert_close(values(variables), [0.75 * w for w in before])


def test_a_missing_gradient_counts_as_zero():
    one, two = weights(), weights()
    grad = gradients(1)[0][0]
    make(one, wd=0.1).apply(tf.constant(1.0), [tf.constant(grad), None])
    apply(make(two, wd=0.1), [grad, np.zeros(3, np.float32)])
    assert_equal(values(one), values(two))


def test_the_loss_is_reported_under_the_name_of_the_optimiser():
    metrics = apply(make(weights()), gradients(1)[0])
    assert set(metrics) == {"model_loss", "model_grad_norm"}
    assert float(metrics["model_loss"]) == 1.0


def test_an_unknown_optimiser_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="model_opt.opt 'adamw'.*adam.*momentum.*sgd"):
        make(weights(), opt="adamw")


def test_after_a_reset_it_steps_as_a_new_optimiser():
    one, two = weights(), weights()
    old, new = make(one), make(two)
    for grads in gradients(3):
        apply(old, grads)
    old.reset()
    for name, weight in one.items():
        weight.assign(two[name])
    for grads in gradients(3, scale=2.0):
        apply(old, grads)
        apply(new, grads)
    assert_equal(values(one), values(two))


def test_an_optimiser_lists_a_moment_for_each_weight_and_its_steps():
    opt = make(weights())
    names = {f"slot{i}/{key}" for i in (0, 1) for key in SHAPES}
    assert set(opt.named_weights()) == {"steps", *names}
    apply(opt, gradients(1)[0])
    assert int(opt.named_weights()["steps"]) == 1


# The pull towards an anchor.


def pulled_steps(strength, clip):
    """Weights after steps of `sgd` that the squared distance to the first pulls at."""
    first = [w.astype(np.float64) for w in values(weights())]
    now, losses = [w.copy() for w in first], []
    for grads in gradients():
        moved = [w - a for w, a in zip(now, first, strict=True)]
        losses.append(1.0 + strength * sum((x**2).sum() for x in moved))
        grads = [g + 2 * strength * x for g, x in zip(grads, moved, strict=True)]
        factor = min(1, clip / np.sqrt(sum((g**2).sum() for g in grads)))
        now = [w - 0.1 * factor * g for w, g in zip(now, grads, strict=True)]
    return now, losses


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16])
def test_a_pull_adds_the_squared_distance_to_the_anchor_to_the_loss(dtype):
    variables, losses = weights(), []
    opt = make(variables, opt="sgd", clip=2.5, l2=1.5, dtype=dtype)
    opt.anchor()
    for grads in gradients():
        metrics = apply(opt, scaled(grads, opt))
        losses.append(float(metrics["model_loss"]))
        np.testing.assert_allclose(metrics["model_l2"], losses[-1] - 1, atol=1e-6)
    expected, expected_losses = pulled_steps(1.5, clip=2.5)
    assert_close(values(variables), expected)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert losses[0] == 1 < losses[1]


def test_before_there_is_an_anchor_nothing_pulls():
    one, two = weights(), weights()
    plain, pulling = make(one), make(two, l2=100.0)
    for grads in gradients():
        apply(plain, grads)
        assert float(apply(pulling, grads)["model_l2"]) == 0
    assert_equal(values(one), values(two))


def test_a_new_anchor_takes_effect_in_the_same_graph():
    variables = weights()
    opt = make(variables, opt="sgd", l2=1.0)
    step = tf.function(lambda grads: apply(opt, grads), autograph=False)
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES.values()]
    distances = []
    for value in (1.0, 2.0):
        for weight in variables.values():
            weight.assign(tf.fill(weight.shape, value))
        opt.anchor()
        for weight in variables.values():
            weight.assign_add(tf.ones_like(weight))
        distances.append(float(step([tf.constant(z) for z in zeros])["model_l2"]))
        assert_close(values(variables), [z + value + 0.8 for z in zeros])
    assert distances == [9, 9]  # nine weights, each moved by one
    assert step.experimental_get_tracing_count() == 1


def test_without_a_pull_no_anchor_is_kept():
    opt = make(weights())
    opt.anchor()
    assert not any("anchor" in name for name in opt.named_weights())
    pulling = set(make(weights(), l2=0.1).named_weights())
    assert {"l2/on", *(f"l2/anchor/{key}" for key in SHAPES)} < pulling


def test_a_reset_keeps_the_anchor():
    opt = make(weights(), l2=0.1)
    opt.anchor()
    apply(opt, gradients(1)[0])
    before = {k: v.numpy() for k, v in opt.named_weights().items()}
    opt.reset()
    for name, value in opt.named_weights().items():
        expected = before[name] if name.startswith("l2/") else np.zeros(value.shape)
        np.testing.assert_array_equal(value, expected, err_msg=name)


def test_a_pull_away_from_the_anchor_is_refused():
    with pytest.raises(ValueError, match="l2_scale is -0.1; it must be 0"):
        make(weights(), l2=-0.1)


# Loss scaling in float16.


def scaled(grads, opt):
    """Gradients of the scaled loss."""
    return [g * float(opt.scaled(1.0)) for g in grads]


def scale_of(opt):
    return float(opt.named_weights()["scale"])


def test_without_loss_scaling_the_loss_stays_as_it_is():
    assert make(weights()).scaled(3.0) == 3.0


def test_a_scaled_loss_takes_the_same_steps():
    one, two = weights(), weights()
    plain, scaling = make(one, clip=1.5), make(two, clip=1.5, dtype=tf.float16)
    for grads in gradients():
        norm = apply(plain, grads)["model_grad_norm"]
        metrics = apply(scaling, scaled(grads, scaling))
        np.testing.assert_allclose(metrics["model_grad_norm"], norm, rtol=1e-5)
        assert float(metrics["model_loss_scale"]) == 2.0**15
    assert_close(values(one), values(two))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_infinite_gradient_leaves_out_the_step_and_halves_the_scale(bad, graph):
    variables = weights()
    opt = make(variables, clip=1.0, wd=0.1, dtype=tf.float16)
    step = functools.partial(apply, opt)
    if graph:
        step = tf.function(step, autograph=False)
    good = gradients(1)[0]
    step(scaled(good, opt))
    state = {**variables, **opt.named_weights()}
    before = {key: value.numpy() for key, value in state.items()}
    grads = [good[0], np.array([0, bad, 0], np.float32)]
    metrics = step(grads)
    assert not np.isfinite(metrics["model_grad_norm"])
    expected = {**before, "scale": before["scale"] / 2, "good": 0}
    for key, value in state.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    step(scaled(good, opt))  # and it goes on from there
    assert all((variables[key] != before[key]).numpy().all() for key in variables)


def test_the_scale_doubles_after_as_many_good_steps_as_patience_asks(monkeypatch):
    monkeypatch.setattr(optim, "_SCALE_PATIENCE", 3)
    opt = make(weights(), dtype=tf.float16)
    good, scales = gradients(1)[0], []
    for step in range(9):
        grads = [g * np.nan for g in good] if step == 1 else scaled(good, opt)
        apply(opt, grads)
        scales.append(scale_of(opt) / 2.0**15)
    # A bad step starts the count again.
    assert scales == [1, 0.5, 0.5, 0.5, 1, 1, 1, 2, 2]


def test_the_scale_stays_between_one_and_its_maximum(monkeypatch):
    monkeypatch.setattr(optim, "_SCALE_PATIENCE", 1)
    opt = make(weights(), dtype=tf.float16)
    good = gradients(1)[0]
    opt.named_weights()["scale"].assign(1.0)
    apply(opt, [g * np.inf for g in good])
    assert scale_of(opt) == 1.0
    opt.named_weights()["scale"].assign(2.0**24)
    apply(opt, scaled(good, opt))
    assert scale_of(opt) == 2.0**24


def test_a_reset_also_restores_the_scale():
    opt = make(weights(), dtype=tf.float16)
    apply(opt, [g * np.inf for g in gradients(1)[0]])
    opt.reset()
    assert scale_of(opt) == 2.0**15
