"""load, save and savez, of paths and of file-like objects, beside NumPy."""

import io
import os
import pathlib
import struct
import time
import zipfile

import numpy as np
import pytest
from made_files import SHAPES, example, numpy_file
from support import DTYPES, assert_same, mx, name_of, rill_only, to_numpy

pytestmark = rill_only


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# npy


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_npy_round_trip(name, shape):
    x = example(name, shape)
    mx.save("x.npy", x)
    assert_same(mx.load("x.npy"), to_numpy(x), name)
    if name != "bfloat16":
        theirs = np.load("x.npy")
        assert theirs.dtype == name and theirs.shape == shape
        np.testing.assert_array_equal(theirs, to_numpy(x))


@pytest.mark.parametrize("code", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_of_numpy(code, order, version):
    for x in (np.arange(24).reshape(2, 3, 4), np.asfortranarray(np.arange(6).reshape(2, 3))):
        x = x.astype(order + code, order="K")
        numpy_file("x.npy", x, version=version)
        assert_same(mx.load("x.npy"), x, x.dtype.name)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (1, 5), (0, 3), (70, 300)], ids=str)
def test_columns_are_saved_as_they_lie(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    mx.save("x.npy", mx.array(x).T)
    mx.savez("x.npz", x=mx.array(x).T)
    for theirs in (np.load("x.npy"), np.load("x.npz")["x"]):
        np.testing.assert_array_equal(theirs, x.T)
        assert theirs.flags.f_contiguous
    assert_same(mx.load("x.npy"), x.T, "float32")
    mx.save("x.npy", mx.array(x)[..., ::2].T)  # no columns without gaps
    np.testing.assert_array_equal(np.load("x.npy"), x[..., ::2].T)


@pytest.mark.parametrize(
    "code, name", [("f8", "float64"), ("c8", "complex64"), ("c16", "complex64")]
)
@pytest.mark.parametrize("order", "<>")
def test_npy_of_wide_numbers(code, name, order):
    x = (np.arange(6).reshape(2, 3) + 0.5).astype(order + code)
    if code[0] == "c":
        x = x * (1 - 2j)
    assert_same(mx.load(numpy_file("x.npy", x.astype(order + code))), x, name)


def test_npy_bools_are_0_or_1():
    path = pathlib.Path(numpy_file("x.npy", np.zeros(4, bool)))
    path.write_bytes(path.read_bytes()[:-4] + bytes([0, 1, 2, 255]))
    x = mx.load("x.npy")
    assert_same(x, [False, True, True, True], "bool")
    assert x.sum().item() == 3


@pytest.mark.parametrize(
    "x",
    [
        np.array([1, "a"], dtype=object),
        np.array(["text"]),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, np.longdouble),
        np.zeros(2, "V3"),
    ],
    ids=lambda x: str(x.dtype),
)
def test_npy_of_other_types_is_refused(x):
    with open("x.npy", "wb") as file:
        np.lib.format.write_array(file, x, allow_pickle=True)
    with pytest.raises(ValueError, match="dtype"):
        mx.load("x.npy")


def test_views_are_saved_in_order():
    x = mx.arange(24).reshape(2, 3, 4)
    for view in (x.T, x[:, ::2], x[:, :, ::-1], mx.broadcast_to(x[0, 0], (5, 4))):
        mx.save("x.npy", view)
        np.testing.assert_array_equal(np.load("x.npy"), to_numpy(view))
        mx.save_safetensors("x", {"x": view})
        assert_same(mx.load("x.safetensors")["x"], to_numpy(view), "int32")


def test_large_arrays(tmp_path):
    x = mx.random.bits((3, 1 << 20))
    mx.save("x", x)
    mx.savez("z", x=x)
    mx.savez_compressed("c", x=x, y=mx.zeros((3, 1 << 20)))
    assert mx.array_equal(mx.load("x.npy"), x).item()
    assert mx.array_equal(mx.load("z.npz")["x"], x).item()
    assert mx.array_equal(mx.load("c.npz")["x"], x).item()
    assert os.path.getsize("c.npz") < 14 << 20
    with np.load("c.npz") as theirs:
        np.testing.assert_array_equal(theirs["x"], np.array(x))
        assert not theirs["y"].any()


# Paths and file-like objects


