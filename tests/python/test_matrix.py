"""Every operation under every transformation, and under pairs of them.

Derivatives meet finite differences, batches the untransformed operation applied to one after the
other. The operations and their operands are those of calls.py.
"""

import numpy as np
import pytest
from calls import BINARY, UNARY
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import (
    BATCHED,
    NO_VALUES,
    SMOOTH,
    arrays_in,
    check_directional,
    coarse,
    directions,
    inner,
    operation,
    stacked,
    wide,
)
from support import DTYPES, HALVES, IS_RILL, dtype, mx, name_of

pytestmark = pytest.mark.skipif(not IS_RILL, reason="the peer lacks rules, and float64")

BATCH = 3
# Through which no derivative flows, by definition.
STOPPED = {"stop_gradient"}
ANY_SHAPE = [name for name in (UNARY + BINARY).split() if name not in NO_VALUES]
# Half of what the others get, where those values are outside of the domain.
SPAN = dict.fromkeys(["acos", "arccos", "arcsin", "asin", "arctanh", "atanh", "erfinv"], 0.5)
DERIVED = [name for name in SMOOTH if name not in STOPPED]


class Setting:
    """An operation at a point: its smooth part, a direction, and weights of the outputs."""

    def __init__(self, name, seed=0, dtype=None):
        op = operation(name)
        arrays = op.point(seed, dtype or op.exact)
        self.f = op.smooth(arrays)
        self.x = [arrays[i] for i in op.variables]
        self.d = directions(self.x, name, 1)
        self.e = directions(self.x, name, 2)
        outputs = self.f(*self.x)
        self.w = directions(outputs, name, 3)
        self.single = coarse([*self.x, *outputs])

    def gradient(self, *x):
        return mx.vjp(self.f, list(x), self.w)[1]

    def tangent(self, *x):
        return mx.jvp(self.f, list(x), self.e)[1]


def assert_close(actual, expected, tolerance=None):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected):
        assert a.shape == b.shape and a.dtype == b.dtype
        if tolerance is None:
            limit = {"float16": 1e-2, "bfloat16": 6e-2, "float64": 1e-11}.get(
                name_of(b.dtype), 2e-4
            )
        else:
            limit = tolerance
        a, b = wide(a), wide(b)
        finite = np.abs(b[np.isfinite(b)])
        scale = max(1.0, finite.max()) if finite.size else 1.0
        np.testing.assert_allclose(a, b, rtol=limit, atol=limit * scale)


def test_stopped_derivatives_are_zero():
    for name in STOPPED:
        s = Setting(name)
        for result in (mx.vjp(s.f, s.x, s.w)[1], mx.jvp(s.f, s.x, s.d)[1]):
            assert inner(result, result) == 0


@pytest.mark.parametrize("name", DERIVED)
def test_first_derivatives(name):
    s = Setting(name)
    outputs, pulled = mx.vjp(s.f, s.x, s.w)
    assert_close(outputs, s.f(*s.x), 0)
    check_directional(s.f, s.x, s.d, s.w, inner(pulled, s.d))
    outputs, pushed = mx.jvp(s.f, s.x, s.d)
    assert_close(outputs, s.f(*s.x), 0)
    check_directional(s.f, s.x, s.d, s.w, inner(s.w, pushed))


@pytest.mark.parametrize("name", DERIVED)
def test_second_derivatives(name):
    s = Setting(name)
    again = mx.vjp(s.gradient, s.x, s.e)[1]
    check_directional(s.gradient, s.x, s.d, s.e, inner(again, s.d), s.single)
    forward = mx.jvp(s.gradient, s.x, s.d)[1]
    check_directional(s.gradient, s.x, s.d, s.e, inner(s.e, forward), s.single)
    back = mx.vjp(s.tangent, s.x, s.w)[1]
    check_directional(s.tangent, s.x, s.d, s.w, inner(back, s.d), s.single)
    twice = mx.jvp(s.tangent, s.x, s.d)[1]
    check_directional(s.tangent, s.x, s.d, s.w, inner(s.w, twice), s.single)


@pytest.mark.parametrize("name", BATCHED)
def test_vmap(name):
    op = operation(name)
    points = [op.point(seed) for seed in range(BATCH)]
    expected = stacked([op(*point) for point in points])
    assert_close(mx.vmap(op)(*stacked(points)), expected)
    if len(op.arrays) > 1:
        for alone in range(len(op.arrays)):
            check_one_batched(op, points, alone)
    last = [mx.moveaxis(array, 0, -1) for array in stacked(points)]
    result = mx.vmap(op, in_axes=-1, out_axes=-1)(*last)
    assert_close(result, [mx.moveaxis(array, 0, -1) for array in expected])


