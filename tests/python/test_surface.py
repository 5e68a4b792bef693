"""The edges of the surface: the array API standard, modules for programs that ask, the stubs."""

import ast
import builtins
import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import (
    IS_RILL,
    array,
    assert_same,
    check_row,
    environment,
    mx,
    name_of,
    rill_only,
    rows,
    to_numpy,
    value,
    values,
)

ROOT = Path(__file__).parents[2]
pytestmark = rill_only


@pytest.mark.parametrize("name", ["bool", "int8", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (40, 50)])
def test_unique_matches_numpy(name, shape):
    x = (
        values(name, shape, span=(-3, 3)).round()
        if "float" in name
        else values(name, shape, (-3, 3))
    )
    expected = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    result = mx.unique_all(array(x, name), stream=mx.new_stream(mx.cpu))
    assert name_of(result.values.dtype) == name
    for part, reference in zip(result, expected):
        np.testing.assert_array_equal(to_numpy(part).ravel(), np.ravel(reference))
    assert result.inverse_indices.shape == shape
    np.testing.assert_array_equal(to_numpy(mx.unique_values(array(x, name))), expected[0])
    assert_same(mx.unique_counts(array(x, name)).counts, expected[3], "int64")
    inverse = mx.unique_inverse(array(x, name))
    np.testing.assert_array_equal(to_numpy(inverse.values[inverse.inverse_indices]), x)


def test_each_nan_is_distinct_and_the_zeros_are_one():
    result = mx.unique_all(mx.array([mx.nan, 0.0, mx.nan, -0.0]))
    assert_same(result.counts, [2, 1, 1])
    assert_same(mx.unique_values(mx.arange(6).reshape(2, 3).T[::-1]), np.arange(6))


@pytest.mark.parametrize("name", ["bool", "int32", "float32", "complex64"])
def test_nonzero_matches_numpy(name):
    x = values(name, (4, 5), span=(-1, 1)).round() if name != "bool" else values(name, (4, 5))
    for mine, theirs in zip(mx.nonzero(array(x, name).T), np.nonzero(x.T), strict=True):
        assert_same(mine, theirs, "int64")


REFUSED = [
    ("mx.nonzero(mx.array(1))", ValueError),
    ("mx.nonzero(None)", TypeError),
    ("mx.array(1).__array_namespace__('1999.1')", ValueError),
    ("mx.array(1).__array_namespace__(3)", TypeError),
    ("mx.array(1).to_device(mx.gpu)", ValueError),
    ("mx.array(1).to_device('cpu')", TypeError),
    ("mx.__array_namespace_info__().dtypes(kind='x')", ValueError),
    ("mx.__array_namespace_info__().dtypes(device=3)", TypeError),
    ("mx.add(mx.ArrayLike(object()), 1)", TypeError if IS_RILL else ValueError),
    ("mx.arange()", TypeError),
    ("mx.arange(start=5)", TypeError),
    ("mx.sum(mx.ones((2, 2)), axis=2**32)", ValueError),
    ("mx.take(mx.arange(3), mx.array([0]), axis=2**32)", ValueError),
    ("mx.distributed.send(mx.array(1), 1)", ValueError),
    ("mx.distributed.recv((2,), mx.float32, 0)", ValueError),
    ("mx.distributed.recv_like(mx.array(1), 0)", ValueError),
    ("mx.distributed.init(backend='x')", ValueError),
    ("mx.distributed.init(strict=True)", RuntimeError),
    ("mx.distributed.init().split(0)", RuntimeError),
    ("mx.distributed.Group()", TypeError),
    ("mx.distributed.all_sum([1])", TypeError if IS_RILL else ValueError),
    ("mx.distributed.all_sum(mx.array(1), group=3)", TypeError),
    ("mx.array(np.datetime64(3, 's'))", TypeError),
    ("mx.zeros((2**62,))", ValueError),
    ("mx.pad(mx.zeros((0,)), (2**62, 2))", ValueError),
    ("mx.pad(mx.zeros((5,)), 2**63 - 1)", ValueError),
]


@rows(REFUSED)
def test_refuses(row):
    check_row(row)


