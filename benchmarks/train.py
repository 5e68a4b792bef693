"""The two training steps: plain functions for mlx.core-like modules, torch.nn for PyTorch.

All start from the same parameters (named as PyTorch names them) and batch, so the losses of the
first three steps must agree. `python train.py` (with PyTorch) prints them in float64.
"""

from __future__ import annotations

import math

import numpy as np

WIDTH, LAYERS, HEADS, BATCH, LENGTH, VOCABULARY = 256, 4, 8, 8, 128, 4096
RATE, BETAS, EPS, DECAY = 1e-3, (0.9, 0.999), 1e-8, 0.01
MLP_LOSSES = np.array([2.3003551, 2.0903663, 1.903222])
TRANSFORMER_LOSSES = np.array([8.4902133, 8.0893821, 7.6380337])


def _linear(rng, name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    bound = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32),
        f"{name}.bias": rng.uniform(-bound, bound, outputs).astype(np.float32),
    }


def _norm(name: str) -> dict[str, np.ndarray]:
    ones = np.ones(WIDTH, np.float32)
    return {f"{name}.weight": ones, f"{name}.bias": ones * 0}


def mlp_inputs(rng):
    """Returns (parameters, images [256, 784], labels [256])."""
    params = {}
    for i, (n, m) in enumerate(((784, 512), (512, 512), (512, 10))):
        params |= _linear(rng, f"{2 * i}", n, m)
    images = rng.standard_normal((256, 784), dtype=np.float32)
    return params, images, rng.integers(0, 10, 256).astype(np.int32)


def transformer_inputs(rng, layers: int = LAYERS):
    """Returns (parameters, tokens [8, 128], next tokens [8, 128])."""
    table = rng.standard_normal((VOCABULARY + LENGTH, WIDTH), dtype=np.float32) * 0.02
    params = {"tokens.weight": table[:VOCABULARY], "positions.weight": table[VOCABULARY:]}
    for i in range(layers):
        block = f"blocks.{i}"
        params |= _norm(f"{block}.norm1") | _linear(rng, f"{block}.qkv", WIDTH, 3 * WIDTH)
        params |= _linear(rng, f"{block}.out", WIDTH, WIDTH) | _norm(f"{block}.norm2")
        params |= _linear(rng, f"{block}.up", WIDTH, 4 * WIDTH)
        params |= _linear(rng, f"{block}.down", 4 * WIDTH, WIDTH)
    params |= _norm("norm") | _linear(rng, "head", WIDTH, VOCABULARY)
    text = rng.integers(0, VOCABULARY, (BATCH, LENGTH + 1)).astype(np.int32)
    return params, text[:, :-1].copy(), text[:, 1:].copy()


# For modules like mlx.core.


