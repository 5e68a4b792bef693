"""The Python array API standard, version 2024.12: names, parameters and values.

The values are those of array_api_strict, and some tests ask array_api_compat; both are skipped
where the package is not installed.
"""

import importlib
import inspect
import warnings

import numpy as np
import pytest
from support import mx, rill_only, to_numpy

pytestmark = rill_only

ELEMENTWISE = """
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert
bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1
floor floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p
log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh
square sqrt subtract tan tanh trunc
"""
FUNCTIONS = (
    ELEMENTWISE
    + """
arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like
tril triu zeros zeros_like astype can_cast finfo iinfo isdtype result_type take take_along_axis
matmul matrix_transpose tensordot vecdot broadcast_arrays broadcast_to concat expand_dims flip
moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin count_nonzero
nonzero searchsorted where unique_all unique_counts unique_inverse unique_values argsort sort
cumulative_prod cumulative_sum max mean min prod std sum var all any diff
__array_namespace_info__
"""
)
CONSTANTS = "e inf nan newaxis pi __array_api_version__"
TYPES = """
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
"""
LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""
FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"
METHODS = """
__abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__
__eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__
__lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__
__setitem__ __sub__ __truediv__ __xor__ to_device __iadd__ __radd__ __iand__ __rand__
__ifloordiv__ __rfloordiv__ __ilshift__ __rlshift__ __imatmul__ __rmatmul__ __imod__ __rmod__
__imul__ __rmul__ __ior__ __ror__ __ipow__ __rpow__ __irshift__ __rrshift__ __isub__ __rsub__
__itruediv__ __rtruediv__ __ixor__ __rxor__ dtype device mT ndim shape size T
"""

ABSENT = {"complex128": "there is no complex number of double precision, as in MLX"}
# Parameters of the standard that a function lacks.
LACKING: dict[tuple[str, str], str] = {}


def found(owner, names):
    missing = [name for name in names.split() if not hasattr(owner, name) and name not in ABSENT]
    assert not missing


def test_every_name_of_the_standard_is_there():
    found(mx, FUNCTIONS + CONSTANTS + " " + TYPES)
    found(mx.linalg, LINALG)
    found(mx.fft, FFT)
    found(mx.array([[1.0]]), METHODS)
    assert mx.__array_api_version__ == "2024.12" and mx.newaxis is None and mx.bool == mx.bool_
    assert mx.array(1).__array_namespace__(api_version="2024.12") is mx
    assert not any(hasattr(mx, name) for name in ABSENT)
    names = {}
    exec(f"from {mx.__name__} import *", names)
    assert "bool" not in names and "bool_" in names


@pytest.fixture
def strict():
    """The reference; it warns that it knows later versions, too."""
    package = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package.set_array_api_strict_flags(api_version="2024.12")
    return package


@pytest.fixture
def compat():
    return pytest.importorskip("array_api_compat", reason="array_api_compat is not installed")


def test_the_list_of_names_is_that_of_the_reference(strict):
    public = strict.__all__
    listed = set((FUNCTIONS + CONSTANTS + TYPES).split()) | {"linalg", "fft"}
    own = {name for name in public if "strict" not in name.lower()}
    later = {"isin", "broadcast_shapes", "Device"}
    assert own - listed - later - {"__array_namespace_info__", "__version__"} == set()
    assert set(strict.linalg.__all__) - {"eig", "eigvals"} <= set(LINALG.split())
    assert set(strict.fft.__all__) <= set(FFT.split())


def parameters(function):
    """The names of the parameters of a function of this module, of all its overloads."""
    return " ".join(str(signature[0]) for signature in function.__nb_signature__)


