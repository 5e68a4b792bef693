"""safetensors and GGUF, damaged files of every format, and files of and for MLX."""

import importlib.util
import json
import os
import pathlib
import struct

import numpy as np
import pytest
from made_files import SHAPES, example, gguf_file, quantised, safetensors_file, text
from support import DTYPES, array, assert_same, mx, name_of, rill_only, to_numpy

pytestmark = rill_only
needs_mlx = pytest.mark.skipif(importlib.util.find_spec("mlx") is None, reason="needs MLX")
GGUF_TYPES = ("float16", "float32", "bfloat16", "float64", "int8", "int16", "int32", "int64")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# safetensors


def test_safetensors_round_trip():
    arrays = {f"{name}{shape}": example(name, shape) for name in DTYPES for shape in SHAPES}
    mx.save_safetensors("x", arrays, {"format": "mlx", "é": "ü"})
    loaded, metadata = mx.load("x.safetensors", return_metadata=True)
    assert metadata == {"format": "mlx", "é": "ü"}
    assert set(loaded) == set(arrays)
    for name, x in arrays.items():
        assert_same(loaded[name], to_numpy(x), name_of(x.dtype))
    content = pathlib.Path("x.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["data_offsets"][0] % arrays[name].dtype.size == 0
    mx.save_safetensors("x", {})
    assert mx.load("x.safetensors", return_metadata=True) == ({}, {})


def test_safetensors_types_without_a_dtype():
    entry = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    path = safetensors_file({"a": entry, "__metadata__": None}, bytes([1, 2]))
    assert_same(mx.load(path)["a"], [1, 2], "uint8")
    for name in ("F8_E5M2", "F4", "f32", ""):
        with pytest.raises(RuntimeError, match="unsupported"):
            mx.load(safetensors_file({"a": {**entry, "dtype": name}}))


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8)):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}}


BAD_SAFETENSORS = [
    [],
    3,
    b"",
    b"{",
    b"{asdf",
    b'{"a":1}',
    b'{"a":{}}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"\xff":{}}',
    {"__metadata__": {"a": 1}},
    {"__metadata__": [1]},
    entry(dtype=3),
    entry(shape=3),
    entry(shape=["2"]),
    entry(shape=[2.0]),
    entry(shape=[-2]),
    entry(shape=[3]),
    entry(shape=[1] * 65),
    entry(shape=[2**63]),
    entry(shape=[2**62, 4]),
    entry(shape=[2**62, 2**62, 0], data_offsets=[0, 0]),
    entry(shape=[2**31, 2**31, 2**2]),
    entry(shape=[10**30]),
    entry(data_offsets=[0, 4]),
    entry(data_offsets=[4, 12]),
    entry(data_offsets=[8, 0]),
    entry(data_offsets=[-8, 0]),
    entry(data_offsets=[0]),
    entry(data_offsets=[0, 8, 16]),
    entry(data_offsets=[2**64 - 8, 2**64]),
]


@pytest.mark.parametrize("row", range(len(BAD_SAFETENSORS)))
def test_bad_safetensors(row):
    with pytest.raises(RuntimeError, match="safetensors"):
        mx.load(safetensors_file(BAD_SAFETENSORS[row]))


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 10**9, 1000])
def test_bad_safetensors_lengths(length):
    with pytest.raises(RuntimeError, match="header of"):
        mx.load(safetensors_file({}, length=length))


# GGUF


