"""The rows of test_differential.py: each operation as MLX and NumPy write it.

A row is an expression of m (a module of the API), of its operands x, y, i ..., and of parameters
such as axis; the same for NumPy (np), where there is such; and which operands it takes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from oracle import CASES

SIZES = st.integers(0, 5)
ANY_SHAPE = st.lists(SIZES, min_size=0, max_size=4).map(tuple)
FULL = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)  # no axis is empty
LARGE = st.sampled_from([(2050,), (33, 67), (3, 1, 300), (70, 2, 16)])
MIXED = st.one_of(ANY_SHAPE, ANY_SHAPE, LARGE)
MATRICES = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple)


@dataclass
class Row:
    name: str
    expression: str
    numpy: str
    operands: dict  # name -> (kind, shape of the drawn shape)
    parameters: dict = field(default_factory=dict)
    shapes: st.SearchStrategy = MIXED
    tolerance: float = 1.0  # times that of the dtype
    plain: bool = False  # no nan, no inf, no huge numbers
    gradient: bool = False
    stretched: bool = True  # whether the gradient is defined for operands of equal elements


@dataclass
class Difference:
    """What differs on purpose."""

    why: str
    applies: Callable  # (row, request, ours, theirs)


def same(draw, shape):
    return shape


def broadcasting(draw, shape):
    """A shape that broadcasts with `shape` to it or to more."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(n if draw(st.integers(0, 3)) else 1 for n in kept)


def any_axis(shape):
    return st.integers(-len(shape), len(shape) - 1) if shape else st.none()


def maybe_axis(shape):
    return st.one_of(st.none(), any_axis(shape))


def axes(shape):
    some = st.lists(st.integers(0, max(len(shape) - 1, 0)), unique=True, max_size=len(shape))
    return st.one_of(maybe_axis(shape), some.map(tuple)) if shape else st.none()


def order(shape):
    return st.permutations(range(len(shape)))


def flags(shape):
    return st.booleans()


def small(shape):
    return st.integers(-3, 3)


def widths(shape):
    return st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=len(shape), max_size=len(shape)
    )


def counts(shape):
    return st.integers(0, 3)


def constants(value):
    return lambda shape: st.sampled_from(value)


PARAMETERS = {
    "axis": any_axis,
    "maybe": maybe_axis,
    "axes": axes,
    "keep": flags,
    "flag": flags,
    "order": order,
    "k": small,
    "n": counts,
    "widths": widths,
    "mode": constants(["constant", "edge", "reflect", "symmetric"]),
    "ddof": constants([0, 1]),
    "dtype": constants(["float32", "int32", "bool_", "float16", "uint8", "int64", "complex64"]),
}
ROWS = []


def row(name, expression, numpy="", kinds="x:any", **options):
    """Adds a row; `kinds` as "x:any y:float", parameters by the names in the expression."""
    operands = {}
    for item in kinds.split():
        operand, kind = item.split(":")
        shape_of = options.pop(f"shape_{operand}", broadcasting if operand == "y" else same)
        operands[operand] = (kind, shape_of)
    words = set(re.findall(r"\w+", expression))
    parameters = {p: strategy for p, strategy in PARAMETERS.items() if p in words}
    parameters |= options.pop("parameters", {})
    ROWS.append(Row(name, expression, numpy, operands, parameters, **options))


# The elementwise operations: tests of theirs say how exact they are; here are strides and streams.
ROUGH = {"tan", "power", "erfinv", "arccosh", "arctanh", "degrees", "radians", "log1p", "expm1"}
UNSMOOTH = {
    *("ceil", "floor", "round", "trunc", "sign", "bitwise_invert", "logical_not", "equal"),
    *("isfinite", "isinf", "isnan", "isneginf", "isposinf", "imag", "arccosh", "floor_divide"),
    *("remainder", "divmod"),
}
for case in CASES:
    kind = "any" if case.complex is not None else "number"
    if case.name.startswith("bitwise") or case.name.endswith("shift"):
        kind = "integer"
    smooth = case.name not in UNSMOOTH and case.ulp > 0
    rough = {"tolerance": 20.0 if case.name in ROUGH else 2.0, "gradient": smooth}
    if case.arity == 1:
        row(case.name, f"m.{case.name}(x)", kinds=f"x:{kind}", plain=case.name in ROUGH, **rough)
    elif not case.nonzero:  # MLX ends the process at a division of integers by 0
        other = "count" if case.name.endswith("shift") else kind
        row(case.name, f"m.{case.name}(x, y)", kinds=f"x:{kind} y:{other}", plain=True, **rough)

