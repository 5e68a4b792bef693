"""The table of benchmark cases: what is computed, what is right, and what counts as fast.

A case holds only what differs. `every` is code that all frameworks can run; `mlx` is written once
against an mlx.core-like module and serves both Rill and MLX. Each function receives the module
(mlx.core, rill.core, numpy, torch or jax.numpy) and the inputs as that framework's arrays.
A framework without code for a case gives an empty cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import programs
import train
from case import Case, Limit, Mark

MILLION16 = 1 << 24


def normal(*shapes: tuple[int, ...]) -> Callable:
    """Returns a maker of one standard normal float32 array per shape."""
    return lambda rng: tuple(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)


# Code that more than a line states better.


def hundred_operations(_, x, a, b):
    for _ in range(50):
        x = (x + a) * b
    return x


def thousand_additions(_, x, a):
    for _ in range(1000):
        x = x + a
    return x


def gelu_of(erf: Callable) -> Callable:
    return lambda x: x * (1 + erf(x * math.sqrt(0.5))) * 0.5


def verify_gelu(inputs, out):
    sample = inputs[0][::4099]
    want = [0.5 * v * (1 + math.erf(v * math.sqrt(0.5))) for v in sample.tolist()]
    return np.allclose(out[::4099], want, rtol=1e-5, atol=1e-6)


def verify_cast(inputs, out):
    """To the nearest: half a unit in the last of 8 bits; a truncation is up to a whole one off."""
    return bool(np.all(np.abs(out - inputs[0]) <= np.abs(inputs[0]) * 2.0**-8))


def verify_sum(inputs, out):
    """Against the sum of magnitudes, since terms of both signs cancel."""
    x = inputs[0].astype(np.float64)
    return out.shape == () and abs(out - x.sum()) <= 1e-7 * np.abs(x).sum()


def verify_uniform(_, out):
    counts = np.histogram(out, bins=16, range=(0, 1))[0] * (16 / out.size)
    bounded = out.min() >= 0 and out.max() < 1 and out.shape == (MILLION16,)
    return bool(bounded and np.abs(counts - 1).max() < 0.01 and np.unique(out[:4096]).size > 4000)


def verify_normal(_, out):
    moments = abs(out.mean()) < 2e-3 and abs(out.std() - 1) < 2e-3
    tail = np.count_nonzero(np.abs(out) > 1.959964) / out.size
    return bool(moments and abs(tail - 0.05) < 1e-3 and out.shape == (MILLION16,))


def numpy_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def numpy_layer_norm(x, w, b):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * w + b


def jax_layer_norm(jnp, x, w, b):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + 1e-5) * w + b


def numpy_attention(q, k, v):
    scores = q @ k.swapaxes(-1, -2) / np.float32(math.sqrt(q.shape[-1]))
    hidden = np.triu(np.full(scores.shape[-2:], -np.inf, np.float32), 1)
    return numpy_softmax(scores + hidden) @ v


def jax_attention(_, q, k, v):
    import jax

    return jax.nn.dot_product_attention(q, k, v, is_causal=True).swapaxes(1, 2)


def numpy_conv(x, w):
    """x: [N, H, W, C], w: [O, 3, 3, C], padding 1."""
    n, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((n, height, width, w.shape[0]), np.float32)
    for i in range(3):
        for j in range(3):
            out += padded[:, i : i + height, j : j + width] @ w[:, i, j].T
    return out


def jax_conv(_, x, w):
    from jax import lax

    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)


def torch_conv(torch, x, w):
    return torch.nn.functional.conv2d(x, w, padding=1).permute(0, 2, 3, 1)


def torch_conv_setup(torch, x, w):
    last = torch.channels_last
    return tuple(t.permute(0, 3, 1, 2).contiguous(memory_format=last) for t in (x, w))


def grid_weights(rng):
    """A vector, and weights that 4 bits with groups of 64 represent exactly (up to rounding)."""
    quanta = rng.integers(0, 16, (4096, 64, 64)).astype(np.float32) - 8
    quanta[..., 0], quanta[..., 1] = -8, 7
    return normal((1, 4096))(rng) + ((quanta * 0.015625).reshape(4096, 4096),)


def quantized_setup(mx, x, w):
    return (x, *mx.quantize(w, group_size=64, bits=4))


def quantized(mx, x, w, scales, biases):
    return mx.quantized_matmul(x, w, scales, biases, transpose=True, group_size=64, bits=4)


def scatter_inputs(rng):
    table, updates = normal((50_000, 256), (65_536, 256))(rng)
    return table, rng.integers(0, 50_000, 65_536).astype(np.int32), updates


def numpy_scatter(table, index, updates):
    out = table.copy()
    np.add.at(out, index, updates)
    return out


def complex_input(rng):
    real, imaginary = normal((1 << 20,), (1 << 20,))(rng)
    return ((real + 1j * imaginary).astype(np.complex64),)


def positive_definite(rng):
    (a,) = normal((512, 512))(rng)
    return (a @ a.T / 512 + np.eye(512, dtype=np.float32),)


def chain_inputs(rng):
    return tuple(a / np.float32(math.sqrt(384)) for a in normal(*[(384, 384)] * 3)(rng))


def power_chain(x, y, w):
    for _ in range(10):
        x, y = x @ w, y @ w
    return np.stack([x, y])


def streams(count: int) -> Callable:
    """Returns a setup that appends two streams: the same one twice, or two new ones."""

    def setup(mx, *arrays):
        made = [mx.new_stream(mx.default_device()) for _ in range(count)]
        return (*arrays, made[0], made[-1])

    return setup


def two_matmul_chains(mx, x, y, w, first, second):
    for _ in range(10):
        x = mx.matmul(x, w, stream=first)
        y = mx.matmul(y, w, stream=second)
    return x, y


def two_sine_chains(mx, x, y, first, second):
    for _ in range(200):
        x = mx.sin(x, stream=first)
        y = mx.sin(y, stream=second)
    return x, y


def numpy_sine_chains(x, y):
    both = np.stack([x, y])
    for _ in range(200):
        both = np.sin(both)
    return both


def sine_chains(m, x, y):
    for _ in range(200):
        x, y = m.sin(x), m.sin(y)
    return x, y


def compiled_sine_chains(mx, x, y):
    return mx.compile(lambda x, y: sine_chains(mx, x, y)), x, y


def alternating(mx, x, a, first, second):
    for _ in range(500):
        x = mx.add(mx.add(x, a, stream=first), a, stream=second)
    return x


def gradient_inputs(rng):
    x, w = normal((8, 64), (64, 64))(rng)
    return x, w / 8


def numpy_gradient(x, w):
    first = np.tanh(x @ w)
    inner = 1 - np.tanh(first @ w) ** 2
    return first.T @ inner + x.T @ ((inner @ w.T) * (1 - first**2))


def mlx_gradient(mx, x, w):
    return mx.grad(lambda v: mx.tanh(mx.tanh(x @ v) @ v).sum())(w)


def jax_gradient(jnp, x, w):
    import jax

    return jax.grad(lambda v: jnp.tanh(jnp.tanh(x @ v) @ v).sum())(w)


def torch_gradient(torch, x, w):
    w.requires_grad_()
    return torch.autograd.grad(torch.tanh(torch.tanh(x @ w) @ w).sum(), w)[0]


def compiled_if_possible(compiler: Callable, run: Callable, function: Callable) -> Callable:
    """Returns `function` compiled, or as it is where the framework finds no compiler."""
    compiled = compiler(function)
    try:
        run(compiled)
    except Exception:
        return function
    return compiled


def compiled_hundred(mx, x, a, b):
    return mx.compile(lambda x, a, b: hundred_operations(mx, x, a, b)), x, a, b


def small_products(m, w):
    y = w
    for _ in range(50):
        y = m.tanh(y @ w)
    return y


def compiled_products(mx, w):
    return mx.compile(lambda w: small_products(mx, w)), w


def mlx_gelu_setup(mx, x):
    run = lambda f: mx.eval(f(x[:8]))
    return compiled_if_possible(mx.compile, run, gelu_of(mx.erf)), x


def torch_gelu_setup(torch, x):
    run = lambda f: f(x)
    return compiled_if_possible(torch.compile, run, torch.nn.functional.gelu), x


def jax_gelu(_, x):
    import jax

    return jax.nn.gelu(x, approximate=False)


def jax_random(kind: str) -> Callable:
    def draw(_, key):
        import jax

        return getattr(jax.random, kind)(key, (MILLION16,))

    return draw


def random_setups() -> dict[str, Callable]:
    def jax_setup(_):
        import jax

        return (jax.random.key(7),)

    return {"numpy": lambda np: (np.random.default_rng(7),), "jax": jax_setup}


def apply(_, function, *arguments):
    return function(*arguments)


BIG = (MILLION16,)
SQUARE = (4096, 4096)
MEMORY = Mark(0.4, limit_ratio=1.5)
MATMUL = Mark(1.0, limit_ratio=1 / 0.85)
COPY = Limit("copy")
SUM = Limit("sum")


def _matmul(size: int, bf16: bool = False) -> Case:
    return Case(
        f"matmul {'bf16' if bf16 else 'f32'} {size}", "matmul", normal((size, size), (size, size)),
        np.matmul, every=lambda m, a, b: a @ b, mark=MATMUL, limit=Limit("gflops", 2.0 * size**3),
        bf16=bf16, tolerance=2e-2 if bf16 else 1e-4,
    )  # fmt: skip


# fmt: off
CASES = (
    Case("a + b of one element, evaluated", "overhead", normal((1,), (1,)), np.add,
         every=lambda m, a, b: a + b, mark=Mark(None, under_ms=0.003), jit=False),
    Case("100 operations on 16 elements, evaluated once", "overhead",
         lambda rng: (*normal((16,), (16,))(rng), np.full(16, 0.9, np.float32)),
         lambda x, a, b: hundred_operations(np, x, a, b), every=hundred_operations, jit=False),
    Case("1,000 additions built, not evaluated", "overhead", normal((16,), (16,)),
         lambda x, a: thousand_additions(np, x, a), every=thousand_additions,
         mark=Mark(None, under_ms=0.25), jit=False, built_only=True),
    Case("add 16M", "memory", normal(BIG, BIG), np.add,
         every=lambda m, a, b: a + b, mark=MEMORY, limit=Limit("add")),
    Case("exp 16M", "elementwise", normal(BIG), np.exp, every=lambda m, x: m.exp(x),
         mark=Mark(0.4), limit=COPY),
    Case("exact gelu, compiled where there is a compiler, 16M", "elementwise", normal(BIG),
         verify=verify_gelu, mlx=apply, torch=apply, jax=jax_gelu,
         setup={"mlx": mlx_gelu_setup, "torch": torch_gelu_setup}, mark=Mark(0.4), limit=COPY),
    Case("cast f32 bf16 16M", "memory", normal(BIG), verify=verify_cast,
         mlx=lambda mx, x: x.astype(mx.bfloat16), torch=lambda torch, x: x.to(torch.bfloat16),
         jax=lambda jnp, x: x.astype(jnp.bfloat16), mark=MEMORY, limit=Limit("copy", 0.75)),
    Case("sum all 16M", "reduction", normal(BIG), verify=verify_sum,
         every=lambda m, x: x.sum(), limit=SUM),
    Case("sum axis0 4096", "reduction", normal(SQUARE), lambda x: x.sum(0),
         every=lambda m, x: x.sum(0), limit=SUM),
    Case("sum axis1 4096", "reduction", normal(SQUARE), lambda x: x.sum(1),
         every=lambda m, x: x.sum(1), limit=SUM),
    Case("argmax axis1 4096", "reduction", normal(SQUARE), lambda x: x.argmax(1),
         every=lambda m, x: x.argmax(1), limit=SUM, tolerance=0),
    Case("softmax 4096", "memory", normal(SQUARE), numpy_softmax,
         mlx=lambda mx, x: mx.softmax(x, -1), torch=lambda torch, x: torch.softmax(x, -1),
         jax=lambda jnp, x: __import__("jax").nn.softmax(x, -1), mark=MEMORY, limit=COPY),
    Case("layer norm 4096", "memory", normal(SQUARE, (4096,), (4096,)), numpy_layer_norm,
         mlx=lambda mx, x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
         torch=lambda torch, x, w, b: torch.nn.functional.layer_norm(x, (4096,), w, b, 1e-5),
         jax=jax_layer_norm, mark=MEMORY, limit=COPY),
    Case("transpose copy 4096", "memory", normal(SQUARE), np.transpose,
         mlx=lambda mx, x: mx.contiguous(x.T), torch=lambda torch, x: x.T.contiguous(),
         jax=lambda jnp, x: x.T, numpy=lambda np, x: np.ascontiguousarray(x.T),
         mark=MEMORY, limit=COPY),
    _matmul(512), _matmul(2048), _matmul(2048, bf16=True),
    Case("gemv 4096", "matmul", normal(SQUARE, (4096,)), np.matmul, every=lambda m, a, v: a @ v,
         limit=SUM),
    Case("4-bit matrix-vector, 4096x4096, groups of 64", "matmul", grid_weights,
         lambda x, w: x @ w.T, mlx=quantized, setup={"mlx": quantized_setup}, tolerance=1e-3),
    Case("causal attention, 16 heads, 1024x64, f32", "attention", normal(*[(1, 16, 1024, 64)] * 3),
         numpy_attention,
         mlx=lambda mx, q, k, v: mx.fast.scaled_dot_product_attention(
             q, k, v, scale=0.125, mask="causal"),
         torch=lambda torch, q, k, v: torch.nn.functional.scaled_dot_product_attention(
             q, k, v, is_causal=True),
         jax=jax_attention, setup={"jax": lambda jnp, *t: tuple(jnp.swapaxes(a, 1, 2) for a in t)},
         mark=Mark(0.6)),
    Case("conv2d 8x56x56x64 3x3", "library", normal((8, 56, 56, 64), (64, 3, 3, 64)), numpy_conv,
         mlx=lambda mx, x, w: mx.conv2d(x, w, padding=1), torch=torch_conv, jax=jax_conv,
         setup={"torch": torch_conv_setup,
                "jax": lambda jnp, x, w: (x, jnp.transpose(w, (1, 2, 3, 0)))},
         limit=Limit("gflops", 2.0 * 8 * 56 * 56 * 64 * 64 * 9)),
    Case("fft 1M", "library", complex_input, np.fft.fft, every=lambda m, x: m.fft.fft(x)),
    Case("sort 4M", "library", normal((1 << 22,)), np.sort, mlx=lambda mx, x: mx.sort(x),
         torch=lambda torch, x: torch.sort(x).values, jax=lambda jnp, x: jnp.sort(x),
         numpy=lambda np, x: np.sort(x), tolerance=0),
    Case("random uniform 16M", "memory", lambda rng: (), verify=verify_uniform,
         mlx=lambda mx: mx.random.uniform(shape=BIG), torch=lambda torch: torch.rand(MILLION16),
         jax=jax_random("uniform"), numpy=lambda np, rng: rng.random(MILLION16, np.float32),
         setup=random_setups(), mark=MEMORY, limit=Limit("fill")),
    Case("random normal 16M", "elementwise", lambda rng: (), verify=verify_normal,
         mlx=lambda mx: mx.random.normal(shape=BIG), torch=lambda torch: torch.randn(MILLION16),
         jax=jax_random("normal"), numpy=lambda np, rng: rng.standard_normal(MILLION16, np.float32),
         setup=random_setups(), mark=Mark(0.4), limit=Limit("fill")),
    Case("scatter add 64k into 50k x256", "scatter", scatter_inputs, numpy_scatter,
         mlx=lambda mx, t, i, u: t.at[i].add(u), torch=lambda torch, t, i, u: t.index_add(0, i, u),
         jax=lambda jnp, t, i, u: t.at[i].add(u), mark=Mark(0.5)),
    Case("cholesky 512", "library", positive_definite, np.linalg.cholesky,
         every=lambda m, a: m.linalg.cholesky(a)),
    Case("train step: MLP 784-512-512-10, batch 256, Adam", "train", train.mlp_inputs,
         lambda *_: train.MLP_LOSSES, mlx=apply, torch=apply, check_runs=3,
         setup={"mlx": train.mlx_mlp, "torch": train.torch_mlp}, mark=Mark(0.7),
         tolerance=1e-3),
    Case("train step: transformer, width 256, 4 layers, 8x128 tokens, vocabulary 4096, AdamW",
         "train", train.transformer_inputs, lambda *_: train.TRANSFORMER_LOSSES,
         mlx=apply, torch=apply, check_runs=3,
         setup={"mlx": train.mlx_transformer, "torch": train.torch_transformer}, mark=Mark(0.7),
         tolerance=1e-3),
    Case("two chains of ten 384x384 matmuls, one stream", "streams", chain_inputs, power_chain,
         mlx=two_matmul_chains, setup={"mlx": streams(1)}),
    Case("the same, a stream each", "streams", chain_inputs, power_chain,
         mlx=two_matmul_chains, setup={"mlx": streams(2)}),
    Case("1,000 additions of 16 elements, alternating between two streams", "streams",
         normal((16,), (16,)), lambda x, a: thousand_additions(np, x, a), mlx=alternating,
         setup={"mlx": streams(2)}, mark=Mark(under_ms=1.0)),
    Case("two chains of 200 sines of 16k, one stream", "streams", normal((16384,), (16384,)),
         numpy_sine_chains, mlx=two_sine_chains, setup={"mlx": streams(1)}),
    Case("two chains of 200 sines of 16k, a stream each", "streams", normal((16384,), (16384,)),
         numpy_sine_chains, mlx=two_sine_chains, setup={"mlx": streams(2)},
         mark=Mark(against=("two chains of 200 sines of 16k, one stream", 1 / 1.8))),
    Case("the same in one compiled function, no streams named", "streams",
         normal((16384,), (16384,)), numpy_sine_chains, mlx=lambda mx, f, x, y: f(x, y),
         jax=lambda jnp, x, y: sine_chains(jnp, x, y), setup={"mlx": compiled_sine_chains},
         mark=Mark(against=("two chains of 200 sines of 16k, one stream", 1 / 1.6))),
    Case("gradient of tanh(tanh(x w) w), 8x64, not compiled", "overhead", gradient_inputs,
         numpy_gradient, mlx=mlx_gradient, torch=torch_gradient, jax=jax_gradient, jit=False,
         mark=Mark(0.7)),
    Case("100 operations on 16 elements, compiled", "overhead",
         lambda rng: (*normal((16,), (16,))(rng), np.full(16, 0.9, np.float32)),
         lambda x, a, b: hundred_operations(np, x, a, b), mlx=lambda mx, f, *args: f(*args),
         jax=lambda jnp, x, a, b: hundred_operations(jnp, x, a, b),
         setup={"mlx": compiled_hundred}, mark=Mark(None, under_ms=0.01)),
    Case("50 products of 4x4 with tanh, compiled", "overhead", normal((4, 4)),
         lambda w: small_products(np, w), mlx=lambda mx, f, *args: f(*args),
         jax=lambda jnp, w: small_products(jnp, w), setup={"mlx": compiled_products}),
    Case("RNN of 512 steps, compiled", "loops", programs.rnn_inputs,
         lambda *a: programs.rnn_unrolled(np, *a), mlx=apply, torch=programs.rnn_unrolled,
         jax=programs.jax_rnn, setup={"mlx": programs.mlx_rnn_compiled}, tolerance=1e-3),
    Case("the same by a scan", "loops", programs.rnn_inputs,
         lambda *a: programs.rnn_unrolled(np, *a), rill=apply, torch=programs.rnn_unrolled,
         jax=programs.jax_rnn, setup={"rill": programs.rill_rnn_scan}, tolerance=1e-3),
    Case("its gradient", "loops", programs.rnn_inputs, programs.numpy_rnn_gradient, rill=apply,
         torch=programs.torch_rnn_gradient, jax=programs.jax_rnn_gradient,
         setup={"rill": programs.rill_rnn_gradient}, tolerance=1e-3),
    Case("a recurrence over 10,000 numbers, a scan", "loops",
         lambda rng: (np.float32(0).reshape(()), *normal((10_000,))(rng)),
         programs.numpy_recurrence, rill=apply, jax=programs.jax_recurrence,
         setup={"rill": programs.rill_recurrence}),
    Case("10,000 steps over two numbers, a while loop", "loops",
         lambda rng: (np.array(10_000, np.int32), np.array(7, np.float32)),
         lambda limit, x: np.float32(2), rill=apply, jax=programs.jax_counting,
         setup={"rill": programs.rill_counting}),
    Case("vmap of 1,000 solves of 8x8", "library", programs.systems, np.linalg.solve, rill=apply,
         torch=lambda torch, a, b: torch.linalg.solve(a, b), jax=programs.jax_systems,
         numpy=lambda np, a, b: np.linalg.solve(a, b), setup={"rill": programs.rill_systems},
         tolerance=1e-3),
    Case("equation of state, 1M points, compiled", "elementwise", programs.ocean_inputs,
         programs.numpy_density, mlx=apply, every=programs.density,
         setup={"mlx": programs.mlx_density}),
)
# fmt: on

BY_NAME = {case.name: case for case in CASES}