def test_gguf_round_trip():
    shapes = [shape for shape in SHAPES if shape]
    arrays = {f"{name}{shape}": example(name, shape) for name in GGUF_TYPES for shape in shapes}
    metadata = {
        "text": "hello é",
        "bytes": "\udc80",
        "empty": "",
        "list": ["a", "", "ü"],
        "none": [],
        **{
            name: array([1], name)[0] for name in DTYPES if name not in "float16 bfloat16 complex64"
        },
        "line": mx.array([1.5, 2.5]),
        "flags": mx.array([True, False]),
        "nothing": mx.zeros((0,)),
    }
    mx.save_gguf("x", arrays, metadata)
    loaded, values = mx.load("x.gguf", return_metadata=True)
    assert list(loaded) == list(arrays)
    for name, x in arrays.items():
        assert_same(loaded[name], to_numpy(x), name_of(x.dtype))
    assert list(values) == list(metadata)
    for key, value in metadata.items():
        if isinstance(value, mx.array):
            assert_same(values[key], to_numpy(value), name_of(value.dtype))
        else:
            assert values[key] == value
    mx.save_gguf(
        "x", {}, {"a": 1, "b": 2.5, "c": True, "general.alignment": mx.array(64, mx.uint32)}
    )
    _, values = mx.load("x.gguf", return_metadata=True)
    assert [name_of(v.dtype) for v in values.values()] == ["int32", "float32", "bool", "uint32"]


@pytest.mark.parametrize("alignment", [8, 32, 64])
def test_gguf_alignment(alignment):
    key = (b"general.alignment", 4, struct.pack("<I", alignment))
    tensors = [(b"a", [3], 0, struct.pack("<3f", 1, 2, 3)), (b"b", [1], 24, b"\5")]
    path = gguf_file(tensors, [key], alignment)
    arrays, metadata = mx.load(path, return_metadata=True)
    assert_same(arrays["a"], [1, 2, 3], "float32")
    assert_same(arrays["b"], [5], "int8")
    mx.save_gguf("y", arrays, metadata)
    assert_same(mx.load("y.gguf")["b"], [5], "int8")


def unpacked(weights, bits):
    words = np.array(weights)[..., None] >> np.arange(0, 32, bits, dtype=np.uint32)
    return (words & (2**bits - 1)).reshape(*weights.shape[:-1], -1)


