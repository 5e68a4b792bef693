"""Reading and writing by index, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import IS_RILL, assert_same, check_row, mx, rill_only, rows, to_numpy, value

X = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
NEGATIVE_STEP = slice(None, None, -1)


def native(index):
    """The index with NumPy arrays as arrays of the module under test."""
    if isinstance(index, tuple):
        return tuple(native(i) for i in index)
    return mx.array(index) if isinstance(index, np.ndarray) else index


def ints(*items):
    return np.array(items, np.int32)


READS = [
    0,
    -1,
    1,
    (0, 2),
    (1, -3, 2),
    (0, slice(None), 2),
    slice(None),
    slice(1, None),
    slice(5, 9),
    slice(2, 1),
    NEGATIVE_STEP,
    slice(None, None, 2),
    slice(-100, 100),
    (slice(None), slice(2, 0, -1)),
    (Ellipsis, 0),
    (0, Ellipsis),
    (0, Ellipsis, 1),
    Ellipsis,
    None,
    (None, 0),
    (0, None, Ellipsis, None),
    (),
    (slice(None), None, slice(None, None, -2)),
    ints(1, 0, 0),
    ints(-1, 0),
    ints([0, 1], [1, 0]),
    np.array(1, np.int32),
    np.zeros(0, np.int32),
    np.array([1, 0], np.uint8),
    np.array([1, 0], np.int64),
    np.array([0, 1], np.uint32),
    (ints(0, 1), ints(2, 1)),
    (ints([0], [1]), ints(0, 2)),
    (slice(None), ints(2, 0)),
    (ints(0, 1), slice(None), ints(2, 1)),
    (slice(None), ints(0, 1), ints(2, 1)),
    (ints(0, 1), Ellipsis, 0),
    (0, slice(None), ints(1, 2)),
    (slice(None), 1, ints(1, 2)),
    (ints(0, 1), slice(None, 2)),
    (ints(1, 0), None, ints(2, 0)),
    (None, ints(1, 0)),
    (Ellipsis, ints(3, 3, 0)),
    (slice(0, 1), ints(1), slice(None, None, -1)),
    (ints(0), ints(0, 1, 2), ints(1)),
]


@pytest.mark.parametrize("index", READS, ids=str)
def test_read(index):
    assert_same(mx.array(X)[native(index)], X[index], "int32")


@pytest.mark.parametrize("index", READS, ids=str)
def test_read_of_a_view(index):
    host = X.reshape(4, 3, 2)
    assert_same(mx.array(host).T[native(index)], host.T[index], "int32")


@pytest.mark.parametrize("index", READS, ids=str)
def test_assign_scalar(index):
    x, expected = mx.array(X), X.copy()
    x[native(index)], expected[index] = -7, -7
    assert_same(x, expected, "int32")


# The peer wants an update of another shape than the read has, or refuses.
PEER_FAILS = {str(i) for i in (None, (0, slice(None), ints(1, 2)))}


@pytest.mark.parametrize("index", READS, ids=str)
def test_assign_array(index):
    if not IS_RILL and str(index) in PEER_FAILS:
        pytest.skip("not in the peer")
    shape = X[index].shape
    update = np.arange(100, 100 + int(np.prod(shape)), dtype=np.int32).reshape(shape)
    x, expected = mx.array(X), X.copy()
    x[native(index)] = mx.array(update)
    expected[index] = update
    if repeats(index):
        assert set(to_numpy(x).ravel()) <= set(X.ravel()) | set(update.ravel())
    else:
        assert_same(x, expected, "int32")
    if shape and update.size and not repeats(index):
        row = update.reshape(-1)[: shape[-1]]  # broadcasts
        x, expected = mx.array(X), X.copy()
        x[native(index)] = mx.array(row)
        expected[index] = row
        assert_same(x, expected, "int32")


def repeats(index):
    """Whether an index may name an element twice, so that the last writer is not defined."""
    hits = np.zeros(X.size, int)
    np.add.at(hits, np.arange(X.size).reshape(X.shape)[index], 1)
    return hits.max() > 1


UPDATES = [
    ("add", np.add),
    ("subtract", np.subtract),
    ("multiply", np.multiply),
    ("maximum", np.maximum),
    ("minimum", np.minimum),
    ("divide", np.divide),
]


@pytest.mark.parametrize("name, ufunc", UPDATES)
@pytest.mark.parametrize("index", READS, ids=str)
def test_at(index, name, ufunc):
    if not IS_RILL and str(index) in PEER_FAILS:
        pytest.skip("not in the peer")
    base = X.astype(np.float32) + 1
    shape = base[index].shape
    update = (1 + np.arange(np.prod(shape)) % 3).reshape(shape).astype(np.float32)
    expected = base.copy()
    ufunc.at(expected, index, update)
    x = mx.array(base)
    result = getattr(x.at[native(index)], name)(mx.array(update))
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-6)
    assert_same(x, base)
    expected = base.copy()
    ufunc.at(expected, index, 2)
    np.testing.assert_allclose(to_numpy(getattr(x.at[native(index)], name)(2)), expected, rtol=1e-6)


MASKS = [
    X > 11,
    X[..., 0] > 4,
    np.array([True, False]),
    np.array([False, False]),
    np.array([True, True]),
    np.array(True),
    np.array(False),
]


@pytest.mark.parametrize("mask", MASKS, ids=lambda m: f"{m.shape}{m.sum()}")
def test_assign_by_mask(mask):
    count = X[mask].shape
    for update in (np.int32(-7), np.arange(np.prod(count), dtype=np.int32).reshape(count) - 100):
        if not update.size and not IS_RILL:
            continue  # stops the peer's process
        x, expected = mx.array(X), X.copy()
        x[mx.array(mask)] = mx.array(update) if update.ndim else int(update)
        expected[mask] = update
        assert_same(x, expected, "int32")


@pytest.mark.parametrize("mask", MASKS, ids=lambda m: f"{m.shape}{m.sum()}")
def test_read_by_mask(mask):
    if not IS_RILL:
        with pytest.raises(ValueError, match="boolean indices"):
            mx.array(X)[mx.array(mask)]
        return
    assert_same(mx.array(X)[mx.array(mask)], X[mask], "int32")


ERRORS = [  # x has shape (2, 3, 4)
    ("x[0, 0, 0, 0]", ValueError),
    ("x[..., ...]", ValueError),
    ("x[1.5]", ValueError),
    ("x['a']", ValueError),
    ("x[mx.array([1.0])]", ValueError),
    ("x[mx.array([0, 1]), mx.array([0, 1, 2])]", ValueError),
    ("mx.array(1)[0]", ValueError),
    ("x.__setitem__(0, mx.zeros((5,)))", ValueError),
    ("x.__setitem__(slice(None), mx.zeros((3, 2, 3, 4)))", ValueError),
    ("x.__setitem__('a', 1)", ValueError),
    ("x.__setitem__(0, 'a')", TypeError if IS_RILL else ValueError),
    ("x.__setitem__(0, [1, 2, 3, 4])", ValueError),
    ("x.__setitem__(0, None)", TypeError),
    ("x.__setitem__(mx.array([True, False, True]), 1)", ValueError),
    ("mx.take(x, mx.array([0]), axis=5)", ValueError),
]

OURS = [  # the peer reads wild memory or stops the process
    ("x[2]", IndexError),
    ("x[-3]", IndexError),
    ("x[0, 3]", IndexError),
    ("x[::0]", ValueError),
    ("x.__setitem__(2, 1)", IndexError),
    ("x.__setitem__((0, 0, -5), 1)", IndexError),
    ("x.at[2].add(1)", IndexError),
    ("mx.take(x, 2, axis=0)", IndexError),
    ("x[mx.array([2])]", IndexError),
    ("x[mx.array([-3])]", IndexError),
    ("x.at[mx.array([9])].add(1)", IndexError),
    ("mx.take(x, mx.array([24]))", IndexError),
    ("mx.take_along_axis(x, mx.array([[[9]]]), 2)", IndexError),
    ("x[mx.array([True, False, True])]", (IndexError, ValueError)),
]


@rows(ERRORS)
def test_errors(row):
    with pytest.raises(row[1]):
        mx.eval(value(row[0], x=mx.array(X)))


@rill_only
@rows(OURS)
def test_out_of_range(row):
    x = mx.array(X)
    with pytest.raises(row[1]):
        mx.eval(value(row[0], x=x))
    assert_same(x + 0, X)


@rill_only
def test_out_of_range_assignment_is_reported_at_the_latest_by_eval():
    x = mx.array(X)
    with pytest.raises(IndexError):
        x[mx.array([7])] = 1
        mx.eval(x)


def test_assignment_casts():
    x = mx.array([0, 1, 2])
    x[0] = 1.7
    x[1:] = mx.array([2.7, 3.2])
    assert_same(x, [1, 2, 3], "int32")
    x[1:] = np.ones(2)
    assert_same(x, [1, 1, 1], "int32")
    check_row(("x.at[0].add(1.5)", [2, 1, 1], "int32"), x=x)


def test_lists_index_as_arrays():
    x = mx.array(X)
    assert_same(x[[0, 1], [2, 0]], X[[0, 1], [2, 0]])
    x[[0]] = 5
    assert_same(x[0], np.full((3, 4), 5))


def test_leading_axes_of_one_in_the_update():
    x = mx.array(X)
    x[:] = mx.zeros((1, 1, 2, 3, 4), mx.int32)
    assert_same(x, np.zeros_like(X))


def test_an_assignment_leaves_earlier_readers_alone():
    x = mx.array(X)
    before, twin = x + 0, mx.array(x)
    x[0] = 9
    assert_same(before, X)
    assert_same(twin, X)


# Random shapes and indices -------------------------------------------------------------------

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@st.composite
def indexed(draw):
    """A shape and an index of ints, slices, None, one Ellipsis and integer arrays."""
    shape = draw(shapes)
    index = []
    common = draw(st.sampled_from([(3,), (1,), (2, 2)]))
    used = draw(st.integers(0, len(shape)))
    for size in shape[:used]:
        if draw(st.integers(0, 4)) == 0:
            index.append(None)
        kind = draw(st.sampled_from(["int", "slice", "slice", "array"]))
        if kind == "int":
            index.append(draw(st.integers(-size, size - 1)))
        elif kind == "slice":
            index.append(draw(st.slices(size + 2)))
        else:
            picks = draw(st.lists(st.integers(-size, size - 1), min_size=4, max_size=4))
            index.append(np.resize(np.array(picks, np.int32), common))
    if draw(st.booleans()):  # in the middle only where it stands for no axis
        where = draw(st.integers(0, len(index))) if used == len(shape) else len(index)
        index.insert(where, Ellipsis)
    return shape, tuple(index)


@rill_only  # the peer refuses or misplaces axes where None, int and array meet
@given(indexed())
def test_random_reads(case):
    shape, index = case
    host = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    assert_same(mx.array(host)[native(index)], host[index])


@rill_only  # the peer stops the process on some empty slices
@given(indexed())
def test_random_writes(case):
    shape, index = case
    host = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    x, expected = mx.array(host), host.copy()
    x[native(index)], expected[index] = -1, -1
    assert_same(x, expected)
    expected = host.copy()
    np.add.at(expected, index, 3)
    assert_same(mx.array(host).at[native(index)].add(3), expected)
