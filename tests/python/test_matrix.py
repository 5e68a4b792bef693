"""Every operation under every transformation, and under pairs of them.

Derivatives meet finite differences, batches the untransformed operation applied to one after the
other, exported functions what was exported. The operations and their operands are those of
calls.py.
"""

import numpy as np
import pytest
from calls import BINARY, CALLS, UNARY
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import (
    BATCHED,
    EVALUATING,
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
# Through which no derivative flows, by definition, or since they work on bits.
STOPPED = {"stop_gradient", "nextafter"}
ANY_SHAPE = [name for name in (UNARY + BINARY).split() if name in BATCHED]
# Half of what the others get, where those values are outside of the domain.
SPAN = dict.fromkeys(["acos", "arccos", "arcsin", "asin", "arctanh", "atanh", "erfinv"], 0.5)
# The number of steps is not known before: there is nothing to go back through.
FORWARD_ONLY = {"while_loop"}
# Derivatives go straight through what these round (test_quantized.py says which they are).
ROUNDING = {"qqmm", "gather_qqmm"}
DERIVED = [name for name in SMOOTH if name not in STOPPED | FORWARD_ONLY | ROUNDING]


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


@pytest.mark.parametrize("name", [name for name in SMOOTH if name in FORWARD_ONLY])
def test_what_has_no_reverse_derivative_says_so(name):
    s = Setting(name)
    with pytest.raises(ValueError, match="reverse derivative"):
        mx.vjp(s.f, s.x, s.w)
    pushed = mx.jvp(s.f, s.x, s.d)[1]
    check_directional(s.f, s.x, s.d, s.w, inner(s.w, pushed))


@pytest.mark.parametrize("name", [name for name in CALLS if name in EVALUATING])
def test_what_depends_on_values_says_so(name):
    op = operation(name)
    with pytest.raises(ValueError, match="values"):
        mx.vmap(op)(*stacked([op.point(0)] * 2))


@pytest.mark.parametrize("name", DERIVED)
def test_first_derivatives(name):
    s = Setting(name)
    outputs, pulled = mx.vjp(s.f, s.x, s.w)
    assert_close(outputs, s.f(*s.x), 0)
    check_directional(s.f, s.x, s.d, s.w, inner(pulled, s.d))
    outputs, pushed = mx.jvp(s.f, s.x, s.d)
    assert_close(outputs, s.f(*s.x), 0)
    check_directional(s.f, s.x, s.d, s.w, inner(s.w, pushed))


@pytest.mark.parametrize("name", [n for n in SMOOTH if n in ROUNDING])
def test_derivatives_through_rounding_are_each_others_transpose(name):
    s = Setting(name)
    pulled, pushed = mx.vjp(s.f, s.x, s.w)[1], mx.jvp(s.f, s.x, s.d)[1]
    assert inner(pulled, pulled) > 0
    np.testing.assert_allclose(inner(pulled, s.d), inner(s.w, pushed), rtol=1e-4)


@pytest.mark.parametrize("name", BATCHED)
def test_every_operand_has_derivatives(name):
    """Also integers, which have none: it is zero, and no error."""
    op = operation(name)
    point = op.point(0)
    outputs = op(*point)
    weights = directions(outputs, name, 4)
    if name not in FORWARD_ONLY:
        pulled = mx.vjp(op, point, weights)[1]
        assert [g.shape for g in pulled] == [x.shape for x in point]
        assert [g.dtype for g in pulled] == [x.dtype for x in point]
    pushed = mx.jvp(op, point, directions(point, name, 5))[1]
    assert [t.shape for t in pushed] == [y.shape for y in outputs]
    mx.eval(pushed)


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
def test_vmap_over_nothing(name):
    op = operation(name)
    batch = [mx.zeros((0, *array.shape), array.dtype) for array in op.arrays]
    one = op(*op.arrays)
    for function in (mx.vmap(op), mx.compile(mx.vmap(op))):
        outputs = function(*batch)
        mx.eval(outputs)
        assert [o.shape for o in outputs] == [(0, *o.shape) for o in one]
        assert [o.dtype for o in outputs] == [o.dtype for o in one]


def with_empty_axes(arrays):
    """The arrays with each axis in turn empty, of all of them and of the first alone."""
    for axis in range(max(array.ndim for array in arrays)):
        for count in (len(arrays), 1):
            shapes = [list(array.shape) for array in arrays]
            for shape in shapes[:count]:
                shape[axis : axis + 1] = [0] * len(shape[axis : axis + 1])
            yield [
                a if list(a.shape) == shape else mx.zeros(shape, a.dtype)
                for a, shape in zip(arrays, shapes)
            ]


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in FORWARD_ONLY])
def test_gradients_of_empty_operands(name):
    s = Setting(name)
    for arrays in with_empty_axes(s.x):
        try:
            outputs = s.f(*arrays)
            mx.eval(outputs)
        except (ValueError, IndexError):
            continue  # what the operation refuses
        gradients = mx.vjp(s.f, arrays, [mx.ones_like(o) for o in outputs])[1]
        mx.eval(gradients)
        assert [g.shape for g in gradients] == [a.shape for a in arrays]


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_of_vmap(name):
    op = operation(name)
    rows = [[op.point(2 * i + j) for j in range(3)] for i in range(2)]
    expected = stacked([stacked([op(*point) for point in row]) for row in rows])
    batch = stacked([stacked(row) for row in rows])
    assert_close(mx.vmap(mx.vmap(op))(*batch), expected)
    crossed = mx.vmap(mx.vmap(op), in_axes=1, out_axes=1)
    assert_close(crossed(*batch), expected)


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in FORWARD_ONLY])
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


