"""What `benchmarks.turns.operations` counts is what a pencil counts."""

import pytest
import tensorflow as tf

from benchmarks.turns import operations


def test_a_product_and_its_two_gradients_are_three_products():
    x, w = tf.ones([5, 7]), tf.Variable(tf.ones([7, 3]))
    with operations.counted() as count, tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.matmul(x, w))
        tape.gradient(y, [x, w])
    assert count.total == 3 * (2 * 5 * 7 * 3)


def test_a_convolution_and_its_two_gradients_are_three():
    x, w = tf.ones([2, 9, 9, 3]), tf.Variable(tf.ones([4, 4, 3, 5]))
    with operations.counted() as count, tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.nn.conv2d(x, w, 2, "VALID"))
        tape.gradient(y, [x, w])
    assert count.total == 3 * (2 * (2 * 3 * 3 * 5) * (4 * 4 * 3))


@pytest.mark.parametrize("turned", [False, True])
def test_a_product_of_many_matrices_counts_each(turned):
    x = tf.ones([4, 7, 5] if turned else [4, 5, 7])
    with operations.counted() as count:
        tf.linalg.matmul(x, tf.ones([4, 7, 3]), transpose_a=turned)
    assert count.total == 4 * (2 * 5 * 7 * 3)


def test_loops_count_each_of_their_steps():
    @tf.function
    def power(x):
        return tf.while_loop(
            lambda i, _: i < 6, lambda i, y: (i + 1, tf.matmul(y, x)), (0, x)
        )

    with operations.counted() as count:
        power(tf.ones([3, 3]))
    assert count.total == 6 * (2 * 3 * 3 * 3)
