"""cond, while_loop and scan within vmap, compile and checkpoint."""

import numpy as np
import pytest
from support import assert_near, mx, rill_only, to_numpy

pytestmark = rill_only


def normal(*shape, seed=0):
    return mx.random.normal(shape, key=mx.random.key(seed))


def test_vmap_of_cond():
    x, flags = mx.array([1.0, -2.0, 3.0]), mx.array([True, False, True])

    def f(flag, x):
        return mx.cond(flag, lambda x: x * 10, lambda x: x - 1, x)

    assert mx.vmap(f)(flags, x).tolist() == [10, -3, 30]
    assert mx.vmap(f, in_axes=(None, 0))(mx.array(False), x).tolist() == [0, -3, 2]
    assert mx.vmap(f, in_axes=(0, None))(flags, mx.array(5.0)).tolist() == [50, 4, 50]
    grad = mx.grad(lambda x: mx.vmap(f)(flags, x).sum())
    assert grad(x).tolist() == [10, 1, 10]


def test_vmap_of_while():
    def f(x, limit):
        return mx.while_loop(lambda s: s[0] < limit, lambda s: (s[0] * 2, s[1] + 1), (x, 0))

    x, limits = mx.array([1, 3, 500]), mx.array([100, 2, 501])
    value, count = mx.vmap(f)(x, limits)
    assert value.tolist() == [128, 3, 1000] and count.tolist() == [7, 0, 1]
    value, count = mx.vmap(f, in_axes=(None, 0))(mx.array(1), limits)
    assert value.tolist() == [128, 2, 512] and count.tolist() == [7, 1, 9]


@pytest.mark.parametrize("reverse", [False, True])
def test_vmap_of_scan(reverse):
    w = normal(3, 3)

    def f(init, xs, w):
        def step(c, x):
            return mx.tanh(c @ w + x), c.sum()

        return mx.scan(step, init, xs, reverse=reverse)

    inits, batch = normal(4, 3, seed=1), normal(4, 5, 3, seed=2)
    for axes in ((0, 0, None), (None, 0, None), (0, None, None)):
        args = [inits if axes[0] == 0 else inits[0], batch if axes[1] == 0 else batch[0], w]
        carry, ys = mx.vmap(f, in_axes=axes)(*args)
        assert carry.shape == (4, 3) and ys.shape == (4, 5)
        for i in range(4):
            one = f(*(a[i] if axis == 0 else a for a, axis in zip(args, axes)))
            assert_near(carry[i], to_numpy(one[0]))
            assert_near(ys[i], to_numpy(one[1]))

    def loss(init, xs, w):
        carry, ys = f(init, xs, w)
        return carry.sum() + ys.sum()

    many = mx.vmap(mx.grad(loss, argnums=(0, 1, 2)), in_axes=(0, 0, None))(inits, batch, w)
    for i in range(4):
        for a, b in zip(many, mx.grad(loss, argnums=(0, 1, 2))(inits[i], batch[i], w)):
            assert_near(a[i], to_numpy(b), tolerance=1e-4)


def test_inside_compile():
    w, xs = normal(3, 3), normal(6, 3, seed=1)

    def f(w, xs):
        carry, ys = mx.scan(lambda c, x: ((c := mx.sin(c @ w + x)), c), mx.ones(3), xs)
        return mx.cond(carry[0] > 0, lambda: carry.sum(), lambda: ys.sum() * 2)

    compiled = mx.compile(f)
    gradient = mx.compile(mx.grad(f, argnums=(0, 1)))
    for _ in range(3):
        np.testing.assert_array_equal(to_numpy(compiled(w, xs)), to_numpy(f(w, xs)))
        for a, b in zip(gradient(w, xs), mx.grad(f, argnums=(0, 1))(w, xs)):
            assert_near(a, to_numpy(b))
    assert_near(mx.grad(compiled)(w, xs), to_numpy(mx.grad(f)(w, xs)))
    inner = mx.compile(lambda c, x: (c + x, c * x))
    carry, ys = mx.scan(inner, mx.array(0.0), mx.ones(5))
    assert carry.item() == 5 and ys.tolist() == [0, 1, 2, 3, 4]


def test_checkpoint_inside_scan():
    w, xs = normal(3, 3), normal(6, 3, seed=1)

    def loss(step):
        return lambda w: mx.scan(lambda c, x: step(w, c, x), mx.ones(3), xs)[0].sum()

    def step(w, c, x):
        return mx.tanh(c @ w + x), None

    def checkpointed(w, c, x):
        return mx.checkpoint(lambda *a: step(*a)[0])(w, c, x), None

    assert_near(mx.grad(loss(checkpointed))(w), to_numpy(mx.grad(loss(step))(w)))
