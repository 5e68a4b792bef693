"""vmap: what it is given and gives back, its rules against one application after the other."""

import numpy as np
from support import check_row, mx, rill_only, rows

X, Y = "mx.arange(6.0).reshape(2, 3)", "mx.arange(3.0)"
NESTED = "{'a': [x, (y,)]}".replace("x", X).replace("y", Y)
CALLS = [
    (f"mx.vmap(lambda a: a * 2)({X})", [[0, 2, 4], [6, 8, 10]], "float32"),
    (f"mx.vmap(lambda a: a.sum(), in_axes=1)({X})", [3, 5, 7], "float32"),
    (f"mx.vmap(lambda a: a.sum(), in_axes=-1)({X})", [3, 5, 7]),
    (f"mx.vmap(lambda a: a * 2, out_axes=1)({X})", [[0, 6], [2, 8], [4, 10]]),
    (f"mx.vmap(lambda a: a * 2, out_axes=-1)({X})", [[0, 6], [2, 8], [4, 10]]),
    (f"mx.vmap(lambda a: {Y} * 2)({X})", [[0, 2, 4], [0, 2, 4]]),
    (f"mx.vmap(lambda a: {Y} * 2, out_axes=1)({X})", [[0, 0], [2, 2], [4, 4]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(0, None))({X}, {Y})", [[0, 2, 4], [3, 5, 7]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(1, 0))({X}, {Y})", [[0, 3], [2, 5], [4, 7]]),
    (f"mx.vmap(lambda a: (a, a.sum()))({X})[1]", [3, 12]),
    (f"mx.vmap(lambda a: (a, a.sum()), out_axes=(1, 0))({X})[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: {{'s': a}}, out_axes={{'s': 1}})({X})['s']", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: [a], out_axes=1)({X})[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a: a, in_axes=(1,))(({X},))[0]", [[0, 3], [1, 4], [2, 5]]),
    (f"mx.vmap(lambda a, b: a[0] + a[1] + b, in_axes=((0, None), 0))(({X}, {Y}), {X})", (2, 3)),
    (f"mx.vmap(lambda d: d['a'] + d['b'])({{'a': {X}, 'b': {X}}})", [[0, 2, 4], [6, 8, 10]]),
    (f"mx.vmap(lambda a: a)({X}.astype(mx.int8))", [[0, 1, 2], [3, 4, 5]], "int8"),
    ("mx.vmap(lambda a: a.sum())(mx.zeros((0, 3)))", (0,), "float32"),
    ("mx.vmap(lambda a: (a * 2).sum())(mx.zeros((3, 0)))", [0, 0, 0]),
    (f"mx.vmap(mx.vmap(lambda a: a + 1))({X})", [[1, 2, 3], [4, 5, 6]]),
    (f"mx.vmap(mx.vmap(lambda a, b: a * b, (None, 0)), (0, None))({Y}, {Y})", "outer"),
    (f"mx.vmap(lambda a: a, in_axes=2)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=-3)({X})", ValueError),
    (f"mx.vmap(lambda a: a, out_axes=2)({X})", ValueError),
    ("mx.vmap(lambda a: a)(mx.array(1.0))", ValueError),
    (f"mx.vmap(lambda a, b: a, in_axes=(None, None))({X}, {X})", ValueError),
    (f"mx.vmap(lambda a, b: a, in_axes=(0,))({X}, {X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=(0, 0))({X})", ValueError),
    (f"mx.vmap(lambda a, b: a + b)({X}, {Y})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=1.5)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes='0')({X})", ValueError),
    (f"mx.vmap(lambda d: d['a'], in_axes={{'a': 0}})({{'a': {X}, 'b': {X}}})", ValueError),
    (f"mx.vmap(lambda a: (a, a), out_axes=(0,))({X})", ValueError),
    (f"mx.vmap(lambda a, b: a)({X}, 2)", ValueError),
    (f"mx.vmap(lambda a: 3)({X})", ValueError),
    (f"mx.vmap(lambda a: (a, None))({X})", ValueError),
    (f"mx.vmap(lambda a: mx.array(a.sum().item()))({X})", ValueError),
    ("mx.vmap(lambda: mx.array(1))()", ValueError),
    ("mx.vmap(3)", TypeError),
    (f"mx.vmap(lambda a: 1 / 0)({X})", ZeroDivisionError),
]
RILL_CALLS = [
    (f"mx.vmap(lambda a, b: a + b)({X}, b={X})", [[0, 2, 4], [6, 8, 10]]),
    (f"mx.vmap(lambda a, stream: mx.abs(a, stream=stream))({X}, stream=mx.cpu)", (2, 3)),
    (f"mx.vmap(lambda a, b: a + b, in_axes=(0, None))({X}, 2)", [[2, 3, 4], [5, 6, 7]]),
    (f"mx.vmap(lambda a, b: a + b, in_axes=[0, None])({X}, {Y})", [[0, 2, 4], [3, 5, 7]]),
    (f"mx.vmap(lambda a: (a, {Y}), out_axes=(0, None))({X})[1]", [0, 1, 2]),
    (f"mx.vmap(lambda a: a, out_axes=None)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=None)({X})", ValueError),
    (f"mx.vmap(lambda a: a, in_axes=True)({X})", ValueError),
    (f"mx.vmap(lambda a, b: a + b)({X}, b={Y})", ValueError),
]


def check(row):
    expression, expected, *name = row
    if isinstance(expected, str):
        expected = np.outer(np.arange(3), np.arange(3)).tolist()
    if isinstance(expected, tuple):
        result = eval(expression, {"mx": mx})
        mx.eval(result)
        assert result.shape == expected
        return
    check_row((expression, expected, *name))


@rows(CALLS)
def test_calls(row):
    check(row)


@rill_only
@rows(RILL_CALLS)
def test_calls_beyond_the_peer(row):
    check(row)
