"""The array object: construction, attributes, conversion, operators, printing."""

import array as buffers
import copy
import gc
import math
import operator
import pickle

import numpy as np
import pytest
from dtypes_table import promoted, with_scalar
from printed import PRECISION, PRINTED
from support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    IS_RILL,
    NAME,
    array,
    assert_same,
    check_row,
    dtype,
    mx,
    name_of,
    numpy_type,
    rill_only,
    rows,
    to_numpy,
    value,
    values,
)

CONSTRUCTION = [
    ("mx.array(1)", 1, "int32"),
    ("mx.array(True)", True, "bool"),
    ("mx.array(1.5)", 1.5, "float32"),
    ("mx.array(1j)", 1j, "complex64"),
    ("mx.array(2**40)", 2**40, "int64"),
    ("mx.array([])", [], "float32"),
    ("mx.array([[]])", [[]], "float32"),
    ("mx.array([[], []])", [[], []], "float32"),
    ("mx.array([1, 2.5])", [1, 2.5], "float32"),
    ("mx.array([True, 2])", [1, 2], "int32"),
    ("mx.array([True, 2.5])", [1, 2.5], "float32"),
    ("mx.array([1, 2j])", [1, 2j], "complex64"),
    ("mx.array([1, 2**40])", [1, 2**40], "int64"),
    ("mx.array((1, 2))", [1, 2], "int32"),
    ("mx.array([(1, 2), [3, 4]])", [[1, 2], [3, 4]], "int32"),
    ("mx.array([mx.array(1), mx.array(2)])", [1, 2], "int32"),
    ("mx.array([mx.array([1, 2]), mx.array([3.0, 4])])", [[1, 2], [3, 4]], "float32"),
    ("mx.array([mx.array([1, 2]), [3, 4]])", [[1, 2], [3, 4]], "int32"),
    ("mx.array([mx.array(1), 2.5])", [1, 2.5], "float32"),
    ("mx.array(mx.array([1, 2]))", [1, 2], "int32"),
    ("mx.array(mx.array([1, 2]), mx.float16)", [1, 2], "float16"),
    ("mx.array(1, mx.float32)", 1, "float32"),
    ("mx.array(1.7, mx.int32)", 1, "int32"),
    ("mx.array([1.7, -1.7], mx.int32)", [1, -1], "int32"),
    ("mx.array([300, -1], mx.uint8)", [44, 255], "uint8"),
    ("mx.array(-1, mx.uint8)", 255, "uint8"),
    ("mx.array([0.0, 2.0], mx.bool_)", [False, True], "bool"),
    ("mx.array([1, 2], dtype=mx.bfloat16)", [1, 2], "bfloat16"),
    ("mx.array(b'ab')", [97, 98], "uint8"),
    ("mx.array(bytearray(b'ab'))", [97, 98], "uint8"),
    ("mx.array(memoryview(b'ab'))", [97, 98], "uint8"),
    ("mx.array(buffers.array('f', [1, 2]))", [1, 2], "float32"),
    ("mx.array(np.float32(3))", 3, "float32"),
    ("mx.array(np.float64(3))", 3, "float32"),
    ("mx.array(np.int64(3))", 3, "int64"),
    ("mx.array(np.bool_(True))", True, "bool"),
    ("mx.array(np.arange(6).reshape(2, 3).T)", [[0, 3], [1, 4], [2, 5]], "int64"),
    ("mx.array(np.arange(6)[::2])", [0, 2, 4], "int64"),
    ("mx.array(np.ones((2, 0)))", [[], []], "float32"),
    ("mx.array(np.ones(2, np.complex128))", [1, 1], "complex64"),
    ("mx.asarray([1, 2])", [1, 2], "int32"),
    ("mx.asarray(mx.array([1]), mx.float32)", [1], "float32"),
    ("mx.array([[1, 2], [3]])", ValueError),
    ("mx.array([[1, 2], 3])", ValueError),
    ("mx.array([1, [2]])", ValueError),
    ("mx.array([mx.array([1, 2]), mx.array([3])])", ValueError),
    ("mx.array('a')", ValueError),
    ("mx.array(['a'])", ValueError),
    ("mx.array([None])", ValueError),
    ("mx.array({})", ValueError),
    ("mx.array(object())", ValueError),
    ("mx.array(None)", TypeError),
    ("mx.array([1], dtype='int32')", TypeError),
    ("mx.array(1, mx.uint8) + 300", ValueError),
]

