"""Functions as files: what comes back is what was exported; what is damaged is refused."""

import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from calls import CALLS, find
from support import IS_RILL, environment, mx, rill_only, to_numpy

# The shape of their results depends on values: they make no graph.
BY_VALUE = {"unique_all", "unique_counts", "unique_inverse", "unique_values", "nonzero"}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "f.rill")


def flat(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


@rill_only
@pytest.mark.parametrize("name", CALLS)
def test_every_operation_comes_back(name, path):
    """With its gradient where it has one: operations of derivatives must be exportable too."""
    function = find(mx, name)
    if function is None:
        pytest.skip("not in this module yet")
    args, kwargs = CALLS[name](mx)
    arrays = [a for a in args if isinstance(a, mx.array)]
    if not arrays or "empty" in name:
        pytest.skip("has no array among its arguments")

    def call(*given):
        given = iter(given)
        full = [next(given) if isinstance(a, mx.array) else a for a in args]
        return [r for r in flat(function(*full, **kwargs)) if isinstance(r, mx.array)]

    def loss(*given):
        parts = [r for r in call(*given) if mx.issubdtype(r.dtype, mx.inexact)]
        return sum((mx.abs(r).sum() for r in parts), mx.array(0.0))

    def gradient(*given):
        return mx.grad(loss)(*given)

    if name in BY_VALUE:
        with pytest.raises(ValueError, match="must not evaluate"):
            check_same(call, arrays, path)
        return
    check_same(call, arrays, path)
    try:
        gradient(*arrays)
    except ValueError:
        return  # no derivative: tested elsewhere
    if mx.issubdtype(arrays[0].dtype, mx.inexact):
        check_same(gradient, arrays, path)


def check_same(function, arrays, path):
    mx.export_function(path, function, *arrays)
    expected = flat(function(*arrays))
    results = mx.import_function(path)(*arrays)
    assert isinstance(results, tuple) and len(results) == len(expected)
    for result, value in zip(results, expected):
        assert result.dtype == value.dtype and result.shape == value.shape
        np.testing.assert_array_equal(to_numpy(result), to_numpy(value))


def test_positional_and_keyword_arguments(path):
    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    mx.export_function(path, lambda x, y: x + y * 2, a, y=b)
    f = mx.import_function(path)
    for result in (f(a, y=b), f((a,), {"y": b}), f([a], {"y": b})):
        assert result[0].tolist() == [7, 10]
    for args, kwargs in (
        ((a, b), {}),
        ((a,), {"z": b}),
        ((a,), {}),
        ((mx.ones(3),), {"y": mx.ones(3)}),
        ((a.astype(mx.int32),), {"y": b}),
        ((a, {"y": b}), {}),
        ((3,), {"y": b}),
    ):
        with pytest.raises(ValueError):
            f(*args, **kwargs)


def test_several_traces_and_metadata(path):
    a = mx.array([1.0, 2.0])
    with mx.exporter(path, lambda *args: sum(args), metadata="about") as export:
        export(a)
        export(a, a)
        with pytest.raises(RuntimeError):
            export(a + 1)
    with pytest.raises(RuntimeError):
        export(a, a, a)
    f, metadata = mx.import_function(path, return_metadata=True)
    assert metadata == "about"
    assert f(a)[0].tolist() == [1, 2] and f(a, a)[0].tolist() == [2, 4]
    with pytest.raises(ValueError):
        f(a, a, a)
    mx.export_function(path, lambda x: x, a)
    assert mx.import_function(path, return_metadata=True)[1] == ""


@rill_only
def test_nothing_is_written_when_an_exception_passes(path):
    with pytest.raises(ZeroDivisionError), mx.exporter(path, lambda x: x) as export:
        export(mx.array(1))
        raise ZeroDivisionError
    assert not os.path.exists(path)


@pytest.mark.parametrize("result", [{"a": 1}, None, [], 3, [[1]]])
def test_results_that_are_no_arrays(result, path):
    with pytest.raises(ValueError):
        mx.export_function(path, lambda x: result, mx.array(1))


def test_callback():
    w = mx.array([5.0, 6.0])
    seen = []
    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    mx.export_function(seen.append, lambda x, y: mx.sin(x + w) + y.reshape(2, 1), a, y=b)
    kinds = [message["type"] for message in seen]
    assert kinds[:4] == ["inputs", "keyword_inputs", "outputs", "constants"]
    assert set(kinds[4:]) == {"primitive"}
    assert seen[0]["inputs"] == [("A", (2,), mx.float32), ("B", (2,), mx.float32)]
    assert seen[1]["keywords"] == [("y", "B")]
    assert seen[2]["outputs"][0][1:] == ((2, 2), mx.float32)
    assert [value.tolist() for _, value in seen[3]["constants"]] == [[5, 6]]
    assert all(set(m) >= {"name", "inputs", "outputs", "arguments"} for m in seen[4:])
    assert len(seen) >= 8
    with pytest.raises(ValueError):
        mx.export_function(seen.append, lambda x: x, a, metadata="text")


def test_constants_dtypes_and_layouts(path):
    values = [
        mx.array([[1, 2, 3], [4, 5, 6]], dtype=dtype).T[1:]
        for dtype in (mx.bool_, mx.int8, mx.uint64, mx.float16, mx.bfloat16, mx.complex64)
    ]
    values += [mx.zeros((0, 3)), mx.array(2.5), mx.broadcast_to(mx.array(1.5), (3, 1000))]
    x = mx.array(1.0)
    mx.export_function(path, lambda x: [x, *values], x)
    assert os.path.getsize(path) < 2000
    for result, value in zip(mx.import_function(path)(x)[1:], values):
        assert result.dtype == value.dtype and result.shape == value.shape
        np.testing.assert_array_equal(to_numpy(result), to_numpy(value))


def test_float64_constants(path):
    value = mx.array([0.1], dtype=mx.float64)
    mx.export_function(path, lambda x: x + value, value)
    assert mx.import_function(path)(value)[0].item() == 0.2


@rill_only
def test_shapeless_sizes(path):
    w = mx.random.normal((4, 3), key=mx.random.key(0))

    def f(x):
        h = mx.tanh(x @ w)
        return h.reshape(-1, 3) - mx.logsumexp(h, axis=-1, keepdims=True), h.flatten()

    mx.export_function(path, f, mx.zeros((5, 4)), shapeless=True)
    g = mx.import_function(path)
    assert "(*,4)" in repr(g)
    for n in (1, 4, 5, 17):
        x = mx.random.normal((n, 4), key=mx.random.key(n))
        for result, value in zip(g(x), f(x)):
            np.testing.assert_array_equal(to_numpy(result), to_numpy(value))
    for wrong in (mx.zeros((5, 5)), mx.zeros((4,)), mx.zeros((2, 5, 4))):
        with pytest.raises(ValueError):
            g(wrong)


@rill_only
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.mean(),
        lambda x: x * x.shape[0],
        lambda x: x.reshape(x.shape[0] // 2, 2),
        lambda x: mx.arange(x.shape[0]) + x,
        lambda x: x[: x.shape[0] - 1],
        lambda x: mx.pad(x, 8 - x.shape[0]),
        lambda x: x + mx.ones(6),
    ],
)
def test_sizes_that_matter_are_fixed_not_stale(f, path):
    x = mx.arange(6, dtype=mx.float32)
    mx.export_function(path, f, x, shapeless=True)
    g = mx.import_function(path)
    np.testing.assert_array_equal(to_numpy(g(x)[0]), to_numpy(f(x)))
    for n in (5, 7, 12):
        other = mx.arange(n, dtype=mx.float32)
        try:
            result = g(other)[0]
        except ValueError:
            continue
        np.testing.assert_array_equal(to_numpy(result), to_numpy(f(other)))