def check_export(path, function, arrays):
    mx.export_function(path, function, *arrays)
    expected = function(*arrays)
    results = mx.import_function(path)(*arrays)
    assert_close(list(results), expected, 0)


@pytest.mark.parametrize("name", BATCHED)
def test_export(name, tmp_path):
    """Every operation, its batch, its derivatives and their batches come back from a file."""
    op, path = operation(name), str(tmp_path / "f.rill")
    taken = [kind for kind in DTYPES if op.takes(dtype(kind))]
    for kind in taken:
        check_export(path, op, op.point(0, dtype(kind)))
    check_export(path, mx.vmap(op), stacked([op.point(seed) for seed in range(BATCH)]))
    if name not in SMOOTH:
        return
    s = Setting(name)
    batch = stacked([Setting(name, seed).x for seed in range(BATCH)])
    check_export(path, s.tangent, s.x)
    check_export(path, mx.vmap(s.tangent), batch)
    if name not in FORWARD_ONLY:
        check_export(path, s.gradient, s.x)
        check_export(path, mx.vmap(s.gradient), batch)
        check_export(path, lambda *x: mx.vjp(s.gradient, list(x), s.e)[1], s.x)


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
    kink = name == "std" and np.prod(shapes[0]) == 1  # the square root of 0
    finite = all(np.isfinite(wide(array)).all() for array in f(*points[0]))
    if name in DERIVED and finite and not kink:
        x, weights = points[0], directions(f(*points[0]), name)
        along = directions(x, name, 1)
        check_directional(f, x, along, weights, inner(mx.vjp(f, x, weights)[1], along))


@pytest.mark.parametrize("name", BATCHED)
def test_no_operation_is_applied_one_by_one(name):
    op = operation(name)
    steps = []
    for size in (2, 5):
        batch = stacked([op.point(0)] * size)
        mx.eval(batch)
        result = mx.vmap(op)(*batch)
        with mx.trace() as seen:
            mx.eval(result)
        steps.append(len(seen.records))
    assert steps[0] == steps[1], f"{name} needs a rule for vmap"