OURS = [  # where we go further than the peer
    ("mx.array(np.arange(6)[::-2])", [5, 3, 1], "int64"),
    ("mx.array([np.float32(3), 1])", [3, 1], "float32"),
    ("mx.array([np.int64(3)])", [3]),
    ("mx.array([np.ones(2), np.zeros(2)])", [[1, 1], [0, 0]]),
    ("mx.array(np.array('a'))", (ValueError, TypeError)),
    ("mx.array(2**70)", (ValueError, OverflowError)),
    ("mx.array(2**63)", 2**63, "uint64"),
]


@rows(CONSTRUCTION)
def test_construction(row):
    check_row(row, buffers=buffers)


@rill_only
@rows(OURS)
def test_construction_beyond_the_peer(row):
    if isinstance(row[1], tuple):
        with pytest.raises(row[1]):
            value(row[0])
    else:
        check_row(row)


@pytest.mark.parametrize("name", DTYPES)
def test_numpy_there_and_back(name):
    host = values(name, (3, 4), (0, 100))
    x = array(host, name)
    assert_same(x, host, name)
    if name not in ("bfloat16", "float64"):
        assert name_of(mx.array(host).dtype) == name
    assert (x.shape, x.ndim, x.size) == ((3, 4), 2, 12)
    assert x.itemsize == x.dtype.size == (2 if name == "bfloat16" else numpy_type(name).itemsize)
    assert x.nbytes == 12 * x.itemsize
    assert x.tolist() == host.tolist()
    assert x[1, 2].item() == host[1, 2].item()
    assert type(x[1, 2].item()) is type(host[1, 2].item())


def test_numpy_float64_becomes_float32_unless_asked():
    host = np.array([0.1, 1e300])
    assert name_of(mx.array(host).dtype) == "float32"
    assert mx.array(host, mx.float64).tolist() == [0.1, 1e300]
    assert mx.array([0.1, 1e300], mx.float64).tolist() == [0.1, 1e300]
    assert mx.array(0.1, mx.float64).item() == 0.1


@pytest.mark.parametrize("name", [d for d in DTYPES if d != "bfloat16"])
def test_exchange_by_protocol(name):
    host = values(name, (3, 4), (0, 100))
    x = array(host, name)
    for view in (np.array(x), np.asarray(x), np.from_dlpack(x), np.asarray(memoryview(x))):
        assert view.dtype == host.dtype
        np.testing.assert_array_equal(view, host)
    np.testing.assert_array_equal(np.array(x.T), host.T)
    np.testing.assert_array_equal(np.array(x[:, 1::2]), host[:, 1::2])
    if name != "float64":
        assert_same(mx.from_dlpack(host), host, name)


def test_numpy_array_of_another_dtype():
    assert np.asarray(mx.array([1, 2]), dtype=np.float64).dtype == np.float64


def test_a_numpy_view_outlives_its_array():
    view = np.asarray(mx.arange(10_000) + 0)
    gc.collect()
    np.testing.assert_array_equal(view, np.arange(10_000))


def test_a_numpy_source_may_change_after_the_copy():
    host = np.ones(1000, np.float32)
    x = mx.array(host)
    host[:] = 2
    assert_same(x, np.ones(1000))


def test_dlpack_device_is_the_cpu():
    assert tuple(mx.array(1).__dlpack_device__()) == (1, 0)