def _dense(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _cross_entropy(mx, logits, labels):
    picked = mx.take_along_axis(logits, labels[..., None], axis=-1).squeeze(-1)
    return (mx.logsumexp(logits, axis=-1) - picked).mean()


def mlp_loss(mx, p, images, labels):
    """Returns the mean cross entropy of the perceptron."""
    x = images
    for i in range(3):
        x = _dense(p, f"{2 * i}", x if i == 0 else mx.maximum(x, 0))
    return _cross_entropy(mx, x, labels)


def transformer_loss(mx, p, tokens, following, checkpoint: bool = False):
    """Returns the mean cross entropy of a pre-norm transformer with exact gelu.

    With `checkpoint`, each block keeps its input alone for the way back.
    """

    def norm(p, name, x):
        return mx.fast.layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)

    def heads(x):
        return x.reshape(BATCH, LENGTH, HEADS, -1).transpose(0, 2, 1, 3)

    def block(p, x):
        qkv = mx.split(_dense(p, "qkv", norm(p, "norm1", x)), 3, axis=-1)
        q, k, v = map(heads, qkv)
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask="causal")
        y = y.transpose(0, 2, 1, 3).reshape(BATCH, LENGTH, WIDTH)
        x = x + _dense(p, "out", y)
        y = _dense(p, "up", norm(p, "norm2", x))
        y = y * (1 + mx.erf(y * math.sqrt(0.5))) * 0.5
        return x + _dense(p, "down", y)

    scale = 1 / math.sqrt(WIDTH // HEADS)
    run = mx.checkpoint(block) if checkpoint else block
    x = p["tokens.weight"][tokens] + p["positions.weight"]
    for i in range(_layers_of(p)):
        prefix = f"blocks.{i}."
        x = run({k.removeprefix(prefix): v for k, v in p.items() if k.startswith(prefix)}, x)
    return _cross_entropy(mx, _dense(p, "head", norm(p, "norm", x)), following)


def _layers_of(params) -> int:
    return sum(name.endswith("qkv.weight") for name in params)


def mlx_step(loss_of, decay: float, compiles: bool = True):
    """Returns a setup whose result is one function: take an Adam step, return the loss."""

    def setup(mx, params, *batch):
        def advance(state, *batch):
            old, first, second, time = state
            loss, grads = mx.value_and_grad(lambda p: loss_of(mx, p, *batch))(old)
            time = time + 1
            rate, unbias = RATE / (1 - BETAS[0] ** time), 1 / (1 - BETAS[1] ** time)
            p, m, v = {}, {}, {}
            for name, g in grads.items():
                m[name] = BETAS[0] * first[name] + (1 - BETAS[0]) * g
                v[name] = BETAS[1] * second[name] + (1 - BETAS[1]) * (g * g)
                update = rate * m[name] / (mx.sqrt(v[name] * unbias) + EPS)
                p[name] = old[name] * (1 - RATE * decay) - update
            return loss, (p, m, v, time)

        def step():
            nonlocal state
            loss, state = compiled(state, *batch)
            mx.eval(loss, state)
            return loss

        zeros = {name: mx.zeros_like(p) for name, p in params.items()}
        state = (params, zeros, zeros, mx.array(0.0))
        compiled = mx.compile(advance) if compiles else advance
        try:
            mx.eval(compiled(state, *batch)[0])
        except Exception:
            compiled = advance
        return (step,)

    return setup


mlx_mlp = mlx_step(mlp_loss, 0.0)
mlx_transformer = mlx_step(transformer_loss, DECAY)


# For PyTorch.


def _torch_model(torch, layers: int, checkpoint: bool):
    from torch import nn
    from torch.utils.checkpoint import checkpoint as run_again

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            qkv = self.qkv(self.norm1(x)).chunk(3, -1)
            q, k, v = (t.view(BATCH, LENGTH, HEADS, -1).transpose(1, 2) for t in qkv)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH))
            return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, tokens):
            x = self.tokens(tokens) + self.positions.weight
            for block in self.blocks:
                x = run_again(block, x, use_reentrant=False) if checkpoint else block(x)
            return self.head(self.norm(x)).flatten(0, 1)

    return Transformer()


def _torch_step(torch, model, optimizer, params, x, labels):
    model.load_state_dict(params)
    some = next(iter(params.values()))
    model.to(some.device, some.dtype)
    optimizer = optimizer(model.parameters(), lr=RATE, betas=BETAS, eps=EPS)
    labels = labels.flatten().long()

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return (step,)


def torch_mlp(torch, params, images, labels):
    """Returns the step of the perceptron with torch.optim.Adam."""
    nn = torch.nn
    layers = (nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return _torch_step(torch, nn.Sequential(*layers), torch.optim.Adam, params, images, labels)


def torch_transformer(torch, params, tokens, following, checkpoint: bool = False):
    """Returns the step of the transformer with torch.optim.AdamW (weight decay 0.01)."""
    model = _torch_model(torch, _layers_of(params), checkpoint)
    return _torch_step(torch, model, torch.optim.AdamW, params, tokens, following)


def _print_references() -> None:
    import torch

    for inputs, make in ((mlp_inputs, torch_mlp), (transformer_inputs, torch_transformer)):
        params, x, labels = inputs(np.random.default_rng(0))
        params = {name: torch.from_numpy(p).double() for name, p in params.items()}
        x = torch.from_numpy(x)
        x = x.double() if x.is_floating_point() else x
        torch.set_default_dtype(torch.float64)
        (step,) = make(torch, params, x, torch.from_numpy(labels))
        print(make.__name__, [round(step().item(), 7) for _ in range(3)])


if __name__ == "__main__":
    _print_references()