for name in ("negative", "abs", "square", "isnan", "logical_not", "floor", "sqrt", "exp", "sin"):
    kind = "float" if name in ("sqrt", "exp", "sin", "floor", "square") else "number"
    row(f"np.{name}", f"m.{name}(x)", f"np.{name}(x)", f"x:{kind}", tolerance=2.0)
for name in ("add", "subtract", "multiply", "maximum", "minimum", "equal", "less", "greater_equal"):
    row(f"np.{name}", f"m.{name}(x, y)", f"np.{name}(x, y)", "x:single y:single")

# Reductions and scans
for name in ("sum", "prod", "mean"):
    numpy = f"np.{name}(x, axis=axes, keepdims=keep)"
    if name == "mean":  # np.mean warns of empty operands
        numpy = " / ".join(f"np.sum({of}, axis=axes, keepdims=keep)" for of in ("x", "x * 0 + 1"))
    sums = {"plain": name == "prod", "tolerance": 4.0, "gradient": True}
    row(name, f"m.{name}(x, axes, keep)", numpy, "x:wide", **sums)
    kind = "real" if name == "prod" else "any"  # a product of complex numbers that overflows
    row(name + " any", f"m.{name}(x, axes, keep)", "", f"x:{kind}", plain=True, tolerance=4.0)
for name in ("max", "min"):
    numpy = f"np.{name}(x, axis=axes, keepdims=keep)"
    row(name, f"m.{name}(x, axes, keep)", numpy, "x:real", gradient=True)
for name in ("all", "any"):
    row(name, f"m.{name}(x, axes, keep)", f"np.{name}(x, axis=axes, keepdims=keep)", "x:any")
for name in ("var", "std"):
    numpy = f"np.{name}(x, axis=axes, keepdims=keep, ddof=0)"
    # The derivative of the deviation of equal elements is not defined.
    spread = {"shapes": FULL, "plain": True, "tolerance": 8.0, "gradient": name == "var"}
    row(name, f"m.{name}(x, axes, keep)", numpy, "x:wide", **spread)
    row(name + " ddof", f"m.{name}(x, axes, keep, ddof)", "", "x:float", shapes=FULL, plain=True)
row("std of all", "m.std(x)", "np.std(x)", "x:wide", shapes=MATRICES.filter(lambda s: max(s) > 1),
    plain=True, tolerance=8.0, gradient=True, stretched=False)  # fmt: skip
row("median", "m.median(x, axes, keep)", "np.median(x, axis=axes, keepdims=keep)", "x:wide",
    shapes=FULL)  # fmt: skip
row("logsumexp", "m.logsumexp(x, axes, keep)", kinds="x:float", shapes=FULL, gradient=True)
row("softmax", "m.softmax(x, axes)", kinds="x:float", shapes=FULL, gradient=True)
row("argmax", "m.argmax(x, maybe, keep)", kinds="x:number", shapes=FULL, plain=True)
row("argmin", "m.argmin(x, maybe, keep)", kinds="x:number", shapes=FULL, plain=True)
row("count_nonzero", "m.count_nonzero(x, axis=axes)", "np.count_nonzero(x, axis=axes)", "x:any")
for name in ("cumsum", "cumprod"):
    numpy = f"np.{name}(x, axis=maybe)"
    row(name, f"m.{name}(x, maybe)", numpy, "x:wide", shapes=FULL, plain=True, tolerance=20.0,
        gradient=True)  # fmt: skip
for name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
    kind = "float" if name == "logcumsumexp" else "number"
    how = "reverse=keep, inclusive=flag" if name not in ("cummax", "cummin") else "reverse=keep"
    row(f"{name} ways", f"m.{name}(x, axis, {how})", kinds=f"x:{kind}", shapes=FULL, plain=True,
        tolerance=20.0, gradient=True)  # fmt: skip
for name in ("maximum", "minimum"):
    row(f"cum{name[:3]}", f"m.cum{name[:3]}(x, axis)", f"np.{name}.accumulate(x, axis=axis)",
        "x:real", shapes=FULL)  # fmt: skip

# Order
row("sort", "m.sort(x, axis)", "np.sort(x, axis=axis)", "x:number", shapes=FULL, gradient=True)
row("sort flat", "m.sort(x, None)", "np.sort(x, axis=None)", "x:real", shapes=FULL)
row("argsort", "m.argsort(x, axis)", "np.argsort(x, axis=axis, kind='stable')", "x:real",
    shapes=FULL)  # fmt: skip
row("partition", "m.take(m.partition(x, 0, axis), m.array([0]), axis)", kinds="x:real", shapes=FULL)
row("topk", "m.sort(m.topk(x, 1, axis))", kinds="x:real", shapes=FULL, plain=True)
row("searchsorted", "m.searchsorted(m.sort(x.reshape(-1)), y)", kinds="x:wide y:wide", plain=True,
    shapes=FULL)  # fmt: skip

