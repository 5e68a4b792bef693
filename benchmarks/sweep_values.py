"""Rows of sweep.py that compute: elementwise, reductions, orders, products, transforms."""

import sys
from pathlib import Path

import numpy as np
from sweep_table import FLAT, SIDE, SQUARE, TALL, Operand, row, said, x32

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "python"))

import oracle

# Elementwise: names and spans of the tests' oracle.

IN_NUMPY = {
    "bitwise_invert": np.invert,
    "isneginf": lambda x: np.isneginf(np.real(x)),
    "isposinf": lambda x: np.isposinf(np.real(x)),
    "real": lambda x: np.real(x).copy(),
    "imag": lambda x: np.imag(x).copy(),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
INTEGRAL = {"bitwise_invert", "bitwise_and", "bitwise_or", "bitwise_xor"}
SHIFTS = {"left_shift", "right_shift"}
NO_BOOL = {"negative", "positive", "sign", "square", "subtract", "floor_divide", "remainder"}
NO_BOOL |= {"divmod", "power", "isneginf", "isposinf", "round"}
FLOATING_RESULT = {"divide", "reciprocal", "isclose", "real", "imag"}  # or a view in NumPy


def elementwise_dtypes(case):
    whole_numbers = ["int32", "int8", "int64", "uint16"]
    if case.name in INTEGRAL | SHIFTS:
        return [*whole_numbers, *(["bool"] if case.name in INTEGRAL else [])]
    dtypes = ["float32", "float16", "float64"]
    if case.complex is not None and case.name not in ("degrees", "radians"):
        dtypes.append("complex64")
    exact = case.name in {c.name for c in oracle.CASES[: names.index("degrees")]}
    if (exact and case.name not in FLOATING_RESULT) or case.name == "power":
        dtypes += whole_numbers
        if case.name not in NO_BOOL:
            dtypes.append("bool")
    return dtypes


def elementwise_operands(case, dtype):
    for k, (low, high) in enumerate(case.spans):
        if dtype.startswith(("int", "uint")):
            low, high = (0 if low > 0 else low, high)
            if case.name in SHIFTS and k == 1:
                low, high = 0, 7
            if case.name in ("floor_divide", "remainder", "divmod", "power"):
                low, high = (1 if k else 0), (50 if case.name != "power" else 5)
        elif case.nonzero and k == 1:
            low = 0.5
        low, high = (max(-3e4, low), min(3e4, high)) if dtype == "float16" else (low, high)
        yield Operand(dtype, SQUARE, low, high)


names = [case.name for case in oracle.CASES]
for case in oracle.CASES:
    if case.name in ("erf", "erfinv"):
        continue
    theirs = IN_NUMPY.get(case.name) or getattr(np, case.name)
    for dtype in elementwise_dtypes(case):
        row(
            f"{case.name} {dtype}",
            lambda m, *a, name=case.name: getattr(m, name)(*a),
            *elementwise_operands(case, dtype),
            numpy=lambda m, *a, f=theirs: f(*a),
            checked=not (case.name == "power" and dtype == "complex64"),
        )

LAYOUTS = [("T", "T"), ("", "T"), ("strided", "strided"), ("", "row"), ("", "column")]
for dtype in ("float32", "int8", "float16", "int64"):
    for views in LAYOUTS:
        operands = [x32(view=view, dtype=dtype) for view in views]
        label = ", ".join(view or "contiguous" for view in views)
        row(f"add {dtype} {label}", lambda m, a, b: a + b, *operands)
    row(f"add {dtype} and a scalar", lambda m, a: a + 3, x32(dtype=dtype))
    row(f"power {dtype} of 2", lambda m, a: a**2, x32(dtype=dtype))
    row(f"power {dtype} of 3", lambda m, a: a**3, x32(dtype=dtype))
for dtype in ("uint8", "int16", "int32", "int64"):
    row(f"floor_divide {dtype} by 10", lambda m, a: a // 10, x32(low=0, dtype=dtype))
row("power float32 of 0.5", lambda m, a: a**0.5, x32(low=0))
for view in ("T", "strided"):
    row(f"exp float32 {view}", lambda m, a: m.exp(a), x32(view=view))
    row(f"greater float32 {view}", lambda m, a: a > 0, x32(view=view))
for dtype in ("float32", "int8", "float16", "complex64", "int64"):
    choice = (Operand("bool", SQUARE), x32(dtype=dtype), x32(dtype=dtype, low=0))
    row(f"where {dtype}", lambda m, c, a, b: m.where(c, a, b), *choice)
    row(f"where {dtype} and a scalar", lambda m, c, a: m.where(c, a, 0), *choice[:2])
    row(f"clip {dtype}", lambda m, a: m.clip(a, 0, 2), x32(dtype=dtype))
    pair = [x32(dtype=dtype)] * 2
    row(f"array_equal {dtype}", lambda m, a, b: m.array_equal(a, b), *pair, alike=True)
    if "int" not in dtype:
        row(f"allclose {dtype}", lambda m, a, b: m.allclose(a, b), *pair, alike=True)
        row(f"nan_to_num {dtype}", lambda m, a: m.nan_to_num(a), x32(dtype=dtype))

DTYPES = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 complex64"
for source in DTYPES.split():
    for target in DTYPES.split():
        if source == target or (source == "complex64" and target != "bool"):
            continue  # NumPy warns of a lost imaginary part
        name = "bool_" if target == "bool" else target
        row(
            f"astype {source} to {target}",
            lambda m, a, name=name: a.astype(getattr(m, name)),
            x32(dtype=source, low=0, high=100),
        )
for view in ("T", "strided"):
    row(f"astype float32 to float16 {view}", lambda m, a: a.astype(m.float16), x32(view=view))

# Reductions, searches, orders, scans.

AXES = [(SQUARE, 1), (SQUARE, 0), (SQUARE, None), (TALL, 1), (TALL, 0), ((SIDE * 64, 32), 1),
        ((64, 256, 256), 1), ((16, SIDE * SIDE // 16), 0)]  # fmt: skip
FEW_AXES = [*AXES[:4], AXES[6]]


def along(name, dtype, shape, axis, numpy=None, view="", low=-4.0, high=4.0, **kwargs):
    operand = x32(shape, low, high, view, dtype)
    function = lambda m, x: getattr(m, name)(x, axis=axis, **kwargs)
    theirs = None if numpy is None else lambda m, x: numpy(x, axis)
    row(f"{name} {said(operand)} axis {axis}", function, operand, numpy=theirs)


def log_sum_exp(x, axis):
    top = x.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=axis)) + np.squeeze(top, axis)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def narrow_sum(x, axis):
    return x.sum(axis=axis, dtype=np.int32)


SUMS = ("sum", "max", "min", "prod", "mean", "var", "std", "all", "any", "argmax", "argmin")
for name in SUMS:
    span = {"prod": (1.0, 1.00001), "all": (1, 2), "any": (0, 0)}.get(name, (-4.0, 4.0))
    for shape, axis in AXES:
        along(name, "float32", shape, axis, low=span[0], high=span[1])
    for dtype in ("int32", "int8", "bool", "float16", "float64", "complex64", "int64"):
        if (dtype == "complex64" and name in ("prod", "argmax", "argmin", "var", "std")) or (
            name in ("mean", "var", "std") and dtype in ("int32", "int8", "bool", "int64")
        ):
            continue
        if name == "prod" and dtype in ("bool", "int8", "float16"):
            continue
        narrow = narrow_sum if name == "sum" and dtype in ("bool", "int8") else None
        low, high = span if dtype == "float16" or name != "prod" else (1, 1)
        for shape, axis in FEW_AXES:
            along(name, dtype, shape, axis, narrow, low=low, high=high)
    for view in ("T", "strided"):
        along(name, "float32", SQUARE, 1, view=view, low=span[0], high=span[1])
for shape, axis in [*AXES[:2], AXES[3], AXES[5]]:
    along("logsumexp", "float32", shape, axis, log_sum_exp)
    along("softmax", "float32", shape, axis, softmax)
for shape, axis in [*AXES[:4], AXES[5]]:
    along("median", "float32", shape, axis)
row("sum of a comparison", lambda m, x: (x > 0).sum(), x32(FLAT))
row("sum of squares", lambda m, x: (x * x).sum(), x32(FLAT))
row("sum over axes 0 and 2", lambda m, x: x.sum(axis=(0, 2)), x32((64, 256, 256)))
row("trace", lambda m, x: m.trace(x), x32())
row("cov: x.T @ x", lambda m, x: x.T @ x, x32((8192, 64)))

SORTED = [(SQUARE, 1), (SQUARE, 0), (FLAT, 0), (TALL, 1), ((SIDE * 64, 32), 1)]
SCANS = {"cumsum": np.cumsum, "cumprod": np.cumprod, "cummax": np.maximum.accumulate,
         "cummin": np.minimum.accumulate, "logcumsumexp": np.logaddexp.accumulate}  # fmt: skip
for dtype in ("float32", "int32", "float16", "int8", "float64", "int64", "bool", "uint16"):
    for shape, axis in SORTED if dtype == "float32" else SORTED[:3]:
        along("sort", dtype, shape, axis, low=-1e4, high=1e4)
        if dtype not in ("bool", "uint16"):
            operand = x32(shape, -1e4, 1e4, dtype=dtype)
            label = f"{said(operand)} axis {axis}"
            kth = shape[axis] // 2
            indices = lambda m, x, a=axis: m.argsort(x, axis=a)
            row(f"argsort {label}", indices, operand, checked=False)
            part = lambda m, x, k=kth, a=axis: m.partition(x, k, axis=a)
            row(f"partition {label}", part, operand, checked=False)
            part = lambda m, x, k=kth, a=axis: m.argpartition(x, k, axis=a)
            row(f"argpartition {label}", part, operand, checked=False)
            top = lambda m, x, a=axis: m.topk(x, 2, axis=a)
            best = lambda m, x, a=axis: np.take(np.partition(x, -2, axis=a), [-2, -1], axis=a)
            row(f"topk 2 {label}", top, operand, numpy=best, checked=False)
row("sort float32 2048x2048 T axis 1", lambda m, x: m.sort(x, axis=1), x32(view="T"))
for name, reference in SCANS.items():
    dtypes = ("float32",) if name == "logcumsumexp" else ("float32", "int32", "float64", "int64")
    for dtype in dtypes:
        for shape, axis in FEW_AXES[:2] + [(FLAT, 0), *FEW_AXES[3:], (TALL, 0)]:
            span = (1, 1) if name == "cumprod" else (-4, 4)
            theirs = lambda x, axis, f=reference: f(x, axis=axis)
            along(name, dtype, shape, axis, theirs, low=span[0], high=span[1])
row("cumsum float16 axis 1", lambda m, x: m.cumsum(x, axis=1), x32(SQUARE, 0, 0.1, dtype="float16"))
row("cumsum float32 T axis 1", lambda m, x: m.cumsum(x, axis=1), x32(view="T"))
for axis in (0, 1):
    row(f"diff axis {axis}", lambda m, x, a=axis: m.diff(x, axis=a), x32())

# Products and linear algebra.

for dtype in ("float32", "float64", "complex64"):
    x = x32((512, 512), dtype=dtype)
    row(f"matmul {dtype} 512", lambda m, a, b: a @ b, x, x)
    row(f"matmul {dtype} 4096 of 8x8", lambda m, a, b: a @ b, *[x32((4096, 8, 8), dtype=dtype)] * 2)
    row(
        f"matmul {dtype} matrix, vector",
        lambda m, a, b: a @ b,
        x32(dtype=dtype),
        x32((SIDE,), dtype=dtype),
    )
    row(
        f"matmul {dtype} vector, matrix",
        lambda m, a, b: b @ a,
        x32(dtype=dtype),
        x32((SIDE,), dtype=dtype),
    )
row("matmul float32 T", lambda m, a, b: a @ b, x32((1024, 1024), view="T"), x32((1024, 1024)))
row("matmul float32 64 of 128", lambda m, a, b: a @ b, *[x32((64, 128, 128))] * 2)
row("matmul float32 tall", lambda m, a, b: a @ b, x32((SIDE * 64, 32)), x32((32, 32)))
row("matmul float32 4 columns", lambda m, a, b: a @ b, x32(TALL), x32((4, 4)))
row("inner", lambda m, a, b: m.inner(a, b), *[x32((512, 512))] * 2)
row("inner of vectors", lambda m, a, b: m.inner(a, b), *[x32(FLAT)] * 2)
row("vecdot", lambda m, a, b: m.vecdot(a, b), *[x32()] * 2)
row("vecdot short rows", lambda m, a, b: m.vecdot(a, b), *[x32(TALL)] * 2)
row("outer", lambda m, a, b: m.outer(a, b), *[x32((SIDE,))] * 2)
row(
    "tensordot",
    lambda m, a, b: m.tensordot(a, b, axes=2),
    *[x32((64, 32, 512))] * 1,
    x32((32, 512, 64)),
)
row("kron", lambda m, a, b: m.kron(a, b), *[x32((45, 45))] * 2)
row("einsum ij,jk->ik", lambda m, a, b: m.einsum("ij,jk->ik", a, b), *[x32((256, 256))] * 2)
row("einsum ij->j", lambda m, a: m.einsum("ij->j", a), x32())
row(
    "einsum bij,bjk->bik", lambda m, a, b: m.einsum("bij,bjk->bik", a, b), *[x32((256, 16, 16))] * 2
)
row("convolve", lambda m, a, b: m.convolve(a, b), x32(FLAT), x32((9,)))
row("addmm", lambda m, c, a, b: m.addmm(c, a, b), *[x32((512, 512))] * 3,
    numpy=lambda m, c, a, b: c + a @ b)  # fmt: skip


def near_identity(size, batch=()):
    """Symmetric matrices, well conditioned."""

    def make(rng):
        a = rng.standard_normal((*batch, size, size), np.float32) * np.float32(0.1)
        return (a + np.swapaxes(a, -1, -2) + size * np.eye(size, dtype=np.float32)) / size

    return Operand("float32", (*batch, size, size), make=make)


LINALG = {
    "inv": lambda m, a: m.linalg.inv(a),
    "pinv": lambda m, a: m.linalg.pinv(a),
    "cholesky": lambda m, a: m.linalg.cholesky(a),
    "qr": lambda m, a: m.linalg.qr(a),
    "svd": lambda m, a: m.linalg.svd(a),
    "eigh": lambda m, a: m.linalg.eigh(a),
    "eigvalsh": lambda m, a: m.linalg.eigvalsh(a),
    "eig": lambda m, a: m.linalg.eig(a),
    "eigvals": lambda m, a: m.linalg.eigvals(a),
    "det": lambda m, a: m.linalg.det(a),
    "slogdet": lambda m, a: m.linalg.slogdet(a),
    "solve": lambda m, a: m.linalg.solve(a, a),
    "cholesky_inv": lambda m, a: m.linalg.cholesky_inv(m.linalg.cholesky(a)),
    "tri_inv": lambda m, a: m.linalg.tri_inv(m.tril(a)),
    "solve_triangular": lambda m, a: m.linalg.solve_triangular(m.tril(a), a),
}
OTHERWISE = {
    "cholesky_inv": lambda m, a: np.linalg.inv(a),
    "tri_inv": lambda m, a: np.linalg.inv(np.tril(a)),
    "solve_triangular": lambda m, a: np.linalg.solve(np.tril(a), a),
}
for name, function in LINALG.items():
    for label, matrix in (("512", near_identity(512)), ("4096 of 8x8", near_identity(8, (4096,)))):
        if name in ("eig", "eigvals") and label == "512":
            matrix = near_identity(256)
            label = "256"
        exact = name in ("inv", "cholesky", "det", "slogdet", "solve", *OTHERWISE)
        row(f"linalg.{name} {label}", function, matrix, numpy=OTHERWISE.get(name), checked=exact)
for order in (None, 1, 2, "fro"):
    row(f"linalg.norm {order}", lambda m, a, o=order: m.linalg.norm(a, o), near_identity(512))
row("linalg.norm axis 1", lambda m, a: m.linalg.norm(a, axis=1), x32())
row("linalg.norm short rows", lambda m, a: m.linalg.norm(a, axis=1), x32(TALL))
row("linalg.cross", lambda m, a, b: m.linalg.cross(a, b), *[x32((SIDE * 512, 3))] * 2)

# Fourier transforms.

C64 = "complex64"
for length in (8, 64, 100, 512, 1000, 4096, 1 << 20, 1000003):
    points = SIDE * SIDE // 4
    shape = (max(1, points // length), length)
    for name in ("fft", "ifft", "rfft"):
        operand = x32(shape, dtype="float32" if name == "rfft" else C64)
        label = f"fft.{name} {shape[0]}x{length}"
        row(label, lambda m, x, f=name: getattr(m.fft, f)(x), operand)
    half = x32((shape[0], length // 2 + 1), dtype=C64)
    row(f"fft.irfft {shape[0]}x{length}", lambda m, x, n=length: m.fft.irfft(x, n=n), half)
row("fft.fft axis 0", lambda m, x: m.fft.fft(x, axis=0), x32((1024, 1024), dtype=C64))
row("fft.rfft axis 0", lambda m, x: m.fft.rfft(x, axis=0), x32((1024, 1024)))
row("fft.fft of float32", lambda m, x: m.fft.fft(x), x32((1024, 1024)))
for name in ("fft2", "ifft2", "fftn", "ifftn"):
    row(f"fft.{name}", lambda m, x, f=name: getattr(m.fft, f)(x), x32((1024, 1024), dtype=C64))
for name in ("rfft2", "rfftn"):
    row(f"fft.{name}", lambda m, x, f=name: getattr(m.fft, f)(x), x32((1024, 1024)))
for name in ("irfft2", "irfftn"):
    row(f"fft.{name}", lambda m, x, f=name: getattr(m.fft, f)(x), x32((1024, 513), dtype=C64))
for name in ("fftshift", "ifftshift"):
    row(f"fft.{name}", lambda m, x, f=name: getattr(m.fft, f)(x), x32())
row("fft.fftfreq", lambda m: m.fft.fftfreq(SIDE * SIDE))
row("fft.rfftfreq", lambda m: m.fft.rfftfreq(SIDE * SIDE))

# Random numbers.

RNG = np.random.default_rng(3)
uniform = lambda m: RNG.random(FLAT, np.float32)
RANDOM = {
    "uniform": (lambda m: m.random.uniform(shape=FLAT), uniform),
    "normal": (
        lambda m: m.random.normal(FLAT),
        lambda m: RNG.standard_normal(FLAT, np.float32),
    ),
    "randint": (
        lambda m: m.random.randint(0, 1000, FLAT),
        lambda m: RNG.integers(0, 1000, FLAT, np.int32),
    ),
    "bernoulli": (lambda m: m.random.bernoulli(0.5, FLAT), lambda m: uniform(m) < 0.5),
    "permutation": (
        lambda m: m.random.permutation(SIDE * SIDE),
        lambda m: RNG.permutation(SIDE * SIDE),
    ),
    "gumbel": (lambda m: m.random.gumbel(FLAT), lambda m: RNG.gumbel(size=FLAT)),
    "laplace": (lambda m: m.random.laplace(FLAT), lambda m: RNG.laplace(size=FLAT)),
    "truncated_normal": (
        lambda m: m.random.truncated_normal(-50, 50, FLAT),
        lambda m: RNG.standard_normal(FLAT, np.float32),  # does less: NumPy has no other
    ),
    "multivariate_normal": (
        lambda m: m.random.multivariate_normal(m.zeros(3), m.eye(3), (SIDE * 128,)),
        lambda m: RNG.multivariate_normal(np.zeros(3), np.eye(3), (SIDE * 128,)),
    ),
}
for name, (mine, theirs) in RANDOM.items():
    row(f"random.{name}", mine, numpy=theirs, checked=False)
row("random.permutation of rows", lambda m, x: m.random.permutation(x), x32(),
    numpy=lambda m, x: RNG.permutation(x), checked=False)  # fmt: skip