def test_torch_by_dlpack():
    torch = pytest.importorskip("torch")
    x = mx.arange(6).reshape(2, 3)
    assert torch.from_dlpack(x).tolist() == x.tolist()
    assert mx.array(torch.arange(6.0).reshape(2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert_same(mx.array(torch.tensor([1.5], dtype=torch.bfloat16)), [1.5], "bfloat16")


CONVERSIONS = [
    ("mx.array(5).tolist()", 5),
    ("mx.zeros((2, 0)).tolist()", [[], []]),
    ("mx.array([[5]]).item()", 5),
    ("mx.array(1.5, mx.bfloat16).item()", 1.5),
    ("mx.array([1, 2]).item()", ValueError),
    ("len(mx.zeros((2, 3)))", 2),
    ("len(mx.array(1))", TypeError),
    ("[row.tolist() for row in mx.array([[1, 2], [3, 4]])]", [[1, 2], [3, 4]]),
    ("bool(mx.array([1]))", True),
    ("bool(mx.array([[0]]))", False),
    ("bool(mx.array([1, 2]))", ValueError),
    ("bool(mx.array([]))", ValueError),
    ("int(mx.array([3]))", 3),
    ("int(mx.array(3.7))", 3),
    ("int(mx.array([1, 2]))", ValueError),
    ("int(mx.array(1j))", TypeError),
    ("float(mx.array([3]))", 3.0),
    ("float(mx.array([1, 2]))", ValueError),
    ("float(mx.array(1j))", TypeError),
    ("complex(mx.array(1 + 2j))", 1 + 2j),
    ("complex(mx.array(2))", 2 + 0j),
    ("format(mx.array(1.5), '.2f')", "1.50"),
    ("format(mx.array(3), '>5')", "    3"),
    ("format(mx.array(1.5, mx.bfloat16), '.3e')", "1.500e+00"),
    ("format(mx.array([1.5]), '.2f')", TypeError),
    ("f'{mx.array(3)} {mx.array(True)}'", "3 True"),
    ("f'{mx.array([3])}'", "array([3], dtype=int32)"),
    ("mx.array([1]).shape", (1,)),
    ("mx.array(1).T.shape", ()),
    ("mx.array([1 + 2j]).real", [1.0], "float32"),
    ("mx.array([1 + 2j]).imag", [2.0], "float32"),
    ("mx.array([1.0, 2.0]).imag", [0.0, 0.0], "float32"),
    ("mx.array([1, 2]).view(mx.int8)", [1, 0, 0, 0, 2, 0, 0, 0], "int8"),
    ("mx.array([[1, 0]]).view(mx.int64)", [[1]], "int64"),
    ("mx.array(1).view(mx.int8)", ValueError),
    ("mx.array([1, 2, 3], mx.int8).view(mx.int16)", ValueError),
    ("mx.array([1]).foo", AttributeError),
    ("mx.array([1]).astype('float32')", TypeError),
    ("mx.array([1]).__array_namespace__() is mx", True),
    ("mx.float32 == mx.float32 and hash(mx.float32) == hash(mx.float32)", True),
    ("mx.float32 == 'float32'", False),
    ("mx.result_type(mx.array([1]), mx.float16) == mx.float16", True),
    ("mx.result_type()", ValueError),
    ("mx.can_cast(mx.int64, mx.float32)", True),
    ("mx.can_cast(mx.float32, mx.int32)", False),
    ("mx.issubdtype(mx.float32, mx.floating)", True),
    ("mx.issubdtype(mx.bool_, mx.integer)", False),
    ("mx.issubdtype(mx.floating, mx.inexact)", True),
    ("mx.issubdtype(mx.complex64, mx.floating)", False),
    ("mx.isdtype(mx.float32, 'real floating')", True),
    ("mx.isdtype(mx.int8, ('integral', 'bool'))", True),
    ("mx.finfo(mx.float32).eps == 2**-23", True),
    ("mx.finfo(mx.bfloat16).eps == 2**-7", True),
    ("mx.iinfo(mx.int64).max", 2**63 - 1),
    ("mx.iinfo(mx.float32)", ValueError),
    ("mx.finfo(mx.int8)", ValueError),
    ("mx.Device(mx.cpu) == mx.cpu", True),
    ("mx.broadcast_shapes((2, 1), (3,))", (2, 3)),
    ("mx.broadcast_shapes((2,), (3,))", ValueError),
]


@rows(CONVERSIONS)
def test_conversions(row):
    check_row(row)


@pytest.mark.parametrize("source", DTYPES)
def test_astype_between_all_dtypes(source):
    host = values(source, (3, 5), (0, 7))
    for target in DTYPES:
        result = array(host, source).astype(dtype(target))
        with np.errstate(all="ignore"):
            plain = host.real if source == "complex64" and target != "complex64" else host
        assert name_of(result.dtype) == target
        expected = to_numpy(array(plain, target))
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-2 if target in FLOATS else 0)


@pytest.mark.parametrize("name", DTYPES)
def test_pickle_and_copies(name):
    if name in ("bfloat16", "float64") and not IS_RILL:
        pytest.skip("the peer loses the dtype or the layout")
    x = array(values(name, (2, 3)), name)
    for twin in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x), mx.array(x)):
        assert twin is not x
        assert_same(twin, to_numpy(x), name)
    assert_same(pickle.loads(pickle.dumps(x.T)), to_numpy(x).T, name)


def test_identity_is_the_hash():
    x, twin = mx.array([1, 2]), mx.array([1, 2])
    assert hash(x) == hash(x) != hash(twin)
    assert {x: 1}[x] == 1 and x in [x]


STRANGERS = ("a", ["a", "b"], [1, 2], {}, object(), slice(1), np.array(["a"]),
             np.array([None, 1]), np.array(["2020"], "datetime64[Y]"))  # fmt: skip