@rill_only
def test_streams_keep_their_number(path):
    one, two = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.array([1.0, 2.0])

    def f(x):
        return mx.add(mx.exp(x, stream=one), mx.sin(x, stream=two)) * 2

    mx.export_function(path, f, x)
    for streams in (None, [one, two]):
        g = mx.import_function(path, streams=streams)
        with mx.stream(mx.new_stream(mx.cpu)):
            assert g(x)[0].tolist() == f(x).tolist()
    with pytest.raises(ValueError):
        mx.import_function(path, streams=[one, two, one])


def test_derivatives_of_an_imported_function(path):
    x = mx.array([1.0, 2.0])
    mx.export_function(path, lambda x: mx.sin(x).sum(), x)
    f = mx.import_function(path)
    np.testing.assert_allclose(mx.grad(lambda x: f(x)[0])(x).tolist(), np.cos([1.0, 2.0]), 1e-5)


@rill_only
def test_an_imported_function_can_be_exported(path):
    x = mx.arange(6, dtype=mx.float32)
    mx.export_function(path, lambda x: mx.as_strided(mx.sort(-x), (2, 2), (1, 2), 1), x)
    first = mx.import_function(path)
    mx.export_function(path, lambda x: first(x), x)
    second = mx.import_function(path)
    assert first(x)[0].tolist() == second(x)[0].tolist() == [[-4, -2], [-3, -1]]