@pytest.mark.parametrize("kind", [2, 3, 8])
@pytest.mark.parametrize("sizes", [[64, 2], [32, 3, 2], [96]], ids=str)
def test_gguf_quantised(kind, sizes):
    data, expected = quantised(kind, int(np.prod(sizes)) // 32)
    arrays = mx.load(gguf_file([(b"l.weight", sizes, kind, data), (b"b", [1], 24, b"\1")]))
    assert list(arrays) == ["l.weight", "l.scales", "l.biases", "b"]
    weights, scales, biases, _ = arrays.values()
    bits = 8 if kind == 8 else 4
    shape = sizes[::-1]
    assert (weights.dtype, scales.dtype, biases.dtype) == (mx.uint32, mx.float16, mx.float16)
    assert weights.shape == (*shape[:-1], shape[-1] * bits // 32)
    assert scales.shape == biases.shape == (*shape[:-1], shape[-1] // 32)
    factors = [np.repeat(np.array(x).astype(np.float32), 32, axis=-1) for x in (scales, biases)]
    actual = unpacked(weights, bits) * factors[0] + factors[1]
    np.testing.assert_allclose(actual, expected.reshape(shape), rtol=2e-3, atol=0.1)
    if len(shape) > 1:
        whole = mx.dequantize(weights, scales, biases, group_size=32, bits=bits)
        np.testing.assert_allclose(np.array(whole), actual, rtol=2e-3, atol=0.2)


def test_gguf_q4_k():
    """Eight groups of 32 with a 6-bit scale and minimum each, as llama.cpp packs them."""
    rng = np.random.default_rng(0)
    scales, least = rng.integers(0, 64, (2, 8))
    quants = rng.integers(0, 16, (8, 32))
    packed = [
        *(scales[i] | (scales[i + 4] >> 4) << 6 for i in range(4)),
        *(least[i] | (least[i + 4] >> 4) << 6 for i in range(4)),
        *((scales[i] & 15) | (least[i] & 15) << 4 for i in range(4, 8)),
    ]
    nibbles = [quants[i] | quants[i + 1] << 4 for i in range(0, 8, 2)]
    factors = np.array([0.25, 0.5], np.float16)
    block = factors.tobytes() + bytes(map(int, packed)) + np.uint8(nibbles).tobytes()
    x = mx.load(gguf_file([(b"a", [256, 1], 12, block)]))["a"]
    expected = 0.25 * scales[:, None] * quants - 0.5 * least[:, None]
    assert_same(x, expected.reshape(1, 256), "float16")


def test_gguf_names_of_scales():
    data, _ = quantised(2, 1)
    arrays = mx.load(gguf_file([(b"foo", [32], 2, data), (b"weight.x", [32], 2, data)]))
    assert list(arrays) == [
        *("foo", "foo.scales", "foo.biases"),
        *("weight.x", "weight.x.scales", "weight.x.biases"),
    ]


def le(form, *numbers):
    return struct.pack("<" + form, *numbers)


BAD_GGUF = [
    lambda: b"",
    lambda: b"GGUF",
    lambda: b"FUGG" + bytes(30),
    lambda: b"GGUF" + le("IQQ", 1, 0, 0),
    lambda: b"GGUF" + le("IQQ", 4, 0, 0),
    lambda: b"GGUF" + le("IQQ", 3, 2**63, 0),
    lambda: b"GGUF" + le("IQQ", 3, 0, 2**63),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + le("Q", 2**63) + b"key",
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"k") + le("I", 13),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"k") + le("IQ", 8, 2**64 - 1),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"k") + le("IIQ", 9, 8, 2**62),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"k") + le("IIQ", 9, 5, 2**62),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"k") + le("IIQ", 9, 9, 1) + le("IQ", 5, 0),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"general.alignment") + le("II", 4, 0),
    lambda: b"GGUF" + le("IQQ", 3, 0, 1) + text(b"general.alignment") + le("IB", 0, 32),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("I", 2**31),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 2**62, 0, 0),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 2**63, 24, 0),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 1, 0, 2**64 - 4),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 1, 0, 2**63 - 1),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 16, 2, 0) + bytes(99),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IIQ", 0, 2, 0) + bytes(99),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQIQ", 1, 256, 11, 0) + bytes(999),
    lambda: b"GGUF" + le("IQQ", 3, 1, 0) + text(b"a") + le("IQQIQ", 2, 2**62, 2**62, 8, 0),
]


@pytest.mark.parametrize("row", range(len(BAD_GGUF)))
def test_bad_gguf(row):
    pathlib.Path("x.gguf").write_bytes(BAD_GGUF[row]())
    with pytest.raises(RuntimeError, match="load"):
        mx.load("x.gguf")


# Files that were cut or changed anywhere


def whole_files():
    """Names of a file of each format."""
    tensors = [(b"a", [32], 2, quantised(2, 1)[0]), (b"b", [256], 12, bytes(144))]
    os.rename(gguf_file(tensors), "q.gguf")
    arrays = {"a": mx.arange(7), "b.weight": mx.ones((2, 3))}
    mx.save("x", arrays["a"])
    mx.savez("s", **arrays)
    mx.savez_compressed("c", **arrays)
    mx.save_safetensors("x", arrays, {"k": "v"})
    mx.save_gguf("x", arrays, {"k": "v", "l": ["a"], "n": mx.array([1, 2])})
    return ["x.npy", "s.npz", "c.npz", "x.safetensors", "x.gguf", "q.gguf"]


def survives(path, content):
    """Loads what `content` is; only errors that say so may come of it."""
    file = pathlib.Path(path)
    file.write_bytes(content)
    try:
        mx.eval(mx.load(path))
    except (RuntimeError, ValueError, MemoryError) as error:
        return str(error)
    return None


