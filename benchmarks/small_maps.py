"""How much faster a training step is on the CPU with small maps as matrix products, and in bfloat16.

One forward and backward pass of a network, channels last, on noise, four ways in turns: as torch has it
and as Hilum trains (``nn/small_convolutions.py``), each in float32 and under bfloat16 autocast.
Milliseconds of processor time, medians; ratios of the rounds' own pairs with their range.

Run: ``python benchmarks/small_maps.py --json`` (2 minutes; ``OMP_NUM_THREADS=1``).
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hilum.nn.backbones import create_network
from hilum.nn.small_convolutions import multiply_small_convolutions

WAYS = {
    "float32": (False, False),
    "float32, products": (True, False),
    "bfloat16": (False, True),
    "bfloat16, products": (True, True),
}
"""Name -> small maps as products, under autocast."""


def step(network: nn.Module, films: Tensor, half: bool) -> float:
    """Return the processor's milliseconds of one forward and backward pass."""
    began = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        features = network(films)
    features.float().square().mean().backward()
    network.zero_grad()
    return (time.process_time() - began) * 1e3


def measure(name: str, size: int, batch: int, rounds: int) -> dict[str, object]:
    """Return milliseconds by way, and each way's speed against float32 as torch has it."""
    torch.manual_seed(0)
    plain = create_network(name).to(memory_format=torch.channels_last).train()
    multiplied = copy.deepcopy(plain)
    multiply_small_convolutions(multiplied)
    films = torch.randn(batch, 1, size, size).to(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way, (product, half) in WAYS.items():
            spent = step(multiplied if product else plain, films, half)
            if turn:  # the first round warms up
                times[way].append(spent)
    first = times["float32"]
    ratios = {
        way: [a / b for a, b in zip(first, spent, strict=True)] for way, spent in times.items()
    }
    return {
        "network": name,
        "size": size,
        "batch": batch,
        "milliseconds": {way: round(statistics.median(spent), 1) for way, spent in times.items()},
        "times_float32": {
            way: [round(f(ratio), 2) for f in (statistics.median, min, max)]
            for way, ratio in ratios.items()
        },
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure each network at each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["resnet10t", "resnet18"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 48, 64, 96])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(words)
    rows = [
        measure(name, size, chosen.batch, chosen.rounds)
        for name in chosen.networks
        for size in chosen.sizes
    ]
    if chosen.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))
        return
    for row in rows:
        print(row["network"], row["size"], "px", row["milliseconds"], row["times_float32"])


if __name__ == "__main__":
    main()