@pytest.mark.parametrize("stranger", STRANGERS, ids=repr)
def test_equality_with_strangers_is_false(stranger):
    x = mx.array([1, 2])
    assert (x == stranger) is False and (x != stranger) is True
    for order in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises((TypeError, ValueError)):
            order(x, stranger)


ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
BITWISE = ("and_", "or_", "xor", "lshift", "rshift")  # of integers, and never reflected


@pytest.mark.parametrize("name", ARITHMETIC + BITWISE)
def test_binary_operators(name):
    function = getattr(operator, name)
    inplace = getattr(operator, "i" + name.rstrip("_"))
    for kind in ("int32",) if name in BITWISE else ("int32", "float32"):
        a, b = (values(kind, (2, 3), (1, 6), seed=s) for s in (1, 2))
        x, y = mx.array(a), mx.array(b)
        expected = function(a, b)
        np.testing.assert_allclose(to_numpy(function(x, y)), expected, rtol=1e-6)
        np.testing.assert_allclose(to_numpy(function(x, 2)), function(a, 2), rtol=1e-6)
        if name in ARITHMETIC:
            np.testing.assert_allclose(to_numpy(function(7, x)), function(7, a), rtol=1e-6)
        if name == "truediv" and kind == "int32":
            with pytest.raises(ValueError):
                inplace(x, y)
            continue
        alias = x
        x = inplace(x, y)
        assert alias is x
        np.testing.assert_allclose(to_numpy(x), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool_", "uint8", "int32", "float16"])
@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "truediv"])
def test_operators_in_place_take_the_dtype_of_the_result(name, dtype):
    for other in (2.5, 3, mx.array([2.5, 1.5]), mx.ones((3, 2))):
        x = mx.array([1, 2]).astype(getattr(mx, dtype))
        expected = getattr(operator, name)(x, other)
        alias = x
        x = getattr(operator, "i" + name)(x, other)
        assert alias is x
        assert_same(x, to_numpy(expected), name_of(expected.dtype))


@rill_only
@pytest.mark.parametrize("sequence", [[1, 2], (1, 2), "ab"])
def test_an_array_does_not_repeat_a_sequence(sequence):
    for multiply in (
        lambda x: x * sequence,
        lambda x: sequence * x,
        lambda x: operator.imul(x, sequence),
    ):
        with pytest.raises(TypeError, match=r"multiply.*expected an array or a scalar, got"):
            multiply(mx.array(2))


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparison_operators(name):
    function = getattr(operator, name)
    a, b = (values("int32", (2, 30), (0, 3), seed=s) for s in (1, 2))
    assert_same(function(mx.array(a), mx.array(b)), function(a, b), "bool")
    assert_same(function(mx.array(a), 1), function(a, 1), "bool")
    assert_same(function(1, mx.array(a)), function(1, a), "bool")


def test_unary_operators_and_matmul():
    x = mx.array([[1.0, -2.0], [3.0, 4.0]])
    assert_same(-x, -to_numpy(x))
    assert_same(abs(x), abs(to_numpy(x)))
    assert_same(~mx.array([1, -2]), [-2, 1])
    assert_same(~mx.array([True, False]), [False, True])
    assert_same(x @ x, to_numpy(x) @ to_numpy(x))
    x @= x
    assert_same(x, [[-5, -10], [15, 10]])


REFUSED = [
    ("-mx.array([True])", ValueError),
    ("~mx.array([1.0])", ValueError),
    ("mx.array([1.0]) << mx.array([1])", ValueError),
    ("mx.array([1.0]) & mx.array([1])", ValueError),
    ("mx.ones(2) + [1, 2]", TypeError if IS_RILL else ValueError),
    ("mx.ones(2) + 'a'", TypeError if IS_RILL else ValueError),
    ("mx.ones(2) < 'a'", TypeError if IS_RILL else ValueError),
    ("mx.ones(2) + None", TypeError),
    ("mx.ones((2, 2)) @ 2", TypeError),
    ("mx.add('a', 1)", TypeError if IS_RILL else ValueError),
    ("mx.exp('a')", (TypeError, ValueError)),
    ("mx.exp()", TypeError),
    ("mx.exp(mx.ones(2), 1)", TypeError),
]


@rows(REFUSED)
def test_refused_operands(row):
    with pytest.raises(row[1]):
        value(row[0])