@pytest.mark.parametrize("part", ["", "linalg", "fft"])
def test_every_parameter_by_keyword_is_there(part, strict):
    names = {"": FUNCTIONS, "linalg": LINALG, "fft": FFT}[part].split()
    reference, own = (getattr(m, part) if part else m for m in (strict, mx))
    missing = []
    for name in names:
        if name.startswith("__") or name in ("finfo", "iinfo"):
            continue
        for parameter in inspect.signature(getattr(reference, name)).parameters.values():
            if parameter.kind is not parameter.KEYWORD_ONLY or (name, parameter.name) in LACKING:
                continue
            if f" {parameter.name}:" not in parameters(getattr(own, name)):
                missing.append((name, parameter.name))
    assert not missing


# Values ---------------------------------------------------------------------------------------

SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = ("uint8", "uint16", "uint32", "uint64", *SIGNED)
FLOATS = ("float32", "float64")
COMPLEX = ("complex64",)
NUMBERS = INTEGERS + FLOATS + COMPLEX
ALL = ("bool", *NUMBERS)
SHAPES = [(), (0,), (3,), (2, 0), (2, 3), (3, 1, 3)]
MATRICES = [(3, 3), (2, 3, 3), (0, 3, 3)]


def words(text):
    return text.split()


# An expression, the dtypes of its operands, and their shapes where these are not all.
ROWS = [
    *[(f"xp.{f}(x)", FLOATS + COMPLEX) for f in words("""
        acos acosh asin asinh atan atanh cos cosh exp log log1p log2 log10 sin sinh sqrt tan
        tanh reciprocal""")],
    *[(f"xp.{f}(x)", NUMBERS) for f in words("negative positive square sign isfinite isnan isinf")],
    *[(f"xp.{f}(x)", INTEGERS + FLOATS) for f in words("ceil floor trunc round")],
    ("xp.expm1(x)", FLOATS),  # of complex numbers not defined, as in MLX
    ("xp.abs(x)", NUMBERS),
    ("xp.signbit(x)", FLOATS),
    ("xp.conj(x)", COMPLEX), ("xp.real(x)", COMPLEX), ("xp.imag(x)", COMPLEX),
    ("xp.logical_not(x)", ("bool",)), ("xp.bitwise_invert(x)", ("bool", *INTEGERS)),
    *[(f"xp.{f}(x, y)", FLOATS) for f in words("atan2 copysign hypot nextafter logaddexp")],
    *[(f"xp.{f}(x, y)", NUMBERS) for f in words("add subtract multiply equal not_equal")],
    *[(f"xp.{f}(x, y)", INTEGERS + FLOATS) for f in
      words("less less_equal greater greater_equal maximum minimum")],
    *[(f"xp.{f}(x, y)", ("bool", *INTEGERS)) for f in words("bitwise_and bitwise_or bitwise_xor")],
    *[(f"xp.{f}(x, y)", ("bool",)) for f in words("logical_and logical_or logical_xor")],
    *[(f"xp.{f}(xp.abs(x), xp.abs(y))", INTEGERS) for f in words("bitwise_left_shift pow")],
    ("xp.divide(x, y)", FLOATS + COMPLEX), ("xp.pow(xp.abs(x), y)", FLOATS),
    ("xp.remainder(x, xp.abs(y) + 1)", INTEGERS + FLOATS),
    ("xp.floor_divide(xp.abs(x), xp.abs(y) + 1)", INTEGERS + FLOATS),
    ("xp.clip(x, 0, 1)", INTEGERS + FLOATS), ("xp.clip(x, min=1)", SIGNED + FLOATS),
    ("xp.clip(x, max=y)", SIGNED + FLOATS),
    *[(f"x {op} y", NUMBERS) for op in ("+", "-", "*", "==", "!=")],
    *[(f"x {op} y", INTEGERS + FLOATS) for op in ("<", "<=", ">", ">=")],
    ("-x", SIGNED + FLOATS), ("abs(x)", NUMBERS), ("+x", NUMBERS), ("x + 1", NUMBERS),
    ("2 - x", SIGNED + FLOATS), ("x * 2.5", FLOATS), ("x.T", ALL, [(2, 3), (0, 2)]),
    ("x.mT", ALL, MATRICES),
    # Creation.
    *[(f"xp.{f}_like(x)", ALL) for f in ("zeros", "ones")],
    ("xp.full_like(x, 1)", NUMBERS), ("xp.zeros(x.shape, dtype=x.dtype, device=x.device)", ALL),
    ("xp.ones(x.shape, dtype=x.dtype)", ALL), ("xp.full(x.shape, 2, dtype=x.dtype)", NUMBERS),
    ("xp.zeros_like(x, dtype=xp.int16, device=x.device)", ALL),
    ("xp.asarray(x, dtype=xp.float64)", INTEGERS + FLOATS), ("xp.asarray(x, copy=True)", ALL),
    ("xp.eye(3, 4, k=-1, dtype=x.dtype)", NUMBERS, [()]), ("xp.eye(2, dtype=x.dtype)", ALL, [()]),
    ("xp.arange(5, dtype=x.dtype)", INTEGERS + FLOATS, [()]),
    ("xp.arange(1, 8, 3, dtype=x.dtype, device=x.device)", INTEGERS + FLOATS, [()]),
    ("xp.linspace(0, 1, 5, dtype=x.dtype)", FLOATS, [()]),
    ("xp.linspace(0, 1, num=4, endpoint=False, dtype=x.dtype)", FLOATS, [()]),
    ("xp.tril(x, k=1)", ALL, MATRICES), ("xp.triu(x, k=-1)", ALL, MATRICES),
    *[(f"xp.meshgrid(x, y, indexing='{way}')", NUMBERS, [(3,), (0,)]) for way in ("xy", "ij")],
    # Dtypes.
    ("xp.astype(x, xp.float32, copy=False)", INTEGERS + FLOATS),
    ("xp.astype(x, xp.bool)", INTEGERS + FLOATS),
    ("xp.astype(x, xp.int64, device=x.device)", INTEGERS),
    ("xp.can_cast(x, xp.float64)", FLOATS, [(3,)]),
    ("xp.can_cast(x.dtype, xp.int64)", INTEGERS, [(3,)]),
    *[(f"xp.isdtype(x.dtype, '{kind}')", ALL, [()]) for kind in
      ("bool", "signed integer", "unsigned integer", "integral", "real floating",
       "complex floating", "numeric")],
    ("xp.isdtype(x.dtype, ('bool', 'integral'))", ALL, [()]),
    *[(f"float(xp.finfo(x.dtype).{a})", FLOATS, [()]) for a in
      ("bits", "eps", "max", "min", "smallest_normal")],
    *[(f"str(xp.result_type({row})).split('.')[-1]", FLOATS, [()]) for row in
      ("x, y", "x.dtype, xp.float64", "x, 1", "2.5, x")],
    *[(f"str(xp.result_type({row})).split('.')[-1]", INTEGERS, [()]) for row in ("x, y", "1, x")],
    ("int(xp.finfo(x).bits)", FLOATS, [()]), ("int(xp.iinfo(x).bits)", INTEGERS, [()]),
    *[(f"int(xp.iinfo(x.dtype).{a})", INTEGERS, [()]) for a in ("bits", "max", "min")],
    # Shapes.
    ("xp.reshape(x, (-1,), copy=True)", ALL, [(), (3,), (2, 3)]),
    ("xp.reshape(x, (3, 2))", ALL, [(2, 3)]), ("xp.permute_dims(x, (1, 0))", ALL, [(2, 3)]),
    ("xp.moveaxis(x, 0, -1)", ALL, [(2, 3), (3, 1, 3)]), ("xp.matrix_transpose(x)", ALL, MATRICES),
    ("xp.expand_dims(x, axis=0)", ALL), ("xp.squeeze(x, axis=1)", ALL, [(3, 1, 3)]),
    ("xp.flip(x)", ALL), ("xp.flip(x, axis=0)", ALL, [(3,), (2, 0), (2, 3)]),
    ("xp.roll(x, 1)", ALL), ("xp.roll(x, (1, 2), axis=(0, 1))", ALL, [(2, 3)]),
    ("xp.tile(x, (2, 1))", ALL, [(3,), (2, 3)]), ("xp.repeat(x, 2, axis=0)", ALL, [(3,), (2, 3)]),
    ("xp.repeat(x, 2)", ALL, [(3,), (2, 3)]), ("xp.unstack(x, axis=1)", ALL, [(2, 3), (2, 0)]),
    ("xp.concat([x, y], axis=0)", ALL, [(3,), (2, 3), (0,)]),
    ("xp.concat((x, y), axis=None)", ALL, [(3,), (2, 3)]), ("xp.stack([x, y], axis=-1)", ALL),
    ("xp.broadcast_to(x, (2, *x.shape))", ALL),
    ("xp.broadcast_arrays(x, y[None, ...])", ALL, [(3,)]),
    # Indexing and searching.
    ("x[..., None]", ALL), ("x[::-1, ...]", ALL, [(3,), (2, 3)]), ("x[1, ...]", ALL, [(2, 3)]),
    ("x[x > y]", INTEGERS + FLOATS), ("xp.where(x > y, x, y)", INTEGERS + FLOATS),
    ("xp.take(x, xp.asarray([1, 0]), axis=0)", ALL, [(3,), (2, 3)]),
    ("xp.take_along_axis(x, xp.asarray([[0], [1]]), axis=1)", ALL, [(2, 3)]),
    *[(f"xp.{f}(x)", INTEGERS + FLOATS, [(), (3,), (2, 3)]) for f in ("argmax", "argmin")],
    *[(f"xp.{f}(x, axis=0, keepdims=True)", INTEGERS + FLOATS, [(3,), (2, 3)]) for f in
      ("argmax", "argmin")],
    ("xp.count_nonzero(x)", ALL), ("xp.count_nonzero(x, axis=-1, keepdims=True)", ALL, [(2, 3)]),
    ("xp.nonzero(x)", ALL, [(3,), (2, 3), (0,)]),
    *[(f"xp.searchsorted(xp.sort(x), y, side='{side}')", INTEGERS + FLOATS, [(3,), (0,)])
      for side in ("left", "right")],
    ("xp.searchsorted(x, y, sorter=xp.argsort(x))", INTEGERS + FLOATS, [(3,)]),
    *[(f"xp.{f}(x)", INTEGERS + FLOATS, [(3,), (2, 3), (0,)]) for f in
      ("unique_all", "unique_counts", "unique_inverse", "unique_values")],
    *[(f"xp.{f}(x, axis={axis}, descending={falls}, stable=True)", INTEGERS + FLOATS,
       [(3,), (2, 3), (2, 0), (3, 1, 3)]) for f in ("sort", "argsort") for axis in (0, -1)
      for falls in (False, True)],
    # Reductions.
    *[(f"xp.{f}(x, axis={axis}, keepdims={kept})", ("bool", *INTEGERS, *FLOATS),
       [(2, 3), (3, 1, 3)]) for f in ("all", "any") for axis in (None, 0, (0, 1))
      for kept in (False, True)],
    *[(f"xp.{f}(x, axis={axis}, keepdims=True)", INTEGERS + FLOATS, [(2, 3), (3, 1, 3)])
      for f in ("max", "min", "sum", "prod") for axis in (None, -1, (0, 1))],
    *[(f"xp.{f}(x)", NUMBERS) for f in ("sum", "prod")],
    *[(f"xp.{f}(x, dtype=xp.float64)", INTEGERS + FLOATS) for f in ("sum", "prod")],
    *[(f"xp.{f}(x)", FLOATS, [(), (3,), (2, 3)]) for f in ("mean", "std", "var")],
    *[(f"xp.{f}(x, axis=-1, correction=1, keepdims=True)", FLOATS, [(3,), (2, 3)])
      for f in ("std", "var")],
    *[(f"xp.{f}(x, axis={axis}, include_initial={first})", INTEGERS + FLOATS, [(2, 3), (3, 0)])
      for f in ("cumulative_sum", "cumulative_prod") for axis in (0, 1) for first in (False, True)],
    ("xp.cumulative_sum(x, dtype=xp.float64)", INTEGERS + FLOATS, [(3,), (0,)]),
    ("xp.diff(x)", SIGNED + FLOATS, [(3,), (2, 3)]), ("xp.diff(x, n=2, axis=0)", FLOATS, [(3, 2)]),
    ("xp.diff(x, axis=0, prepend=y, append=x)", FLOATS, [(3,), (2, 3)]),
    # Products.
    *[(f"xp.{f}(x, y)", FLOATS + COMPLEX, MATRICES) for f in ("matmul", "linalg.matmul")],
    ("x @ y", FLOATS, [(3,), *MATRICES]), ("xp.tensordot(x, y, axes=1)", FLOATS, [(3, 3)]),
    ("xp.tensordot(x, y, axes=((0,), (1,)))", FLOATS, [(3, 3)]),
    ("xp.vecdot(x, y)", FLOATS + COMPLEX, [(3,), (2, 3)]),
    ("xp.vecdot(x, y, axis=-2)", FLOATS, [(2, 3)]),
    ("xp.linalg.outer(x, y)", NUMBERS, [(3,), (0,)]),
    # Linear algebra.
    ("xp.linalg.cholesky(m)", FLOATS, MATRICES),
    ("xp.linalg.cholesky(m, upper=True)", FLOATS, MATRICES),
    ("xp.linalg.cross(x, y)", FLOATS, [(3,), (2, 3)]), ("xp.linalg.det(x)", FLOATS, MATRICES),
    ("xp.linalg.diagonal(x, offset=1)", ALL, MATRICES),
    ("xp.linalg.trace(x, offset=-1)", FLOATS, MATRICES),
    ("xp.linalg.trace(x, dtype=xp.float64)", FLOATS, MATRICES),
    ("xp.linalg.eigvalsh(m)", FLOATS, MATRICES),
    ("xp.linalg.eigh(m).eigenvalues", FLOATS, MATRICES),
    ("xp.linalg.inv(m)", FLOATS, MATRICES), ("xp.linalg.pinv(x)", FLOATS, [(3, 3), (2, 3)]),
    ("xp.linalg.pinv(x, rtol=0.5)", FLOATS, [(3, 3), (2, 3)]),
    *[(f"xp.linalg.matrix_norm(x, ord={order!r}, keepdims=True)", FLOATS, [(3, 3), (2, 2, 3)])
      for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))],
    *[(f"xp.linalg.matrix_power(m, {n})", FLOATS, [(3, 3), (2, 3, 3)]) for n in (-2, 0, 1, 5)],
    ("xp.linalg.matrix_rank(x)", FLOATS, [(3, 3), (2, 2, 3)]),
    ("xp.linalg.matrix_rank(m, rtol=0.2)", FLOATS, [(3, 3), (2, 3, 3)]),
    ("xp.abs(xp.linalg.qr(x, mode='complete').R)", FLOATS, [(3, 3), (3, 2)]),
    ("xp.linalg.qr(x, mode='complete').Q.shape", FLOATS, [(3, 3), (3, 2), (2, 3)]),
    ("xp.linalg.slogdet(x)", FLOATS, MATRICES), ("xp.linalg.solve(m, x)", FLOATS, MATRICES),
    ("xp.linalg.svd(x, full_matrices=False).S", FLOATS, [(3, 3), (2, 3)]),
    *[(f"[part.shape for part in xp.linalg.svd(x, full_matrices={full})]", FLOATS, [(2, 3), (3, 2)])
      for full in (False, True)],
    ("xp.linalg.svdvals(x)", FLOATS, [(3, 3), (2, 3)]),
    *[(f"xp.linalg.vector_norm(x, ord={order!r})", FLOATS + COMPLEX, [(), (3,), (2, 3)])
      for order in (0, 1, 2, 3.5, float("inf"), -float("inf"))],
    ("xp.linalg.vector_norm(x, axis=(0, 1), keepdims=True)", FLOATS, [(2, 3), (3, 1, 3)]),
    # Transforms.
    *[(f"xp.fft.{f}(x)", COMPLEX, [(3,), (2, 3)])
      for f in words("fft ifft fftn ifftn fftshift ifftshift")],
    *[(f"xp.fft.{f}(x, norm='ortho')", ("float32",), [(3,), (2, 3)]) for f in words("rfft rfftn")],
    *[(f"xp.fft.{f}(x, n=5, norm='{norm}')", COMPLEX, [(3,), (2, 3)]) for f in words("hfft irfft")
      for norm in ("backward", "forward", "ortho")],
    *[(f"xp.fft.ihfft(x, norm='{norm}')", ("float32",), [(3,), (2, 4)])
      for norm in ("backward", "forward", "ortho")],
    *[(f"xp.fft.{f}(5, d=0.5, dtype=xp.float64, device=x.device)", ("float64",), [()])
      for f in ("fftfreq", "rfftfreq")],
]  # fmt: skip