# Shapes
row("transpose", "m.transpose(x, order)", "np.transpose(x, order)", gradient=True)
row("flatten", "m.flatten(x)", "np.ravel(x)", gradient=True)
row("reshape", "m.reshape(x, (-1, 1))", "np.reshape(x, (-1, 1))", shapes=FULL, gradient=True)
row("flip", "m.flip(x, axes)", "np.flip(x, axes)", gradient=True)
row("roll", "m.roll(x, k, maybe)", "np.roll(x, k, maybe)", shapes=FULL, gradient=True)
row("repeat", "m.repeat(x, n, maybe)", "np.repeat(x, n, maybe)", shapes=FULL, gradient=True)
row("tile", "m.tile(x, (n, 2))", "np.tile(x, (n, 2))", gradient=True)
row("expand_dims", "m.expand_dims(x, (0, -1))", "np.expand_dims(x, (0, -1))", gradient=True)
row("moveaxis", "m.moveaxis(x, axis, 0)", "np.moveaxis(x, axis, 0)", shapes=FULL, gradient=True)
row("swapaxes", "m.swapaxes(x, axis, -1)", "np.swapaxes(x, axis, -1)", shapes=FULL, gradient=True)
row("squeeze", "m.squeeze(x)", "np.squeeze(x)", gradient=True)
row("pad", "m.pad(x, widths)", "np.pad(x, widths)", shapes=FULL, gradient=True)
row("pad modes", "m.pad(x, widths, mode)", "np.pad(x, widths, mode)", shapes=FULL, gradient=True)
row("concatenate", "m.concatenate([x, x], axis)", "np.concatenate([x, x], axis)", gradient=True)
row("concatenate mixed", "m.concatenate([x, z], axis)", kinds="x:any z:any", shapes=FULL)
row("stack", "m.stack([x, x], 0)", "np.stack([x, x], 0)", gradient=True)
row("split", "m.split(x, [1, 2], axis)", "np.split(x, [1, 2], axis)", shapes=FULL, gradient=True)
row("unstack", "m.unstack(x, axis=axis)", shapes=FULL)
row("diagonal", "m.diagonal(x, k)", "np.diagonal(x, k)", shapes=MATRICES, gradient=True)
row("diag", "m.diag(x.reshape(-1)[:6], k)", "np.diag(x.reshape(-1)[:6], k)", shapes=FULL,
    gradient=True)  # fmt: skip
row(
    "trace", "m.trace(x, k)", "np.trace(x, k)", "x:wide", shapes=MATRICES, gradient=True, plain=True
)
row("tril", "m.tril(x, k)", "np.tril(x, k)", shapes=MATRICES, gradient=True)
row("triu", "m.triu(x, k)", "np.triu(x, k)", shapes=MATRICES, gradient=True)
row("contiguous", "m.contiguous(x)", "x")
row("atleast_3d", "m.atleast_3d(x)", "np.atleast_3d(x)")
row("broadcast_to", "m.broadcast_to(x, (2, *shape))", "np.broadcast_to(x, (2, *shape))",
    gradient=True)  # fmt: skip
row("meshgrid", "m.meshgrid(x.reshape(-1), z.reshape(-1))", kinds="x:wide z:wide", shapes=FULL)
row("diff", "m.diff(x, n, axis)", "np.diff(x, n, axis)", "x:wide", shapes=FULL, gradient=True)
row("astype", "x.astype(getattr(m, dtype))", kinds="x:real", plain=True)
row("view", "m.view(x, m.uint8)", kinds="x:number", shapes=FULL)

# Selections
row("where", "m.where(c, x, y)", "np.where(c, x, y)", "c:bool x:single y:single", gradient=False)
row("clip", "m.clip(x, -1, 2)", "np.clip(x, -1, 2)", "x:single")
row("nan_to_num", "m.nan_to_num(x)", "np.nan_to_num(x)", "x:single")
TAKEN = {"parameters": {"i": lambda s: st.lists(st.integers(-1, 0), min_size=1, max_size=3)}}
row("take", "m.take(x, m.array(i) % m.array(x.shape[axis]), axis)",
    "np.take(x, np.array(i) % x.shape[axis], axis)",
    shapes=FULL, gradient=True, **TAKEN)  # fmt: skip
row("take_along_axis", "m.take_along_axis(x, m.argsort(z, axis), axis)",
    "np.take_along_axis(x, np.argsort(z, axis, kind='stable'), axis)", "x:any z:real",
    shapes=FULL)  # fmt: skip
row("index slice", "x[1:, ..., ::2]", "x[1:, ..., ::2]", shapes=MATRICES, gradient=True)
row("index reversed", "x[::-1, None]", "x[::-1, None]", shapes=FULL, gradient=True)
row("index array", "x[m.array([0, 0]), ..., 0]", "x[np.array([0, 0]), ..., 0]", shapes=MATRICES,
    gradient=True)  # fmt: skip