def drawn_arrays(data, shapes, name="float64"):
    """For each shape: the whole batch, or one that all share; and the axes that say so."""
    size, rng = data.draw(st.integers(1, 3)), np.random.default_rng(3)
    batched = [data.draw(st.booleans()) for _ in shapes]
    batched[0] |= not any(batched)
    arrays = [
        mx.array(rng.uniform(0, 2, (size, *shape) if own else shape), mx.float64)
        for shape, own in zip(shapes, batched)
    ]
    return arrays, [0 if own else None for own in batched], size


def check_batch(f, arrays, axes, size):
    each = [f(*[x if axis is None else x[i] for x, axis in zip(arrays, axes)]) for i in range(size)]
    assert_close([mx.vmap(f, in_axes=tuple(axes))(*arrays)], [mx.stack(each)])


SIZE = st.integers(0, 3)


@given(st.data())
def test_random_products(data):
    m, k, n = (data.draw(SIZE) for _ in range(3))
    lead = data.draw(st.lists(SIZE, max_size=2))
    left, right = (
        [size if data.draw(st.booleans()) else 1 for size in lead[data.draw(SIZE) :]]
        for _ in range(2)
    )
    shapes = [(*left, m, k), (*right, k, n)]
    if data.draw(st.booleans()):
        shapes = [(k,) if data.draw(st.booleans()) else shapes[0], (k,)]
    functions = [lambda a, b: a @ b]
    if m and k and n:
        functions.append(lambda a, b: mx.addmm(b[..., :1, :1] if b.ndim > 1 else b[0], a, b))
    for f in functions:
        check_batch(f, *drawn_arrays(data, shapes))


@given(st.data())
def test_random_systems(data):
    n, k = data.draw(st.integers(1, 3)), data.draw(SIZE)
    lead = data.draw(st.lists(SIZE, max_size=1))
    right = (n,) if data.draw(st.booleans()) else (*lead, n, k)
    upper = data.draw(st.booleans())
    arrays, axes, size = drawn_arrays(data, [(*lead, n, n), right])
    for solve in (mx.linalg.solve, lambda a, b: mx.linalg.solve_triangular(a, b, upper=upper)):
        check_batch(lambda a, b, s=solve: s(a + 5 * mx.eye(n), b), arrays, axes, size)


READS = [
    lambda x, y, i, j: x[i],
    lambda x, y, i, j: x[:, i],
    lambda x, y, i, j: x[i, :, j],
    lambda x, y, i, j: x[i[..., None], mx.arange(3), 1:],
    lambda x, y, i, j: mx.take(x, i, axis=1),
    lambda x, y, i, j: mx.take_along_axis(
        x, mx.broadcast_to(i.reshape(-1, 1, 1), (i.size, 3, 3)), 0
    ),
]
WRITES = [
    lambda x, y, i, j: x.at[i].add(y),
    lambda x, y, i, j: x.at[:, i, j].multiply(y[0, 0]),
    lambda x, y, i, j: x.at[i, j].maximum(y[0]),
    lambda x, y, i, j: x.at[i, 1:].subtract(y[0, 1:]),
    lambda x, y, i, j: mx.put_along_axis(x, i.reshape(-1, 1, 1)[:1], y[:1, :1, :1], 0),
]


@given(st.data())
def test_random_reads_and_writes(data):
    f = data.draw(st.sampled_from(READS + WRITES))
    (x, y), axes, size = drawn_arrays(data, [(3, 3, 3), (3, 3, 3)])
    shape = data.draw(st.lists(st.integers(1, 3), max_size=2))
    if f in WRITES:
        shape = [3]  # as many as there are updates
    for _ in range(2):
        shared = data.draw(st.booleans())
        axes.append(None if shared else 0)
    places = [
        mx.array(
            np.random.default_rng(5).integers(-3, 3, shape if axis is None else (size, *shape))
        )
        for axis in axes[2:]
    ]
    check_batch(f, [x, y, *places], axes, size)
