"""What a benchmark case is: code for each framework, an oracle, a limit and a mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

FRAMEWORKS = ("rill", "mlx", "torch", "jax", "numpy")
PEERS = FRAMEWORKS[1:]


@dataclass(frozen=True)
class Limit:
    """The least time the machine allows: a measured memory pass, or a count of float operations.

    `kind` names a figure of limits.cpp. A memory pass is over 16M floats and `amount` scales it;
    for "gflops" `amount` is the number of operations.
    """

    kind: str
    amount: float = 1.0

    def ms(self, figure: float) -> float:
        """Returns milliseconds, given the figure: those of a memory pass, or GFLOP/s."""
        return self.amount / (figure * 1e6) if self.kind == "gflops" else figure * self.amount


@dataclass(frozen=True)
class Mark:
    """What Rill must reach; every condition that is set must hold.

    ratio: at most this multiple of the best peer. under_ms: an absolute bound.
    limit_ratio: at most this multiple of the case's limit. against: (row, r), at most r times
    Rill's own time for another row.
    """

    ratio: float | None = 1.0
    under_ms: float | None = None
    limit_ratio: float | None = None
    against: tuple[str, float] | None = None


@dataclass(frozen=True)
class Case:
    """One row: a computation, its oracle in NumPy, and its mark."""

    name: str
    group: str
    inputs: Callable
    oracle: Callable | None = None
    verify: Callable | None = None
    every: Callable | None = None
    mlx: Callable | None = None
    rill: Callable | None = None
    numpy: Callable | None = None
    torch: Callable | None = None
    jax: Callable | None = None
    setup: dict[str, Callable] = field(default_factory=dict)
    mark: Mark = Mark()
    limit: Limit | None = None
    tolerance: float = 1e-4
    bf16: bool = False
    jit: bool = True
    built_only: bool = False
    check_runs: int = 1
    devices: tuple[str, ...] = ("cpu", "gpu")

    def code(self, framework: str) -> Callable | None:
        """Returns the function of `framework`, or None when the case is not meaningful there."""
        if framework == "numpy" and self.bf16:
            return None
        if framework == "rill":
            return self.rill or self.mlx or self.every
        return getattr(self, framework) or self.every

    def prepare(self, framework: str) -> Callable | None:
        """Returns the function that turns the inputs into the arguments of `code`, if any."""
        if framework == "rill":
            return self.setup.get("rill") or self.setup.get("mlx")
        return self.setup.get(framework)
