"""Programs that are longer than a row of the table: a recurrent network and sea water.

Each takes the module that computes: numpy, mlx.core, rill.core, torch or jax.numpy.
"""

from __future__ import annotations

import numpy as np

STEPS, BATCH, WIDTH = 512, 16, 64
POINTS = 1 << 20


# A recurrent network: h = tanh(x_t @ wx + h @ wh + b).


def rnn_inputs(rng):
    """Returns (x [steps, batch, width], wx, wh, b)."""
    x = rng.standard_normal((STEPS, BATCH, WIDTH), dtype=np.float32)
    wx, wh = rng.standard_normal((2, WIDTH, WIDTH), dtype=np.float32) / 8
    return x, wx, wh, rng.standard_normal(WIDTH, dtype=np.float32) / 8


def rnn_unrolled(m, x, wx, wh, b):
    """Returns the state after the last step, by a loop in Python."""
    h = x[0] * 0
    for t in range(STEPS):
        h = m.tanh(x[t] @ wx + h @ wh + b)
    return h


def _rnn_step(m, wx, wh, b):
    def step(h, x):
        return m.tanh(x @ wx + h @ wh + b), None

    return step


def mlx_rnn_compiled(mx, *arrays):
    """Setup: the loop of Python, traced once."""
    return mx.compile(lambda *a: rnn_unrolled(mx, *a)), *arrays


def rill_rnn_scan(mx, *arrays):
    """Setup: the loop as one operation."""

    def rnn(x, wx, wh, b):
        return mx.scan(_rnn_step(mx, wx, wh, b), x[0] * 0, x)[0]

    return mx.compile(rnn), *arrays


def jax_rnn(jnp, x, wx, wh, b):
    from jax import lax

    return lax.scan(_rnn_step(jnp, wx, wh, b), x[0] * 0, x)[0]


def _rnn_sum(m, scan):
    def total(x, wx, wh, b):
        def step(h, x):
            h = m.tanh(x @ wx + h @ wh + b)
            return h, h.sum()

        return scan(step, x[0] * 0, x)[1].sum()

    return total


def rill_rnn_gradient(mx, *arrays):
    """Setup: the gradients with respect to both matrices."""
    gradient = mx.grad(_rnn_sum(mx, mx.scan), argnums=(1, 2))
    return mx.compile(gradient), *arrays


def jax_rnn_gradient(jnp, *arrays):
    import jax

    return jax.grad(_rnn_sum(jnp, jax.lax.scan), argnums=(1, 2))(*arrays)


def torch_rnn_gradient(torch, x, wx, wh, b):
    """The same by a loop of Python and its tape."""
    weights = [wx.detach().requires_grad_(), wh.detach().requires_grad_()]
    h, total = x[0] * 0, 0
    for t in range(STEPS):
        h = torch.tanh(x[t] @ weights[0] + h @ weights[1] + b)
        total = total + h.sum()
    return torch.autograd.grad(total, weights)


def numpy_rnn_gradient(x, wx, wh, b):
    """The oracle, in float64."""
    x, wx, wh, b = (a.astype(np.float64) for a in (x, wx, wh, b))
    states = [x[0] * 0]
    for t in range(STEPS):
        states.append(np.tanh(x[t] @ wx + states[-1] @ wh + b))
    dwx, dwh, dh = wx * 0, wh * 0, x[0] * 0
    for t in reversed(range(STEPS)):
        inner = (dh + 1) * (1 - states[t + 1] ** 2)
        dwx += x[t].T @ inner
        dwh += states[t].T @ inner
        dh = inner @ wh.T
    return np.stack([dwx, dwh])


# Loops over single numbers.


def numpy_recurrence(c, x):
    """Returns c = 0.9 c + x after each element."""
    out = np.empty_like(x)
    for i, value in enumerate(x):
        out[i] = c = np.float32(np.float32(c * np.float32(0.9)) + value)
    return out


def _recurrence(c, x):
    c = c * 0.9 + x
    return c, c


def rill_recurrence(mx, *arrays):
    return mx.compile(lambda c, x: mx.scan(_recurrence, c, x)[1]), *arrays


