"""What a row of sweep.py is: an operation, its large operands, and NumPy's way to the same.

A row's functions take the module (rill.core or numpy) and the operands. One function serves both
where the modules agree. Operations that NumPy lacks and no short expression gives (erf, erfinv,
convolutions, quantisation, categorical, fp8) have no row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIDE = 2048
SQUARE = (SIDE, SIDE)  # 4M elements
FLAT = (SIDE * SIDE,)
TALL = (SIDE * SIDE // 4, 4)

VIEWS = {
    "": lambda x: x,
    "T": lambda x: x.T,
    "strided": lambda x: x[:, ::2],
    "row": lambda x: x[:1],
    "column": lambda x: x[:, :1],
}


@dataclass(frozen=True)
class Operand:
    """Random numbers of a dtype and shape between two bounds, and what is taken of them."""

    dtype: str
    shape: tuple
    low: float = -4.0
    high: float = 4.0
    view: str = ""
    make: Callable | None = None  # in place of random numbers

    def made(self, seed: int = 0) -> np.ndarray:
        return made(self, seed)

    def viewed(self, x):
        return VIEWS[self.view](x)


@functools.lru_cache(maxsize=8)
def made(operand: Operand, seed: int = 0) -> np.ndarray:
    """What the view is taken of."""
    rng = np.random.default_rng(7 + seed)
    if operand.make:
        return operand.make(rng)
    shape = operand.shape
    if operand.view == "strided":
        shape = (shape[0], 2 * shape[1])
    if operand.dtype == "bool":
        return rng.random(shape, np.float32) < 0.5
    if operand.dtype == "complex64":
        parts = rng.random((*shape, 2), np.float32) * (operand.high - operand.low) + operand.low
        return np.ascontiguousarray(parts.astype(np.float32)).view(np.complex64)[..., 0]
    low, high = operand.low, operand.high
    if operand.dtype in ("float16", "float32"):
        values = rng.random(shape, np.float32)
        return (values * np.float32(high - low) + np.float32(low)).astype(operand.dtype)
    if operand.dtype == "float64":
        return rng.random(shape) * (high - low) + low
    limits = np.iinfo(operand.dtype)
    bounds = (int(max(low, limits.min)), int(min(high, limits.max)))
    return rng.integers(*bounds, shape, operand.dtype, endpoint=True)


@dataclass(frozen=True)
class Row:
    name: str
    operands: tuple
    rill: Callable
    numpy: Callable
    checked: bool
    alike: bool  # operands that are made alike are equal


ROWS: list[Row] = []


def row(name, rill, *operands, numpy=None, checked=True, alike=False):
    ROWS.append(Row(name, operands, rill, numpy or rill, checked, alike))


def x32(shape=SQUARE, low=-4.0, high=4.0, view="", dtype="float32"):
    return Operand(dtype, shape, low, high, view)


def whole(high, shape, dtype="int32", low=0):
    return Operand(dtype, shape, low, high - 1)


def said(operand):
    """How a row's name tells its operand."""
    shape = "x".join(map(str, operand.shape))
    return f"{operand.dtype} {shape}{' ' * bool(operand.view)}{operand.view}"