@pytest.mark.parametrize("a", DTYPES)
def test_promotion(a):
    for b in DTYPES:
        assert name_of((array([1], a) + array([1], b)).dtype) == promoted(a, b), (a, b)
        assert name_of(mx.result_type(dtype(a), dtype(b))) == promoted(a, b), (a, b)
    for kind in (bool, int, float, complex):
        expected = with_scalar(kind.__name__, a)
        assert name_of((array([1], a) + kind(1)).dtype) == expected
        assert name_of((kind(1) * array([1], a)).dtype) == expected


@pytest.mark.parametrize("name", INTEGERS)
def test_scalars_too_large_for_the_dtype(name):
    if name in ("int64", "uint64"):
        pytest.skip("every small int fits")
    with pytest.raises(ValueError, match="overflow"):
        array([1], name) + (np.iinfo(name).max + 1)


def plain(text):
    """Printed text without the module's own name, by which alone two libraries differ."""
    return text.replace("mlx.core.", "").replace(NAME + ".", "")


@rows(PRINTED)
def test_printed_form(row):
    result = value(row[0])
    assert plain(repr(result)) == plain(str(result)) == plain(row[1])


@pytest.mark.parametrize("precision, expression, expected", PRECISION)
def test_print_options(precision, expression, expected):
    with mx.printoptions(precision=precision):
        assert mx.get_printoptions().precision == precision
        assert repr(value(expression, math=math)) == expected
    mx.set_printoptions(precision=precision)
    try:
        assert repr(value(expression, math=math)) == expected
    finally:
        mx.set_printoptions(precision=-1)
    assert mx.get_printoptions().precision == -1


# Calls with something that is no array, and the name that the error gives.
NO_ARRAYS = [
    ("mx.exp({})", "exp"),
    ("mx.isnan({})", "isnan"),
    ("mx.add({}, 1)", "add"),
    ("mx.maximum(mx.ones(2), {})", "maximum"),
    ("mx.divmod({}, 2)", "divmod"),
    ("mx.where({}, 1, 2)", "where"),
    ("mx.where(True, {}, 2)", "where"),
    ("mx.clip({}, 0, 1)", "clip"),
    ("mx.partition({}, 1)", "partition"),
    ("mx.sort({})", "sort"),
    ("mx.topk({}, 1)", "topk"),
    ("mx.sum({})", "sum"),
    ("mx.var({})", "var"),
    ("mx.argmax({})", "argmax"),
    ("mx.cumsum({})", "cumsum"),
    ("mx.softmax({})", "softmax"),
    ("mx.reshape({}, (1,))", "reshape"),
    ("mx.transpose({})", "transpose"),
    ("mx.squeeze({})", "squeeze"),
    ("mx.broadcast_to({}, (2,))", "broadcast_to"),
    ("mx.concatenate([mx.ones(2), {}])", "concatenate"),
    ("mx.stack([{}])", "stack"),
    ("mx.split({}, 2)", "split"),
    ("mx.pad({}, 1)", "pad"),
    ("mx.tile({}, 2)", "tile"),
    ("mx.take({}, mx.array([0]))", "take"),
    ("mx.take(mx.ones(2), {})", "take"),
    ("mx.take_along_axis(mx.ones(2), {}, 0)", "take_along_axis"),
    ("mx.ones(2).at[0].add({})", "add"),
    ("mx.ones(2).__setitem__(0, {})", "__setitem__"),
    ("mx.matmul({}, mx.ones(2))", "matmul"),
    ("mx.einsum('i', {})", "einsum"),
    ("mx.outer({}, mx.ones(2))", "outer"),
    ("mx.conv1d({}, mx.ones((1, 1, 1)))", "conv1d"),
    ("mx.zeros_like({})", "zeros_like"),
    ("mx.full(2, {})", "full"),
    ("mx.array_equal({}, mx.ones(2))", "array_equal"),
    ("mx.linalg.norm({})", "linalg.norm"),
    ("mx.linalg.inv({})", "inv"),
    ("mx.fft.fft({})", "fft"),
    ("mx.random.normal((2,), loc={})", "random.normal"),
    ("mx.fast.rms_norm({}, None, 1e-5)", "fast.rms_norm"),
    ("mx.quantize({})", "quantize"),
]


@pytest.mark.skipif(not IS_RILL, reason="the peer raises TypeError or ValueError")
@pytest.mark.parametrize("call", NO_ARRAYS, ids=lambda call: call[0])
def test_what_is_no_array_is_a_type_error(call):
    for thing in ("'a'", "object()", "{1: 2}"):
        with pytest.raises(TypeError, match=rf"\[{call[1]}\] expected"):
            value(call[0].replace("{}", thing))