def jax_recurrence(_, c, x):
    from jax import lax

    return lax.scan(_recurrence, c, x)[1]


def counting(while_loop):
    return lambda limit, x: while_loop(
        lambda s: s[0] < limit, lambda s: (s[0] + 1, s[1] * 0.5 + 1), (limit * 0, x)
    )[1]


def rill_counting(mx, *arrays):
    return mx.compile(counting(mx.while_loop)), *arrays


def jax_counting(_, limit, x):
    from jax import lax

    return counting(lax.while_loop)(limit, x)


# Sea water.


def ocean_inputs(rng):
    """Returns absolute salinity (g/kg), conservative temperature (C) and pressure (dbar)."""
    ranges = ((0.1, 40), (-2, 30), (0, 6000))
    return tuple(rng.uniform(low, high, POINTS).astype(np.float32) for low, high in ranges)


def density(m, s, t, p):
    """Density (kg/m3) by the 48 terms of McDougall et al. (2013), a rational function."""
    r = m.sqrt(s)
    above = (
        9.998420897506056e2
        + t * (2.839940833161907 + t * (-3.147759265588511e-2 + 1.181805545074306e-3 * t))
        + s
        * (
            -6.698001071123802
            + t * (-2.986498947203215e-2 + 2.327859407479162e-4 * t)
            + r
            * (
                -3.988822378968490e-2
                + t
                * (5.095422573880500e-4 + t * (-1.426984671633621e-5 + 1.645039373682922e-7 * t))
            )
        )
        + p
        * (
            -2.233269627352527e-2
            + t * (-3.436090079851880e-4 + 3.726050720345733e-6 * t)
            + s * (-1.806789763745328e-4 + 6.876837219536232e-7 * t)
            + p
            * (
                -3.087032500374211e-7
                + t * (-1.988366587925593e-8 - 1.061519070296458e-11 * t)
                + 1.550932729220080e-10 * s
            )
        )
    )
    below = (
        1.0
        + t
        * (
            2.775927747785646e-3
            + t * (-2.349607444135925e-5 + t * (1.119513357486743e-6 + 6.743689325042773e-10 * t))
        )
        + s
        * (
            -7.521448093615448e-3
            + t
            * (
                -2.764306979894411e-5
                + t
                * (1.262937315098546e-7 + t * (9.527875081696435e-10 - 1.811147201949891e-11 * t))
            )
            + 5.419326551148740e-6 * s
            + r
            * (
                -3.303308871386421e-5
                + t
                * (
                    3.801564588876298e-7
                    + t
                    * (
                        -7.672876869259043e-9
                        + t * (-4.634182341116144e-11 + 2.681097235569143e-12 * t)
                    )
                )
            )
        )
        + p
        * (
            -2.742185394906099e-5
            + t * (-3.212746477974189e-7 + t * (3.191413910561627e-9 - 1.931012931541776e-12 * t))
            + s * (-1.105097577149576e-7 + 6.211426728363857e-10 * t)
            + p
            * (
                -1.119011592875110e-10
                + t
                * (-1.941660213148725e-11 - 1.864826425365600e-14 * t + 1.119522344879478e-14 * s)
                + p * (-1.200507748551599e-15 + 6.057902487546866e-17 * t)
            )
        )
    )
    return above / below


def numpy_density(s, t, p):
    """The oracle, in float64."""
    return density(np, *(a.astype(np.float64) for a in (s, t, p)))


def mlx_density(mx, *arrays):
    return mx.compile(lambda *a: density(mx, *a)), *arrays


# Many small systems.


def systems(rng):
    """Returns 1,000 matrices of 8 x 8, well conditioned, and as many right sides."""
    a = rng.standard_normal((1000, 8, 8), dtype=np.float32) / 8 + np.eye(8, dtype=np.float32)
    return a, rng.standard_normal((1000, 8, 1), dtype=np.float32)


def rill_systems(mx, *arrays):
    return mx.compile(mx.vmap(mx.linalg.solve)), *arrays


def jax_systems(jnp, a, b):
    import jax

    return jax.vmap(jnp.linalg.solve)(a, b)