def operands(name, shape):
    """Two arrays, and a positive definite matrix where the shape is that of a square one."""
    rng = np.random.default_rng([len(name), *shape])
    if name == "bool":
        x, y = (rng.integers(0, 2, shape).astype(bool) for _ in range(2))
    elif name in INTEGERS:
        x, y = (rng.integers(0, 5, shape).astype(name) for _ in range(2))
        if name in SIGNED:
            x, y = x - np.asarray(2, name), y - np.asarray(2, name)
    else:
        x, y = (rng.uniform(0.1, 0.9, shape) for _ in range(2))
        if name in COMPLEX:
            x = x + 1j * rng.uniform(-0.5, 0.5, shape)
        x, y = np.asarray(x, name), np.asarray(y, name)
    m = x
    if len(shape) >= 2 and shape[-1] == shape[-2] and name in FLOATS:
        m = np.asarray(x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1]), name)
    return {"x": np.asarray(x), "y": np.asarray(y), "m": np.asarray(m)}


def given_to(xp, arrays, name):
    dtype = getattr(xp, name)
    return {key: xp.asarray(value, dtype=dtype) for key, value in arrays.items()}


def plain(result):
    """Nested lists of NumPy arrays and Python values."""
    if isinstance(result, (tuple, list)):
        return [plain(item) for item in result]
    if isinstance(result, mx.array):
        return to_numpy(result)
    return np.asarray(result) if hasattr(result, "__array_namespace__") else result


