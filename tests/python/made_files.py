"""Files of the formats that Rill reads, made by hand for the tests."""

import json
import pathlib
import struct

import numpy as np
from support import array, values

SHAPES = [(), (0,), (5,), (2, 3), (3, 0, 2), (1, 1, 1, 4)]


def example(name, shape=(2, 3)):
    return array(values(name, shape), name)


def numpy_file(path, x, **options):
    with open(path, "wb") as file:
        np.lib.format.write_array(file, x, **options)
    return path


def safetensors_file(header, data=bytes(8), length=None):
    """A file x.safetensors with this header, a dict or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = struct.pack("<Q", len(text) if length is None else length)
    pathlib.Path("x.safetensors").write_bytes(length + text + data)
    return "x.safetensors"


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf_file(tensors=(), metadata=(), alignment=32, version=3):
    """A file x.gguf of (name, sizes from the last axis, type, bytes) and (key, type, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += text(key) + struct.pack("<I", kind) + value
    data = b""
    for name, sizes, kind, content in tensors:
        head += text(name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % alignment)
    pathlib.Path("x.gguf").write_bytes(head + bytes(-len(head) % alignment) + data)
    return "x.gguf"


def quantised(kind, blocks, seed=0):
    """Random blocks of Q4_0 (2), Q4_1 (3) or Q8_0 (8), and the elements that they stand for."""
    rng = np.random.default_rng(seed)
    data, elements = b"", []
    for _ in range(blocks):
        scale, least = rng.normal(size=2).astype(np.float16)
        quants = rng.integers(0, 256, 32 if kind == 8 else 16, dtype=np.uint8)
        data += scale.tobytes() + (least.tobytes() if kind == 3 else b"") + quants.tobytes()
        if kind == 8:
            elements.append(np.float32(scale) * quants.view(np.int8))
            continue
        nibbles = np.concatenate([quants & 15, quants >> 4]).astype(np.float32)
        lowest = np.float32(least) if kind == 3 else -8 * np.float32(scale)
        elements.append(np.float32(scale) * nibbles + lowest)
    return data, np.concatenate(elements)