@rill_only
def test_custom_functions_leave_their_values(path):
    f = mx.custom_function(lambda x: mx.exp(x) * 2)
    f.vjp(lambda x, c, o: c)
    x = mx.array([0.5])
    mx.export_function(path, lambda x: mx.grad(lambda x: mx.checkpoint(f)(x).sum())(x) + f(x), x)
    assert mx.import_function(path)(x)[0].item() == pytest.approx(1 + 2 * np.exp(0.5))


def test_calls_from_many_threads(path):
    x = mx.arange(100, dtype=mx.float32)
    mx.export_function(path, lambda x: (mx.sin(x) * 2).sum(), x)
    f = mx.import_function(path)
    expected = f(x)[0].item()
    results = []

    def work():
        for _ in range(20):
            results.append(f(x)[0].item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 80


def test_export_to_dot(tmp_path):
    x, y = mx.array(1.0), mx.array(2.0)
    file = tmp_path / "g.dot"
    mx.export_to_dot(str(file), mx.sin(x + y), x=x)
    text = file.read_text()
    assert text.startswith("digraph {") and text.rstrip().endswith("}")
    assert '"x"' in text and "rank=sink" in text and text.count("rectangle") == 2
    stream = io.StringIO()
    mx.export_to_dot(stream, [mx.exp(x)])
    assert stream.getvalue().lower().count("exp") == 1


def test_files_that_are_none(tmp_path):
    for content in (b"", b"hello", b"RILLFUNC", b"RILLFUNC" + bytes(40)):
        file = tmp_path / "bad"
        file.write_bytes(content)
        with pytest.raises(RuntimeError):
            mx.import_function(str(file))
    with pytest.raises(RuntimeError):
        mx.import_function(str(tmp_path / "missing"))


@rill_only
def test_another_version_is_refused(path):
    mx.export_function(path, lambda x: x + 1, mx.array(1))
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(struct.pack("<I", 2))
    with pytest.raises(RuntimeError, match="version 2"):
        mx.import_function(path)


MUTATE = """
import sys
sys.path.insert(0, {folder!r})
import test_export
test_export.mutate({seed}, {count}, {file!r})
"""


def sum_of(body):
    value = 0xCBF29CE484222325
    for byte in body:
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def indexing_and_algebra(x, index):
    y = mx.as_strided(x[1:, ::2], (2, 2), (2, 1), 0) @ x[:2, :2]
    z = mx.put_along_axis(x, mx.argsort(x, axis=1), mx.cumsum(x, axis=1), axis=1)
    w = mx.pad(x.T[index], 1).at[index].add(1.0).reshape(-1).view(mx.int32)
    u = mx.concatenate([mx.softmax(x), mx.diagonal(x)[:, None]], axis=1)
    v = mx.linalg.svd(x, compute_uv=False, stream=mx.cpu) + mx.random.uniform(
        0, 1, (3,), key=index.astype(mx.uint32)
    )
    _, rows = mx.scan(lambda c, t: (c + t, c * t), x[0], x)
    picked = mx.cond(index.sum() > 1, mx.sin, mx.cos, rows)
    largest = mx.take(x, index, axis=1).max(axis=0)
    return y, z, w, u, v, picked, largest, mx.broadcast_to(x[0], (2, 4))


def quantised_products(x, index):
    rows = mx.tile(x, (1, 16))
    words, scales, biases = mx.quantize(rows, 32, 3)
    small = mx.quantize(rows, mode="nvfp4", global_scale=x[2, 3])
    dense = mx.dequantize(*small, mode="nvfp4", global_scale=x[2, 3])
    y = mx.quantized_matmul(rows, words, scales, biases, group_size=32, bits=3)
    matrices = [mx.stack([part, part]) for part in mx.quantize(rows, mode="mxfp8")]
    z = mx.gather_qmm(rows[None], *matrices, rhs_indices=index // 2, mode="mxfp8")
    return dense, y, z, mx.qqmm(rows, rows), mx.from_fp8(mx.to_fp8(x), mx.float32)


def other_products(x, index):
    stack = mx.stack([x, x + 1, x + 2])
    y = mx.gather_mm(stack, mx.swapaxes(stack, 1, 2), index, index[::-1])
    wide = mx.tile(x, (11, 9))[:, :33]
    masks = [x[:2, :2], x[:2, :2] > 1, None]
    z = mx.block_masked_mm(wide, wide.T, 32, *masks)
    segments = mx.stack([index, index + 1], axis=1)
    w = mx.grad(lambda x: mx.segmented_mm(x, x.T, segments).sum())(x)
    norms = mx.vmap(mx.grad(lambda x: mx.fast.rms_norm(x, x[0], 1e-5).sum()))(stack)
    return y, z, w, norms


def mutate(seed, count, file):
    """Imports files with some bytes changed and the checksum made right; calls what is accepted."""
    rng = random.Random(seed)
    x, index = mx.arange(12, dtype=mx.float32).reshape(3, 4), mx.array([0, 2])
    accepted = 0
    for function in (indexing_and_algebra, quantised_products, other_products):
        accepted += mutate_one(rng, count, file, function, x, index)
    print(accepted, "accepted")


def mutate_one(rng, count, file, function, x, index):
    mx.export_function(file, function, x, index)
    with open(file, "rb") as opened:
        good = opened.read()
    assert mx.import_function(file)(x, index)
    interesting = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]
    accepted = 0
    for _ in range(count):
        body = bytearray(good[28:])
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(body))
            if rng.random() < 0.3 and at + 8 < len(body):
                value = rng.choice((-1, 0, 1, 2**31, 2**62, -(2**63), rng.randrange(100)))
                body[at : at + 8] = struct.pack("<q", value)
            else:
                body[at] = rng.choice(interesting + [rng.randrange(256)])
        if rng.random() < 0.05:
            del body[rng.randrange(len(body)) :]
        head = good[:12] + struct.pack("<QQ", len(body), sum_of(body))
        with open(file, "wb") as opened:
            opened.write(head + bytes(body))
        try:
            f = mx.import_function(file)
        except (RuntimeError, MemoryError, ValueError):  # ValueError: a device that is not here
            continue
        accepted += 1
        with contextlib.suppress(ValueError, IndexError, RuntimeError, MemoryError, TypeError):
            mx.eval(f(x, index))
    return accepted


@rill_only
@pytest.mark.skipif(not IS_RILL, reason="our format")
def test_damaged_files_are_refused_or_harmless(path):
    """In another process, so that a crash is seen."""
    code = MUTATE.format(folder=os.path.dirname(__file__), seed=7, count=800, file=path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=120, env=environment()
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert int(done.stdout.split()[0]) > 20


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing", "/dev/null"):
        with pytest.raises(RuntimeError):
            mx.import_function(str(path))
    if IS_RILL:
        with pytest.raises(RuntimeError, match=r"\[import_function\] cannot read"):
            mx.import_function(str(tmp_path))