def kind(array):
    return {"u": "i"}.get(array.dtype.kind, array.dtype.kind)


def assert_equal(own, reference, wide):
    if isinstance(reference, list):
        assert len(own) == len(reference)
        for a, b in zip(own, reference):
            assert_equal(a, b, wide)
    elif isinstance(reference, np.ndarray):
        assert own.shape == reference.shape and kind(own) == kind(reference)
        tolerance = 1e-11 if wide else 2e-5
        np.testing.assert_allclose(own, reference, rtol=tolerance, atol=tolerance)
    else:
        assert own == pytest.approx(reference) if isinstance(own, float) else own == reference


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_values(row, strict):
    expression, dtypes, *shapes = row
    for name in dtypes:
        for shape in shapes[0] if shapes else SHAPES:
            given = operands(name, shape)
            with np.errstate(all="ignore"):
                reference = eval(
                    expression, {"xp": strict, "inf": np.inf, **given_to(strict, given, name)}
                )
                own = eval(expression, {"xp": mx, "inf": np.inf, **given_to(mx, given, name)})
            assert_equal(plain(own), plain(reference), name == "float64")


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38, 1e-38, 1.5e30]


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_special_values_of_what_mlx_lacks(name):
    """The functions on bits, and hypot, over all pairs; NumPy has them all."""
    x, y = (a.astype("float32").ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
    x, y = (mx.array(a).astype(getattr(mx, name)) for a in (x, y))
    a, b = (to_numpy(v) for v in (x, y))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(to_numpy(mx.signbit(x)), np.signbit(a))
        np.testing.assert_array_equal(to_numpy(mx.copysign(x, y)), np.copysign(a, b))
        np.testing.assert_array_equal(
            np.signbit(to_numpy(mx.copysign(x, y))), np.signbit(np.copysign(a, b))
        )
        limit = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 3e-7}.get(name, 1e-15)
        np.testing.assert_allclose(to_numpy(mx.hypot(x, y)), np.hypot(a, b), rtol=limit)
        if name != "bfloat16":
            np.testing.assert_array_equal(to_numpy(mx.nextafter(x, y)), np.nextafter(a, b))
    step = mx.nextafter(mx.array(1.0).astype(x.dtype), mx.array(2.0).astype(x.dtype))
    assert (step - 1).item() == mx.finfo(x.dtype).eps


