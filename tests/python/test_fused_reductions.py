"""A reduction at the end of a chain is one step with it, and gives the same bits as two steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import rill.core as mx
from support import to_numpy

SHAPES = [(5,), (40_000,), (3, 17), (64, 16), (300, 100), (3, 5000), (7, 100_000), (4, 1, 33, 5)]
SHAPES += [(2, 3, 0), (0, 40), ()]
DTYPES = [mx.float32, mx.float16, mx.bfloat16, mx.float64, mx.int8, mx.int32, mx.bool_]
REDUCTIONS = [mx.sum, mx.max, mx.all]


def bits(x: mx.array) -> bytes:
    return np.array(x.view(mx.uint8) if x.ndim else x.reshape(1).view(mx.uint8)).tobytes()


def chain(x: mx.array) -> mx.array:
    return mx.where(x > 0, x * x, mx.abs(x) + x)


def axes_of(ndim: int):
    yield None
    for count in range(1, ndim + 1):
        yield from itertools.combinations(range(ndim), count)


@pytest.mark.parametrize("dtype", DTYPES[:-1], ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (3, 40_000), (70_001,)], ids=str)
def test_sums_of_squares(shape, dtype):
    x = (mx.random.normal(shape, key=mx.random.key(4)) * 3).astype(dtype)
    stored = mx.square(x)
    mx.eval(x, stored)
    for axes in axes_of(len(shape)):
        for y, squares in ((x, stored), (x.T, stored.T)):
            assert bits(mx.sum(mx.square(y), axes)) == bits(mx.sum(squares, axes)), axes
    if len(shape) == 2:
        assert bits(mx.sum(mx.square(x[:, ::2]), 1)) == bits(
            mx.sum(mx.contiguous(stored[:, ::2]), 1)
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_are_those_of_two_steps(shape, dtype):
    values = mx.random.normal(shape, key=mx.random.key(3)) * 3
    x = values.astype(dtype)
    mx.eval(x)
    for axes, reduce in itertools.product(axes_of(len(shape)), REDUCTIONS):
        empty = any(shape[axis] == 0 for axis in (axes or range(len(shape))))
        if reduce is mx.max and empty:
            continue
        whole = chain(x)
        mx.eval(whole)
        for keepdims in (False, True):
            expected = reduce(whole, axis=axes, keepdims=keepdims)
            fused = reduce(chain(x), axis=axes, keepdims=keepdims)
            assert fused.shape == expected.shape and fused.dtype == expected.dtype
            assert bits(fused) == bits(expected), (axes, reduce.__name__)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_operands_that_lie_otherwise(axis):
    x = mx.random.normal((300, 200), key=mx.random.key(0))
    for operand in (x.T, x[::-1, ::3], mx.broadcast_to(x[:, :1], x.shape), x[:, 1:]):
        whole = chain(operand)
        mx.eval(whole)
        assert bits(mx.sum(chain(operand), axis=axis)) == bits(mx.sum(whole, axis=axis))


def test_what_is_read_elsewhere_is_stored_in_the_same_pass():
    x = mx.random.normal((64, 1000), key=mx.random.key(1))
    mx.eval(x)
    y = mx.exp(x)
    total = mx.sum(y, axis=1)
    mx.eval(total, y)
    np.testing.assert_allclose(np.array(total), np.exp(np.array(x)).sum(1), rtol=1e-5)
    np.testing.assert_allclose(np.array(y), np.exp(np.array(x)), rtol=1e-6)
    assert bits(mx.sum(y, axis=1)) == bits(total)


def test_an_operand_that_nobody_else_holds():
    x = mx.random.normal((50_000,), key=mx.random.key(2)) + 0
    expected = float(np.array(mx.random.normal((50_000,), key=mx.random.key(2))).astype("f8").sum())
    mx.eval(x)
    y = x * 2
    del x
    assert abs(mx.sum(y).item() - 2 * expected) < 1e-2


def test_gradients_of_a_loss():
    x = mx.random.normal((20, 30), key=mx.random.key(4))
    gradient = mx.grad(lambda a: mx.mean(mx.square(mx.tanh(a))))(x)
    t = np.tanh(np.array(x))
    np.testing.assert_allclose(np.array(gradient), 2 * t * (1 - t**2) / 600, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(3,), (20, 5), (5, 4000)], ids=str)
def test_what_is_stored_and_reduced_is_one_register(shape):
    x = mx.random.normal(shape, key=mx.random.key(5))
    y = mx.tanh(x * 2)
    total = mx.sum(y, axis=0)
    mx.eval(y, total)
    np.testing.assert_allclose(np.array(y), np.tanh(np.array(x) * 2), rtol=1e-6)
    assert bits(total) == bits(mx.sum(y, axis=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4111, 2003), (8_234_567,), (2, 4_100_001)])
def test_results_that_go_around_the_caches(shape, dtype):
    """Large results are written by the chains that compute them, also where rows end anywhere."""
    dtype = getattr(mx, dtype)
    x = mx.random.normal(shape, key=mx.random.key(1)).astype(dtype)
    y = mx.random.normal(shape, key=mx.random.key(2)).astype(dtype)
    mx.eval(x, y)
    a, b = to_numpy(x), to_numpy(y)
    product = x * y + x
    total, ratio = product.sum(-1), mx.sqrt(mx.square(product)) / y
    mx.eval(product, total, ratio, single := x + y, shifted := x[1:] + x[:-1])
    expected = a * b + a
    np.testing.assert_array_equal(to_numpy(product), expected)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(to_numpy(ratio), np.abs(expected) / b)
    np.testing.assert_array_equal(to_numpy(single), a + b)
    np.testing.assert_array_equal(to_numpy(shifted), a[1:] + a[:-1])
    np.testing.assert_array_equal(to_numpy(total), to_numpy(mx.array(product).sum(-1)))