@pytest.mark.parametrize("path", ["a", "a.npy", b"a", pathlib.Path("a")], ids=repr)
def test_save_adds_the_ending(path):
    mx.save(path, mx.array([1, 2]))
    assert os.listdir() == ["a.npy"]


def test_a_file_may_be_replaced_while_its_arrays_are_unread():
    x = mx.arange(100_000)
    mx.save("x.npy", x)
    mx.save_safetensors("x", {"a": x, "b": x})
    old = mx.load("x.npy")
    mx.save("x.npy", old + 1)
    assert mx.array_equal(mx.load("x.npy"), x + 1).item()
    arrays = mx.load("x.safetensors")
    mx.save_safetensors("x", {"a": arrays["a"] * 2})
    assert mx.array_equal(arrays["b"], x).item()
    again = mx.load("x.npy")
    os.remove("x.npy")
    assert mx.array_equal(again, x + 1).item()


def test_large_files_are_replaced_again_and_again():
    """The room of the old one is given up beside the program, and soon; no more is taken."""
    descriptors = len(os.listdir("/proc/self/fd"))
    old = None
    for n in range(6):
        x = mx.full((3, 1 << 20), n)
        mx.save("x.npy", x)
        mx.savez("x", a=x, b=x)
        assert os.listdir() in (["x.npy", "x.npz"], ["x.npz", "x.npy"])
        if old is not None:
            assert mx.array_equal(old, x - 1).item()
        old = mx.load("x.npy")
    assert mx.array_equal(mx.load("x.npz")["b"], old).item()
    assert os.stat("x.npy").st_blocks * 512 < os.path.getsize("x.npy") + (1 << 20)
    end = time.monotonic() + 10
    del old
    while len(os.listdir("/proc/self/fd")) > descriptors and time.monotonic() < end:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_that_was_cut_is_an_error_when_read():
    mx.save("x.npy", mx.arange(100_000))
    x = mx.load("x.npy")
    os.truncate("x.npy", 100_000)
    y = x + 1
    with pytest.raises(RuntimeError, match="cut"):
        mx.eval(y)
    assert mx.array(1).item() == 1


def test_many_files_need_no_descriptors():
    before = len(os.listdir("/proc/self/fd"))
    mx.save("small", mx.arange(10))
    mx.save("large", mx.arange(100_000))
    small = [mx.load("small.npy") for _ in range(2000)]
    large = [mx.load("large.npy") for _ in range(50)]
    mx.eval(small, large)
    assert len(os.listdir("/proc/self/fd")) == before


def test_links_and_modes_stay():
    mx.save("real", mx.array(1))
    os.chmod("real.npy", 0o640)
    os.symlink("real.npy", "link.npy")
    mx.save("link", mx.array(2))
    assert os.path.islink("link.npy") and os.stat("real.npy").st_mode & 0o777 == 0o640
    assert mx.load("real.npy").item() == 2
    assert sorted(os.listdir()) == ["link.npy", "real.npy"]


def test_a_failed_save_leaves_the_old_file():
    mx.save_gguf("x", {"a": mx.ones(3)})
    with pytest.raises(ValueError, match="uint8"):
        mx.save_gguf("x", {"a": mx.zeros(3), "b": mx.array([1], mx.uint8)})
    assert_same(mx.load("x.gguf")["a"], [1, 1, 1])
    assert os.listdir() == ["x.gguf"]


def test_file_objects():
    file = io.BytesIO()
    mx.save(file, mx.array([1, 2]))
    mx.save(file, mx.array([[1.5]]))
    file.seek(0)
    assert_same(mx.load(file, "npy"), [1, 2], "int32")
    assert_same(mx.load(file, format="npy"), [[1.5]], "float32")
    arrays = {"a": mx.array([1, 2]), "b": mx.array(2.5)}
    for format, save in (
        ("npz", lambda file: mx.savez(file, **arrays)),
        ("npz", lambda file: mx.savez_compressed(file, **arrays)),
        ("safetensors", lambda file: mx.save_safetensors(file, arrays)),
        ("gguf", lambda file: mx.save_gguf(file, arrays)),
    ):
        file = io.BytesIO()
        save(file)
        file.seek(0)
        loaded = mx.load(file, format)
        assert list(loaded) == ["a", "b"]
        assert_same(loaded["a"], [1, 2], "int32")
        assert_same(loaded["b"], 2.5, "float32")