def test_files_cut_anywhere():
    for path in whole_files():
        content = pathlib.Path(path).read_bytes()
        assert survives(path, content) is None
        last = len(content) - 32  # the end of a GGUF file may be padding
        for length in (*range(0, last, max(1, last // 100)), last):
            assert survives(path, content[:length]) is not None, (path, length)


def test_files_changed_anywhere():
    rng = np.random.default_rng(1)
    errors = 0
    for path in whole_files():
        content = pathlib.Path(path).read_bytes()
        for _ in range(300):
            changed = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                place = int(rng.integers(len(changed)))
                width = int(rng.choice([1, 1, 4, 8]))
                changed[place : place + width] = rng.choice(
                    [rng.bytes(width), b"\xff" * width, bytes(width)]
                )
            errors += survives(path, bytes(changed)) is not None
    assert errors > 300


def test_names_that_are_no_utf8():
    data, _ = quantised(2, 1)
    arrays = mx.load(gguf_file([(b"\xff", [32], 2, data)]))
    assert list(arrays) == ["\udcff", "\udcff.scales", "\udcff.biases"]
    with pytest.raises(RuntimeError, match=r"'\?' has the unsupported type 9"):
        mx.load(gguf_file([(b"\xff", [32], 9, data)]))
    with pytest.raises(RuntimeError, match=r"Failed to open file \?\.npy"):
        mx.load(b"\xff.npy")
    mx.save(b"\xfe", mx.array(1))
    assert mx.load(b"\xfe.npy").item() == 1


# Beside MLX


@needs_mlx
@pytest.mark.parametrize("name", DTYPES)
def test_files_of_and_for_mlx(name):
    mlx = importlib.import_module("mlx.core")
    mlx.set_default_device(mlx.cpu)
    host = to_numpy(example(name))
    theirs = mlx.array(host, dtype=getattr(mlx, "bool_" if name == "bool" else name))
    ours = example(name)

    def same(loaded):
        if isinstance(loaded, mx.array):
            return assert_same(loaded, host, name)
        assert str(loaded.dtype).endswith(name)
        wide = loaded.astype(mlx.float32) if name == "bfloat16" else loaded
        np.testing.assert_array_equal(np.array(wide), host)

    formats = {"x.npy": "save", "x.npz": "savez", "x.safetensors": "save_safetensors"}
    if name in ("float16", "float32", "int8", "int16", "int32"):
        formats["x.gguf"] = "save_gguf"
    for path, save in formats.items():
        for writer, reader, x in ((mlx, mx, theirs), (mx, mlx, ours)):
            if path == "x.safetensors" and name == "float64":
                continue  # MLX knows no F64
            content = x if path == "x.npy" else {"x": x}
            more = [{}] if path == "x.gguf" else []
            if path == "x.npz":
                writer.savez(path, **content)
            else:
                getattr(writer, save)(path, content, *more)
            loaded = reader.load(path)
            same(loaded if path == "x.npy" else loaded["x"])


@needs_mlx
@pytest.mark.parametrize("kind", [2, 3, 8, 10, 14])
def test_gguf_blocks_as_mlx_reads_them(kind):
    mlx = importlib.import_module("mlx.core")
    rng = np.random.default_rng(kind)
    # Half-precision factors in the places that have them; everything else may be anything.
    size, halves = {
        2: (18, [0]),
        3: (20, [0, 2]),
        8: (34, [0]),
        10: (84, [80, 82]),
        14: (210, [208]),
    }[kind]
    data = b""
    for _ in range(6):
        block = bytearray(rng.bytes(size))
        for place in halves:
            block[place : place + 2] = np.float16(rng.normal() / 64).tobytes()
        data += bytes(block)
    sizes = [3 * (32 if size < 40 else 256), 2]
    path = gguf_file([(b"l.weight", sizes, kind, data)])
    ours, theirs = mx.load(path), mlx.load(path)
    assert set(ours) == set(theirs)
    for name, x in ours.items():
        y = np.array(theirs[name])
        assert x.shape == y.shape and name_of(x.dtype) == y.dtype.name
        if y.dtype == np.uint32:
            np.testing.assert_array_equal(np.array(x), y)
        else:
            np.testing.assert_allclose(np.array(x), y, rtol=1e-3, atol=1e-5)