for update in ("add", "multiply", "maximum"):
    row(f"at {update}", f"x.at[m.array([0, 0])].{update}(x[:1])", kinds="x:number", shapes=FULL,
        plain=True, gradient=update != "maximum")  # fmt: skip

# Products
PRODUCT = {"plain": True, "tolerance": 8.0, "gradient": True}
row("matmul", "m.matmul(x, m.swapaxes(z, -1, -2))", "np.matmul(x, np.swapaxes(z, -1, -2))",
    "x:wide z:single", shapes=MATRICES, **PRODUCT)  # fmt: skip
row("matmul halves", "x @ m.swapaxes(x, -1, -2)", kinds="x:float", shapes=MATRICES, **PRODUCT)
row("matmul complex", "m.matmul(x.astype(m.complex64), z.astype(m.complex64).T)",
    kinds="x:wide z:wide", shapes=st.tuples(st.integers(1, 9), st.integers(1, 9)), plain=True,
    tolerance=8.0)  # fmt: skip
row("inner", "m.inner(x, z)", "np.inner(x, z)", "x:wide z:wide", shapes=FULL, **PRODUCT)
row("outer", "m.outer(x, z)", "np.outer(x, z)", "x:wide z:wide", shapes=FULL, **PRODUCT)
row("kron", "m.kron(x, z)", "np.kron(x, z)", "x:wide z:wide", shapes=FULL, **PRODUCT)
row("tensordot", "m.tensordot(x, z, [[axis], [axis]])", "np.tensordot(x, z, [[axis], [axis]])",
    "x:wide z:wide", shapes=FULL, **PRODUCT)  # fmt: skip
row("einsum", "m.einsum('...ij,...kj->...ik', x, z)", "np.einsum('...ij,...kj->...ik', x, z)",
    "x:wide z:wide", shapes=MATRICES, **PRODUCT)  # fmt: skip
row("vecdot", "m.vecdot(x, z, axis=axis)", kinds="x:wide z:wide", shapes=FULL, **PRODUCT)
row("addmm", "m.addmm(z, x, x[..., :1, :] * m.ones((1, 1)), 0.5, 2.0)", kinds="x:wide z:wide",
    shapes=st.integers(1, 9).map(lambda n: (n, n)), plain=True, tolerance=8.0)  # fmt: skip
row("hadamard_transform", "m.hadamard_transform(x.reshape(-1)[:8])", kinds="x:float", plain=True,
    shapes=st.just((3, 4)), tolerance=4.0, gradient=True)  # fmt: skip
row("convolve", "m.convolve(x.reshape(-1), z.reshape(-1))", kinds="x:wide z:wide", plain=True,
    shapes=FULL, tolerance=8.0)  # fmt: skip


def integer_infinity(row, request, ours, theirs):
    """A float that no integer holds."""
    return row.name == "astype" and "int" in request.parameters["dtype"]


def named(*names, gradient=None, dtype=None):
    """A row of these names, of gradients only, of operands of a dtype only."""

    def applies(row, request, ours, theirs):
        dtypes = {operand.dtype for operand in request.inputs.values()}
        return (
            row.name in names
            and (gradient is None or request.gradient == gradient)
            and (dtype is None or dtype in dtypes)
        )

    return applies


def without_axes(row, request, ours, theirs):
    """A reduction that has nothing to reduce over, of a type that sums widen."""
    nothing = request.parameters["shape"] == () or request.parameters.get("axes") == ()
    return row.name in ("sum any", "prod any") and nothing


def over_no_axes(row, request, ours, theirs):
    return row.name == "median" and request.parameters["axes"] == ()


def view_of_view(row, request, ours, theirs):
    return row.name == "view" and request.inputs["x"].layout != "plain"


DIFFERENT = [
    Difference("the value of a float that an integer cannot hold is not defined", integer_infinity),
    Difference("sums over no axes widen narrow integers as others do", without_axes),
    Difference("the median over no axes is the array", over_no_axes),
    Difference("float64 is a dtype", named("hadamard_transform", dtype="float64")),
    Difference("MLX loses gradients through a negative step", named("flip", gradient=True)),
    Difference("likewise", named("index reversed", gradient=True)),
    Difference("MLX takes the mirrored elements for constants", named("pad modes", gradient=True)),
    Difference("MLX loses nan in half types", named("cummax", "cummin", dtype="float16")),
    Difference("likewise", named("cummax", "cummin", dtype="bfloat16")),
    Difference("MLX reads the memory of a view as if it were in order", view_of_view),
    Difference("MLX has no such gradient", named("at multiply", gradient=True)),
]
