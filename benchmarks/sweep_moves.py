"""Rows of sweep.py that move elements: shapes, indexing, files, NumPy and Python."""

import copy
import os
import tempfile

import numpy as np
from sweep_table import FLAT, SIDE, SQUARE, TALL, Operand, made, row, said, whole, x32

FOLDER = tempfile.TemporaryDirectory(prefix="rill-sweep-")

# Shapes: what moves elements.

for dtype in ("int8", "float16", "float32", "int64"):
    x = x32(dtype=dtype)
    cube = x32((64, 256, 256), dtype=dtype)
    contiguous = lambda m, x: m.contiguous(x)
    ascontiguous = lambda m, x: np.ascontiguousarray(x)
    row(f"transpose {dtype}", contiguous, x32(view="T", dtype=dtype), numpy=ascontiguous)
    row(f"every second {dtype}", contiguous, x32(view="strided", dtype=dtype), numpy=ascontiguous)
    for axes in ((0, 2, 1), (2, 1, 0), (1, 0, 2), (2, 0, 1)):
        moved = lambda m, x, a=axes: m.contiguous(x.transpose(a))
        row(
            f"transpose {axes} {dtype}",
            moved,
            cube,
            numpy=lambda m, x, a=axes: np.ascontiguousarray(x.transpose(a)),
        )
    narrow = lambda m, x: m.contiguous(x.T)
    for shape in (TALL, TALL[::-1], (SIDE * SIDE // 3, 3)):
        row(
            f"transpose {dtype} {shape[0]}x{shape[1]}",
            narrow,
            x32(shape, dtype=dtype),
            numpy=lambda m, x: np.ascontiguousarray(x.T),
        )
    for axis in (0, 1):
        row(f"concatenate axis {axis} {dtype}", lambda m, x, a=axis: m.concatenate([x, x], a), x)
        row(f"stack axis {axis} {dtype}", lambda m, x, a=axis: m.stack([x, x], a), x)
        row(f"repeat axis {axis} {dtype}", lambda m, x, a=axis: m.repeat(x, 2, a), x)
        row(f"roll axis {axis} {dtype}", lambda m, x, a=axis: m.roll(x, 5, a), x)
        flipped = lambda m, x, a=axis: m.contiguous(m.flip(x, a))
        theirs = lambda m, x, a=axis: np.ascontiguousarray(np.flip(x, a))
        row(f"flip axis {axis} {dtype}", flipped, x, numpy=theirs)
    row(f"stack axis -1 {dtype}", lambda m, x: m.stack([x, x], -1), x)
    row(
        f"concatenate short rows {dtype}",
        lambda m, x: m.concatenate([x, x], 1),
        x32(TALL, dtype=dtype),
    )
    row(f"tile {dtype}", lambda m, x: m.tile(x, (2, 2)), x)
    row(
        f"tile of a short row {dtype}",
        lambda m, x: m.tile(x, SIDE * SIDE // 3),
        x32((3,), dtype=dtype),
    )
    row(f"pad {dtype}", lambda m, x: m.pad(x, 1), x)
    row(f"pad edge {dtype}", lambda m, x: m.pad(x, 1, mode="edge"), x)
    row(f"pad short rows {dtype}", lambda m, x: m.pad(x, ((0, 0), (0, 1))), x32(TALL, dtype=dtype))
    row(f"split in 4 axis 1 {dtype}",
        lambda m, x: [m.contiguous(p) for p in m.split(x, 4, axis=1)], x,
        numpy=lambda m, x: [np.ascontiguousarray(p) for p in np.split(x, 4, axis=1)])  # fmt: skip
    row(f"broadcast_to {dtype}", lambda m, x: m.contiguous(m.broadcast_to(x, SQUARE)),
        x32((SIDE, 1), dtype=dtype),
        numpy=lambda m, x: np.ascontiguousarray(np.broadcast_to(x, SQUARE)))  # fmt: skip
    row(f"tril {dtype}", lambda m, x: m.tril(x), x)
    row(f"full {dtype}", lambda m, d=dtype: m.full(SQUARE, 7, getattr(m, d)))
    row(f"zeros {dtype}", lambda m, d=dtype: m.zeros(SQUARE, getattr(m, d)),
        numpy=lambda m, d=dtype: np.full(SQUARE, 0, d))  # fmt: skip
    row(f"ones {dtype}", lambda m, d=dtype: m.ones(SQUARE, getattr(m, d)))
    row(f"full_like {dtype}", lambda m, x: m.full_like(x, 3), x)
row("triu", lambda m, x: m.triu(x), x32())
row("tri", lambda m: m.tri(SIDE, SIDE, 0))
row("eye", lambda m: m.eye(SIDE))
row("diag of a vector", lambda m, x: m.diag(x), x32((SIDE,)))
row("diagonal", lambda m, x: m.contiguous(m.diagonal(x, 0, 0, 1)), x32((16, 16, 16384)),
    numpy=lambda m, x: np.ascontiguousarray(np.diagonal(x, 0, 0, 1)))  # fmt: skip
row("arange int32", lambda m: m.arange(0, SIDE * SIDE, 1, dtype=m.int32))
row("arange float32", lambda m: m.arange(0, SIDE * SIDE, 1, dtype=m.float32))
row("linspace", lambda m: m.linspace(0, 1, SIDE * SIDE))
row("meshgrid", lambda m, x: [a + 0 for a in m.meshgrid(x, x)], x32((SIDE,)))
row("hanning", lambda m: m.hanning(SIDE * SIDE))
row("blackman", lambda m: m.blackman(SIDE * SIDE))
row("hamming", lambda m: m.hamming(SIDE * SIDE))
row("bartlett", lambda m: m.bartlett(SIDE * SIDE))
row("view float32 as int32, copied", lambda m, x: x.view(m.int32) + 0, x32())

# Indexing.


def updated(change):
    """A copy of the array, changed in place (in Rill, as far as its user sees)."""

    def function(m, x, *rest):
        y = x.copy() if m is np else copy.copy(x)
        change(m, y, *rest)
        return y

    return function


def assign(m, y, where, value=1):
    y[where] = value


ROWS_OF = whole(SIDE, (SIDE,))
ELEMENTS = whole(SIDE * SIDE, FLAT)
MASK = Operand("bool", SQUARE)
for dtype in ("int8", "float16", "float32", "int64"):
    x, line = x32(dtype=dtype), x32(FLAT, dtype=dtype)
    row(f"take rows {dtype}", lambda m, x, i: m.take(x, i, axis=0), x, ROWS_OF)
    row(f"take columns {dtype}", lambda m, x, i: m.take(x, i, axis=1), x, ROWS_OF)
    row(f"take short rows {dtype}", lambda m, x, i: m.take(x, i, axis=0), x32(TALL, dtype=dtype),
        whole(TALL[0], (TALL[0],)))  # fmt: skip
    row(f"take elements {dtype}", lambda m, x, i: m.take(x, i), line, ELEMENTS)
    row(f"x[i, j] {dtype}", lambda m, x, i, j: x[i, j], x, whole(SIDE, FLAT), whole(SIDE, FLAT))
    for axis in (0, 1):
        row(f"take_along_axis {axis} {dtype}",
            lambda m, x, i, a=axis: m.take_along_axis(x, i, axis=a),
            x, whole(SIDE, SQUARE))  # fmt: skip
    row(f"x[mask] {dtype}", lambda m, x, c: x[c], x, MASK)
    row(f"x[row mask] {dtype}", lambda m, x, c: x[c], x, Operand("bool", (SIDE,)))
    row(f"x[mask] = 1 {dtype}", updated(assign), x, MASK)
    row(f"x[rows] = 1 {dtype}", updated(assign), x, ROWS_OF)
    row(
        f"x[:, columns] = 1 {dtype}",
        updated(lambda m, y, i: assign(m, y, (slice(None), i))),
        x,
        ROWS_OF,
    )
    row(f"x[elements] = 1 {dtype}", updated(assign), line, ELEMENTS)
    row(f"x[1:-1, 1:-1] = 1 {dtype}", updated(lambda m, y: assign(m, y, (slice(1, -1),) * 2)), x)
    row(
        f"x[::2, ::2] = 1 {dtype}",
        updated(lambda m, y: assign(m, y, (slice(None, None, 2),) * 2)),
        x,
    )
for dtype in ("float32", "int32", "float16"):
    x, line = x32(dtype=dtype), x32(FLAT, dtype=dtype)
    add_at = lambda m, x, v, i: x.at[i].add(v)
    row(
        f"add at rows {dtype}",
        add_at,
        x,
        x,
        ROWS_OF,
        numpy=updated(lambda m, y, v, i: np.add.at(y, i, v)),
    )
    row(f"add at elements {dtype}", add_at, line, line, ELEMENTS,
        numpy=updated(lambda m, y, v, i: np.add.at(y, i, v)), checked=False)  # fmt: skip
    row(f"add at columns {dtype}", lambda m, x, v, i: x.at[:, i].add(v), x, x, ROWS_OF,
        numpy=updated(lambda m, y, v, i: np.add.at(y, (slice(None), i), v)))  # fmt: skip
    row(f"maximum at elements {dtype}", lambda m, x, v, i: x.at[i].maximum(v), line, line, ELEMENTS,
        numpy=updated(lambda m, y, v, i: np.maximum.at(y, i, v)))  # fmt: skip
    for axis in (0, 1):
        row(f"put_along_axis {axis} {dtype}",
            lambda m, x, i, v, a=axis: m.put_along_axis(x, i, v, axis=a),
            x, whole(SIDE, SQUARE), x,
            numpy=updated(
                lambda m, y, i, v, a=axis: np.put_along_axis(y, i, v, axis=a)))  # fmt: skip
row("searchsorted", lambda m, a, v: m.searchsorted(a, v),
    Operand("float32", FLAT, make=lambda rng: np.sort(rng.random(FLAT, np.float32))),
    x32((SIDE * 128,), 0, 1))  # fmt: skip
row("nonzero", lambda m, x: m.nonzero(x), MASK)
row("unique_values int32", lambda m, x: m.unique_values(x), whole(1000, FLAT), checked=False)
row("unique_values float32", lambda m, x: m.unique_values(x), x32(FLAT))
row("unique_inverse int32", lambda m, x: m.unique_inverse(x)[1], whole(1000, FLAT))

# To and from files, NumPy and Python.


def path(name):
    return os.path.join(FOLDER.name, name)


for dtype, view in (("float32", ""), ("int8", ""), ("float32", "T")):
    x = x32(dtype=dtype, view=view)
    save = lambda m, x: m.save(path(f"{m.__name__}.npy"), x)
    row(f"save {said(x)}", save, x)
    row(
        f"savez {said(x)}",
        lambda m, x: m.savez(path(f"{m.__name__}.npz"), a=x, b=x),
        x,
    )
row("save 256 MB", lambda m, x: m.save(path(f"{m.__name__}.npy"), x), x32((8192, 8192)))
row(
    "savez_compressed",
    lambda m, x: m.savez_compressed(path(f"{m.__name__}c.npz"), x),
    x32((256, 256)),
)


def stored(name, shape):
    """The path of a file that both can read."""
    where = path(name)
    if not os.path.exists(where):
        values = made(x32(shape))
        np.savez(where, a=values) if name.endswith("z") else np.save(where, values)
    return where


row("load 16 MB", lambda m: m.load(stored("some.npy", SQUARE)))
row("load 256 MB", lambda m: m.load(stored("large.npy", (8192, 8192))))
row("load npz", lambda m: m.load(stored("some.npz", SQUARE))["a"])
NUMBERS = [float(v) for v in range(1 << 20)]
NESTED = [[float(v) for v in range(64)] for _ in range(1 << 14)]
WHOLE = list(range(1 << 20))
for label, values in (("floats", NUMBERS), ("ints", WHOLE), ("lists", NESTED)):
    array = lambda m, v=values: m.array(v, m.float32 if v is not WHOLE else m.int32)
    row(f"array of 1M {label}", array)
row("array of 64 rows", lambda m, x: m.array([x[k] for k in range(64)]), x32((64, 65536)))
for dtype in ("float32", "int32", "bool", "float16"):
    row(f"tolist {dtype}", lambda m, x: x.tolist(), x32((1024, 1024), dtype=dtype), checked=False)
row(
    "from NumPy",
    lambda m, x: m.array(made(x32())),
    x32((1,)),
    numpy=lambda m, x: np.array(made(x32())),
)
row("to NumPy, copied", lambda m, x: np.array(x), x32())
row("to NumPy, transposed", lambda m, x: np.ascontiguousarray(np.asarray(x)), x32(view="T"))