def check_one_batched(op, points, alone):
    axes = [0 if i == alone else None for i in range(len(op.arrays))]
    mixed = [[p[i] if i == alone else points[0][i] for i in range(len(p))] for p in points]
    batch = [stacked(mixed)[i] if i == alone else x for i, x in enumerate(points[0])]
    assert_close(mx.vmap(op, in_axes=tuple(axes))(*batch), stacked([op(*p) for p in mixed]))


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_of_vmap(name):
    op = operation(name)
    rows = [[op.point(2 * i + j) for j in range(3)] for i in range(2)]
    expected = stacked([stacked([op(*point) for point in row]) for row in rows])
    batch = stacked([stacked(row) for row in rows])
    assert_close(mx.vmap(mx.vmap(op))(*batch), expected)
    crossed = mx.vmap(mx.vmap(op), in_axes=1, out_axes=1)
    assert_close(crossed(*batch), expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_vmap_and_derivatives(name):
    s = Setting(name)
    points = [Setting(name, seed).x for seed in range(BATCH)]
    batch = stacked(points)
    gradients = stacked([s.gradient(*x) for x in points])
    tangents = stacked([s.tangent(*x) for x in points])
    assert_close(mx.vmap(s.gradient)(*batch), gradients)
    assert_close(mx.vmap(s.tangent)(*batch), tangents)
    many = [stacked([own] * BATCH) for own in (s.w, s.e)]
    assert_close(mx.vjp(mx.vmap(s.f), batch, many[0])[1], gradients)
    assert_close(mx.jvp(mx.vmap(s.f), batch, many[1])[1], tangents)


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_in_every_dtype(name):
    op = operation(name)
    taken = [kind for kind in DTYPES if op.takes(dtype(kind))]
    assert taken
    for kind in taken:
        points = [op.point(seed, dtype(kind)) for seed in range(BATCH)]
        assert_close(mx.vmap(op)(*stacked(points)), stacked([op(*point) for point in points]))


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_of_halves_are_those_of_the_wide(name):
    op = operation(name)
    for kind in HALVES:
        if not op.takes(dtype(kind)):
            continue
        s = Setting(name, dtype=dtype(kind))
        if not all(name_of(output.dtype) == kind for output in s.f(*s.x)):
            continue
        wide_x = [x.astype(mx.float32) for x in s.x]
        narrow, exact = ([array.astype(k) for array in s.w] for k in (s.w[0].dtype, mx.float32))
        expected = mx.vjp(s.f, wide_x, exact)[1]
        for actual in (mx.vjp(s.f, s.x, narrow)[1], mx.vmap(s.gradient)(*stacked([s.x]))):
            for a, b in zip(actual, expected):
                assert name_of(a.dtype) == kind
                scale = max(1.0, np.abs(wide(b)).max())
                limit = 0.15 if kind == "bfloat16" else 0.02
                np.testing.assert_allclose(wide(a).reshape(b.shape), wide(b), atol=limit * scale)


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_of_complex_numbers(name):
    op = operation(name)
    if not op.takes(mx.complex64):
        return
    s = Setting(name, dtype=mx.complex64)
    pulled = mx.vjp(s.f, s.x, s.w)[1]
    check_directional(s.f, s.x, s.d, s.w, inner(pulled, s.d))
    pushed = mx.jvp(s.f, s.x, s.d)[1]
    check_directional(s.f, s.x, s.d, s.w, inner(s.w, pushed))


SHAPES = st.lists(st.integers(0, 3), max_size=3)


@settings(max_examples=150)
@given(st.data())
def test_random_shapes(data):
    name = data.draw(st.sampled_from(ANY_SHAPE))
    shapes = [data.draw(SHAPES)]
    if name in BINARY.split():  # a second shape that broadcasts to the first
        kept = shapes[0][data.draw(st.integers(0, len(shapes[0]))) :]
        shapes.append([n if data.draw(st.booleans()) else 1 for n in kept])
    function, batch = operation(name).function, data.draw(st.integers(1, 3))
    rng = np.random.default_rng(7)
    points = [
        [mx.array(rng.uniform(1.1, 1.9, shape) * SPAN.get(name, 1), mx.float64) for shape in shapes]
        for _ in range(batch)
    ]
    axes = [data.draw(st.integers(0, len(shape))) for shape in shapes]

    def f(*xs):
        return arrays_in(function(*xs))

    whole = [mx.moveaxis(x, 0, axis) for x, axis in zip(stacked(points), axes)]
    try:
        expected = stacked([f(*point) for point in points])
    except (ValueError, IndexError):
        with pytest.raises((ValueError, IndexError)):
            mx.vmap(f, in_axes=tuple(axes))(*whole)
        return
    assert_close(mx.vmap(f, in_axes=tuple(axes))(*whole), expected)
    if name in DERIVED:
        x, weights = points[0], directions(f(*points[0]), name)
        along = directions(x, name, 1)
        check_directional(f, x, along, weights, inner(mx.vjp(f, x, weights)[1], along))