def test_what_they_refuse():
    for call in (
        lambda: mx.signbit(mx.array([1])),
        lambda: mx.hypot(mx.array([1]), mx.array([2])),
        lambda: mx.nextafter(mx.array([True]), mx.array([2])),
        lambda: mx.linalg.matrix_power(mx.ones((2, 3)), 2),
        lambda: mx.linalg.matrix_rank(mx.ones(3)),
        lambda: mx.linalg.vector_norm(mx.array([1])),
        lambda: mx.linalg.qr(mx.ones((2, 2)), mode="raw"),
        lambda: mx.matrix_transpose(mx.ones(3)),
        lambda: mx.std(mx.ones(3), correction=0.5),
        lambda: mx.zeros(3, stream=mx.cpu, device=mx.cpu),
        lambda: mx.clip(mx.ones(3)),
        lambda: mx.cumulative_sum(mx.ones(3), reverse=True, include_initial=True),
    ):
        with pytest.raises(ValueError):
            call()


def test_derivatives_of_what_mlx_lacks():
    x, y = mx.array([3.0, -0.5]), mx.array([-4.0, 2.0])
    gx, gy = mx.grad(lambda x, y: mx.hypot(x, y).sum(), argnums=(0, 1))(x, y)
    length = np.hypot(np.array(x), np.array(y))
    np.testing.assert_allclose(gx, np.array(x) / length, rtol=1e-5)
    np.testing.assert_allclose(gy, np.array(y) / length, rtol=1e-5)
    assert mx.grad(lambda x: mx.copysign(x, y).sum())(x).tolist() == [-1, -1]
    batch = mx.vmap(lambda a: mx.linalg.matrix_power(a, 3))(mx.ones((2, 2, 2)))
    assert batch.tolist() == [[[4, 4], [4, 4]]] * 2


# array_api_compat -----------------------------------------------------------------------------


def test_the_helpers_of_array_api_compat_take_arrays(compat):
    x = mx.ones((2, 3))
    assert compat.is_array_api_obj(x)
    assert compat.array_namespace(x, x + 1) is mx
    assert compat.device(x) == x.device
    assert compat.to_device(x, x.device).tolist() == x.tolist()
    assert compat.size(x) == 6
    assert not compat.is_numpy_array(x) and not compat.is_torch_array(x)


def test_arrays_travel_to_and_from_other_namespaces(strict):
    x = mx.array([[1.0, 2.0], [3.0, 4.0]])
    there = strict.from_dlpack(x)
    assert np.asarray(there).tolist() == x.tolist()
    assert mx.from_dlpack(there, device=mx.cpu).tolist() == x.tolist()
    assert importlib.import_module("numpy").from_dlpack(x).tolist() == x.tolist()
