"""Memory of the transformer's training step, Rill's beside PyTorch's, with and without checkpoints.

    python benchmarks/memory.py [--layers 4,12] [--output FOLDER]

Two figures of each, in MB (2^20), each of a process of its own:

- *arrays*: the most bytes that arrays held at once during a step, parameters and the state of the
  optimizer included. Rill: mx.get_peak_memory(). PyTorch: those of its state before the step, and
  the largest sum of what torch.profiler saw allocated and freed since. (Neither counts what
  libraries like oneDNN allocate for themselves.)
- *process*: by how much the resident memory of the process had grown at its peak (VmHWM), from
  before the parameters were made until after three steps. Allocators keep what they may reuse,
  so it is more than what arrays hold.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # benchmarks/ stays clean

HERE = Path(__file__).resolve().parent
STEPS = 3
KINDS = ("rill compiled", "rill", "torch")


def resident(which: str) -> int:
    """Returns VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) << 10
    return 0


def measure_rill(layers: int, checkpoint: bool, compiles: bool) -> dict:
    """Trains three steps; returns the peaks of the last and of the process."""
    import numpy as np
    import rill.core as mx
    import train

    def loss(mx, p, *batch):
        return train.transformer_loss(mx, p, *batch, checkpoint=checkpoint)

    mx.eval(mx.ones(8) @ mx.ones(8))
    before = resident("VmRSS")
    params, *batch = train.transformer_inputs(np.random.default_rng(0), layers)
    params = {name: mx.array(p) for name, p in params.items()}
    batch = [mx.array(x) for x in batch]
    mx.eval(params, batch)
    (step,) = train.mlx_step(loss, train.DECAY, compiles)(mx, params, *batch)
    del params
    gc.collect()
    for _ in range(STEPS):
        mx.reset_peak_memory()
        last = step().item()
    return {
        "arrays": mx.get_peak_memory(),
        "process": resident("VmHWM") - before,
        "loss": last,
    }


def measure_torch(layers: int, checkpoint: bool) -> dict:
    """Trains three steps; returns the peaks of one more, profiled, and of the process."""
    import numpy as np
    import torch
    import train

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.ones(8) @ torch.ones(8)
    before = resident("VmRSS")
    params, *batch = train.transformer_inputs(np.random.default_rng(0), layers)
    params = {name: torch.from_numpy(p) for name, p in params.items()}
    batch = [torch.from_numpy(x) for x in batch]
    (step,) = train.torch_transformer(torch, params, *batch, checkpoint=checkpoint)
    del params
    gc.collect()
    for _ in range(STEPS):
        last = step().item()
    process = resident("VmHWM") - before
    return {"arrays": _torch_arrays(torch, step), "process": process, "loss": last}


def _torch_arrays(torch, step) -> int:
    """The most bytes held at once in a step that begins without gradients."""
    for tensor in gc.get_objects():
        if isinstance(tensor, torch.nn.Module):
            tensor.zero_grad()
    gc.collect()
    blocks = {}
    for tensor in gc.get_objects():
        if isinstance(tensor, torch.Tensor):
            storage = tensor.untyped_storage()
            blocks[storage.data_ptr()] = storage.nbytes()
    held = most = sum(blocks.values())
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [e for e in events if e.get("name") == "[memory]"]
    for event in sorted(changes, key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most


def measured(kind: str, layers: int, checkpoint: bool) -> dict:
    """Measures in a process of its own."""
    import runner

    torch = kind == "torch"
    python = runner.peers_python() if torch else os.environ.get("BENCH_RILL_PYTHON", sys.executable)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if not torch:
        paths = [str(runner.ROOT / "python"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    command = [python, __file__, "--worker", json.dumps([kind, layers, checkpoint])]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return {"error": lines[-1]}


def work(kind: str, layers: int, checkpoint: bool) -> dict:
    """Measures in this process."""
    if kind == "torch":
        return measure_torch(layers, checkpoint)
    return measure_rill(layers, checkpoint, kind == "rill compiled")


def table(rows: list[dict]) -> str:
    """Returns the rows as Markdown."""
    lines = ["| layers | checkpoint | | arrays | process |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row["layers"], "each block" if row["checkpoint"] else "", row["kind"]]
        if "error" in row:
            cells += [row["error"], ""]
        else:
            cells += [f"{row[key] / 2**20:.1f}" for key in ("arrays", "process")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, and writes a record where asked to."""
    import runner

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="4,12", help="comma-separated")
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated")
    parser.add_argument("--output", type=Path, help="folder for a JSON record")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*json.loads(arguments.worker))))
        return
    date = time.strftime("%Y-%m-%d %H:%M")
    rows = [
        {"kind": kind, "layers": layers, "checkpoint": checkpoint}
        | measured(kind, layers, checkpoint)
        for layers in map(int, arguments.layers.split(","))
        for checkpoint in (False, True)
        for kind in arguments.kinds.split(",")
    ]
    print(table(rows))
    if arguments.output:
        folder = arguments.output / "memory"  # beside the records of times
        folder.mkdir(parents=True, exist_ok=True)
        record = {"date": date, "processor": runner.processor(), "rows": rows}
        path = folder / f"{date.replace(' ', '-').replace(':', '')}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