def test_open_files_name_their_format():
    with open("x.npy", "wb", buffering=0) as file:
        mx.save(file, mx.arange(5))
        assert not file.closed
    with open("x.npy", "rb") as file:
        assert_same(mx.load(file), np.arange(5), "int32")
        assert not file.closed


class OnlyReads:
    """What a socket offers."""

    def __init__(self, content):
        self.file = io.BytesIO(content)

    def read(self, count=-1):
        return self.file.read(count)


def test_streams_that_cannot_seek():
    file = io.BytesIO()
    mx.save(file, mx.array([3, 4]))
    assert_same(mx.load(OnlyReads(file.getvalue()), "npy"), [3, 4], "int32")


class KeepsPieces:
    """Keeps what it is given, one byte less than it got the first time."""

    def __init__(self):
        self.pieces = []

    def write(self, piece):
        taken = piece[:-1] if len(piece) > 1 and not self.pieces else piece
        self.pieces.append(taken)
        return len(taken)


def test_files_that_take_a_part():
    file = KeepsPieces()
    mx.save(file, mx.arange(50))
    assert_same(np.load(io.BytesIO(b"".join(file.pieces))), np.arange(50))


class Fails:
    def write(self, piece):
        raise KeyError("full")

    def read(self, count):
        return "text"


def test_errors_of_file_objects_pass_through():
    with pytest.raises(KeyError, match="full"):
        mx.save(Fails(), mx.array(1))
    with pytest.raises(ValueError, match="binary"):
        mx.load(Fails(), "npy")


BAD_CALLS = [
    (lambda: mx.load("x"), ValueError, "infer"),
    (lambda: mx.load("folder.d/x"), ValueError, "infer"),
    (lambda: mx.load("x.dat"), ValueError, "Unknown"),
    (lambda: mx.load("x.npy", "foo"), ValueError, "Unknown"),
    (lambda: mx.load(3), ValueError, "Input"),
    (lambda: mx.load(None), TypeError, "None"),
    (lambda: mx.load("x.npy", return_metadata=True), ValueError, "metadata"),
    (lambda: mx.load("x.npz", None, True), ValueError, "metadata"),
    (lambda: mx.load("a\0b.npy"), ValueError, "null"),
    (lambda: mx.load("."), ValueError, "format"),
    (lambda: mx.load(".", "npy"), RuntimeError, "regular"),
    (lambda: mx.load("/dev/zero", "npy"), RuntimeError, "regular"),
    (lambda: mx.load("x.npy", stream="cpu"), TypeError, "stream"),
    *[
        (lambda f=f: mx.load("none." + f), RuntimeError, "Failed to open")
        for f in ("npy", "npz", "safetensors", "gguf")
    ],
    (lambda: mx.save("x", [1, 2]), TypeError, "array"),
    (lambda: mx.save(3, mx.array(1)), ValueError, "file"),
    (lambda: mx.save("no/such/folder/x", mx.array(1)), RuntimeError, "Failed to open"),
    (lambda: mx.savez("x", 3), TypeError, "array"),
    (lambda: mx.savez("x", a=[1]), TypeError, "array"),
    (lambda: mx.savez("x", mx.array(1), arr_0=mx.array(2)), ValueError, "arr_0"),
    (lambda: mx.savez("x", **{"a" * 70_000: mx.array(1)}), ValueError, "long"),
    (lambda: mx.save_safetensors("x", [mx.array(1)]), TypeError, "dict"),
    (lambda: mx.save_safetensors("x", {1: mx.array(1)}), TypeError, "str"),
    (lambda: mx.save_safetensors("x", {"a": 3}), TypeError, "array"),
    (lambda: mx.save_safetensors("x", {"a": mx.array(1)}, {"k": 1}), ValueError, "string keys"),
    (lambda: mx.save_safetensors("x", {"a": mx.array(1)}, [1]), ValueError, "dict"),
    (lambda: mx.save_safetensors("x", {"__metadata__": mx.array(1)}), ValueError, "metadata"),
    (lambda: mx.save_safetensors("x", {"\udc80": mx.array(1)}), ValueError, "surrogates"),
    (lambda: mx.save_gguf("x", {"a": mx.array(1, mx.uint32)}), ValueError, "uint32"),
    (lambda: mx.save_gguf("x", {}, {"k": [1]}), ValueError, "list of str"),
    (lambda: mx.save_gguf("x", {}, {"k": None}), ValueError, "list of str"),
    (lambda: mx.save_gguf("x", {}, {"k": mx.zeros((2, 2))}), ValueError, "dimension"),
    (lambda: mx.save_gguf("x", {}, {"k": mx.array(1, mx.float16)}), ValueError, "float16"),
    (lambda: mx.save_gguf("x", {}, {"general.alignment": mx.array(3)}), ValueError, "multiple"),
]