ACCEPTED = [
    ("mx.arange(5, None)", [0, 1, 2, 3, 4], "int32"),
    ("mx.arange(stop=5, step=2)", [0, 2, 4], "int32"),
    ("mx.arange(1, stop=3)", [1, 2], "int32"),
    ("mx.arange(start=1, stop=3)", [1, 2], "int32"),
    ("mx.arange(3, dtype=mx.float16)", [0, 1, 2], "float16"),
    ("mx.arange(5, None, 2)", [0, 2, 4], "int32"),
    ("mx.arange(5, 2, mx.int8)", [0, 2, 4], "int8"),
    ("mx.arange(2, 0.5, mx.float16)", [0, 0.5, 1, 1.5], "float16"),
    ("mx.arange(3, 5, inf)", [3], "float32"),
    ("mx.arange(3, -5, -inf, mx.int32)", [3], "int32"),
    ("mx.arange(3, 5, -inf)", [], "float32"),
    ("mx.arange(3, 3, inf)", [], "float32"),
    ("mx.pad(mx.array(1), [])", 1, "int32"),
    ("mx.isnan(mx.array([1.0]), mx.cpu)", [False], "bool"),
    ("mx.bitwise_invert(mx.array([1]), mx.cpu)", [-2], "int32"),
    ("mx.repeat(array=mx.array([1, 2]), repeats=2)", [1, 1, 2, 2], "int32"),
    ("mx.array([4, 5]).__div__(2)", [2, 2.5], "float32"),
    ("mx.array([4, 5]).__rdiv__(2)", [0.5, 0.4], "float32"),
    ("mx.zeros((2,), None)", [0, 0], "float32"),
    ("mx.softmax(mx.array([1.0, inf]), ())", [1, np.nan], "float32"),
    ("mx.grad(lambda x: mx.diagonal(x, -2).sum())(mx.ones((1, 1)))", [[0]], "float32"),
    ("mx.jvp(lambda i: mx.arange(3)[i], [mx.array([1])], [mx.array([1])])[0][0]", [1], "int32"),
    ("mx.cuda.is_available()", False),
    ("mx.metal.is_available()", False),
    ("mx.metal.device_info()", {}),
    ("mx.metal.start_capture('x')", None),
    ("mx.distributed.is_available()", False),
    ("mx.distributed.init().size()", 1),
    ("mx.distributed.init().rank()", 0),
    ("mx.array([[1, 2]]).__array_namespace__() is mx", True),
    ("mx.array(1).to_device(mx.cpu)", 1, "int32"),
]


@rows(ACCEPTED)
def test_accepts(row):
    check_row(row)


NO_SUCH_AXIS = [
    "mx.sum(x, axis=5)",
    "mx.argmax(x, -3)",
    "mx.softmax(x, 2)",
    "mx.swapaxes(x, 0, 2)",
    "mx.diagonal(x, 0, 3, 1)",
    "mx.linalg.norm(x, axis=5)",
    "mx.fft.fft(x, axis=2)",
    "mx.sort(x, 2)",
    "x.max(axis=2)",
]


@pytest.mark.parametrize("expression", NO_SUCH_AXIS)
def test_an_axis_out_of_range_is_an_index_error_and_a_value_error(expression):
    with pytest.raises(mx.AxisError, match="out of range") as caught:
        value(expression, x=mx.ones((2, 2)))
    assert isinstance(caught.value, IndexError) and isinstance(caught.value, ValueError)
    assert type(pickle.loads(pickle.dumps(caught.value))) is mx.AxisError


@pytest.mark.parametrize("name", ["all_sum", "all_max", "all_min", "all_gather", "sum_scatter"])
def test_a_group_of_one_keeps_what_it_has(name):
    function, group = getattr(mx.distributed, name), mx.distributed.init()
    x = mx.array([1.0, 2.0])
    assert_same(function(x, group=group, stream=mx.new_stream(mx.cpu)), [1, 2], "float32")
    assert_same(mx.grad(lambda t: (function(t) * t).sum())(x), [2, 4])


def test_the_namespace_tells_what_it_can():
    info = mx.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] and info.devices()[0] == mx.Device(mx.cpu)
    assert info.default_device() == mx.default_device()
    assert info.default_dtypes()["real floating"] == mx.float32
    assert set(info.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert info.dtypes(kind=("bool", "complex floating"), device=mx.cpu).keys() == {
        "bool",
        "complex64",
    }
    assert "float64" in info.dtypes()


def test_array_like_stands_for_the_array_that_it_holds():
    class Offer:
        def __mlx_array__(self):
            return mx.array([1.0, 2.0])

    like = mx.ArrayLike(Offer())
    assert_same(mx.array([1.0, 1.0]) + like, [2, 3])
    assert_same(mx.add(like, 1), [2, 3])


LINALG = {
    "qr": ("Q", "R"),
    "lu": ("P", "L", "U"),
    "lu_factor": ("LU", "pivots"),
    "svd": ("U", "S", "Vh"),
    "eig": ("eigenvalues", "eigenvectors"),
    "eigh": ("eigenvalues", "eigenvectors"),
    "slogdet": ("sign", "logabsdet"),
}


@pytest.mark.parametrize("name", LINALG)
def test_results_of_several_arrays_are_named_tuples(name):
    result = getattr(mx.linalg, name)(mx.eye(3) * 2)
    assert isinstance(result, tuple) and result._fields == LINALG[name]
    again = pickle.loads(pickle.dumps(copy.copy(result)))
    assert type(again) is type(result)
    for part, other in zip(result, again):
        assert_same(part, to_numpy(other))


def names_used(annotation):
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}


def test_the_stubs_name_only_what_they_define_and_type_every_result():
    folder, wrong = Path(mx.__file__).parent / "core", []
    for path in sorted(folder.glob("*.pyi")):
        tree = ast.parse(path.read_text())
        known = set(dir(builtins))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                known |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                known.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known.add(node.target.id)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [a.annotation for a in arguments if a.annotation]
            if node.returns is None or ast.unparse(node.returns) == "object":
                wrong.append((path.name, node.name, "no type"))
                continue
            for annotation in [*annotations, node.returns]:
                wrong += [(path.name, node.name, n) for n in names_used(annotation) - known]
    assert not wrong


def test_no_call_ends_the_process():
    """A few thousand calls of tools/fuzz.py; the same ones every time."""
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "fuzz.py", "--calls", "4000", "--seconds", "60"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