@pytest.mark.parametrize("row", range(len(BAD_CALLS)))
def test_bad_calls(row):
    call, error, match = BAD_CALLS[row]
    with pytest.raises(error, match=match):
        call()
    assert os.listdir() == []


def test_laziness_and_streams():
    mx.save("x", mx.arange(100_000))
    s = mx.new_stream(mx.cpu)
    with mx.trace() as trace:
        x = mx.load("x.npy", stream=s)
        y = x + 1
        mx.eval(y)
    loads = [r for r in trace.records if "load" in r["name"]]
    assert [r["stream"] for r in loads] == [s]
    assert y[-1].item() == 100_000
    assert_same(mx.load("x.npy", stream=mx.cpu)[:3], [0, 1, 2])


def test_gradients_pass_by_loaded_arrays():
    mx.save("x", mx.array([1.0, 2.0]))
    gradient = mx.grad(lambda w: (w * mx.load("x.npy")).sum())(mx.ones(2))
    assert_same(gradient, [1, 2], "float32")


# npz


@pytest.mark.parametrize("save", [mx.savez, getattr(mx, "savez_compressed", None)])
def test_npz_round_trip(save):
    arrays = {f"w/{name}.é": example(name) for name in DTYPES}
    save("x", mx.array([7]), mx.array(8), **arrays)
    loaded = mx.load("x.npz")
    assert list(loaded) == ["arr_0", "arr_1", *arrays]
    for name, x in arrays.items():
        assert_same(loaded[name], to_numpy(x), name_of(x.dtype))
    with np.load("x.npz") as theirs:
        assert theirs.files == list(loaded)
        np.testing.assert_array_equal(theirs["w/int32.é"], to_numpy(arrays["w/int32.é"]))
    with zipfile.ZipFile("x.npz") as archive:
        assert archive.testzip() is None
    save("x")
    assert mx.load("x.npz") == {}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_numpy(save):
    arrays = {"a": np.arange(50_000), "b": np.asfortranarray(np.ones((3, 4), ">f4"))}
    save("x.npz", **arrays)
    loaded = mx.load("x.npz")
    for name, x in arrays.items():
        assert_same(loaded[name], x, x.dtype.name)


def test_npz_members_of_any_name():
    content = io.BytesIO()
    np.save(content, np.arange(3))
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("plain", content.getvalue())
        archive.comment = b"a comment"
    assert_same(mx.load("x.npz")["plain"], np.arange(3), "int64")
    with zipfile.ZipFile("x.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(RuntimeError, match=r"readme\.txt"):
        mx.load("x.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_checksums(compression):
    content = io.BytesIO()
    np.save(content, np.random.default_rng(0).integers(0, 100, 100_000))
    with zipfile.ZipFile("x.npz", "w", compression) as archive:
        archive.writestr("x.npy", content.getvalue())
    data = bytearray(pathlib.Path("x.npz").read_bytes())
    data[len(data) // 2] ^= 1
    pathlib.Path("x.npz").write_bytes(data)
    x = mx.load("x.npz")["x"]
    with pytest.raises(RuntimeError, match="corrupt"):
        mx.eval(x)


def test_npz_of_large_archives():
    """The 64-bit extensions, as zipfile writes them when it is told to."""
    content = io.BytesIO()
    np.save(content, np.arange(10))
    with (
        zipfile.ZipFile("x.npz", "w") as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(content.getvalue())
    assert_same(mx.load("x.npz")["x"], np.arange(10), "int64")


def test_npz_bombs():
    """A member that claims more than its bytes can hold."""
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        content = io.BytesIO()
        np.save(content, np.zeros(100))
        archive.writestr("x.npy", content.getvalue())
    data = pathlib.Path("x.npz").read_bytes()
    place = data.index(b"PK\1\2") + 24
    pathlib.Path("x.npz").write_bytes(
        data[:place] + struct.pack("<I", 0xFFFFFFF0) + data[place + 4 :]
    )
    with pytest.raises(RuntimeError, match="zip"):
        mx.load("x.npz")
