"""Weights files of other packages give the features of their network, or are refused; hostile ones run nothing.

    python benchmarks/foreign_weights.py --json

Ten layouts (foreign_layouts.py) of six networks with random weights are read as ``--init FILE`` reads them. The
features of two grey films are compared with those of the network itself on three equal channels. Then each file of
hostile_weights.py is read in a process of its own, which must refuse it in one line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foreign_layouts import LAYOUTS, NETWORKS, REFUSED, published, write
from hilum.bundle.initialization import initial_weights
from hilum.errors import HilumError
from hostile_weights import HOSTILE, written
from said import say

TOLERANCE = 1e-3
"""Greatest difference of a feature, in units of the greatest feature."""
SECONDS, MIB = 30.0, 1024.0
"""What the refusal of a hostile file may take, of the processor and above the memory before."""


def features(network: nn.Module, films: Tensor) -> Tensor:
    """Return the pooled features of a network of timm, [B, E]."""
    with torch.inference_mode():
        return network.forward_head(network.forward_features(films), pre_logits=True)


def check_layout(layout: str, name: str, folder: Path) -> dict[str, Any]:
    """Return whether one file gives its network's features, or is refused where it must be."""
    channels = 1 if layout == "one-channel" else 3
    network = published(name, seed=NETWORKS.index(name), channels=channels)
    file = write(layout, network, name, folder)
    row: dict[str, Any] = {"layout": layout, "network": name}
    size = 224 if name.startswith("vit") else 64
    reason = REFUSED.get((layout, name))
    try:
        start = initial_weights(str(file), name, size, seed=99)
    except HilumError as error:
        line = str(error)
        right = reason is not None and reason in line and "\n" not in line
        right = right and "choose --backbone" not in line  # the network is the right one
        return row | {"outcome": "refused", "right": right, "line": line.replace(str(folder), "")}
    finally:
        file.unlink()
    if layout == "half":
        network = network.half().float()
    films = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(5))
    expected = features(network, films.expand(-1, channels, -1, -1))
    scale = float(expected.abs().max())
    with torch.inference_mode():
        difference = float((start.backbone.eval()(films) - expected).abs().max()) / scale
        random = initial_weights("random", name, size, seed=99).backbone.eval()(films)
    power = float((random - expected).abs().max()) / scale  # what no reading at all would give
    right = reason is None and difference <= TOLERANCE and power > 100 * TOLERANCE
    return row | {"outcome": "read", "right": right, "difference": difference, "of_random": power}


def check_hostile(name: str) -> dict[str, Any]:
    """Return whether a hostile file is refused in one line, at what cost, and runs nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path, mark = written(name, Path(folder))
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_open, args=(path, theirs))
        process.start()
        theirs.close()
        row: dict[str, Any] = {"file": name, "outcome": "no answer"}
        if ours.poll(20 * SECONDS):
            try:
                row |= ours.recv()
            except EOFError:
                row["outcome"] = "the process died"
        process.kill()
        process.join()
        row["ran"] = mark.exists()
    right = row["outcome"] == "refused" and not row["ran"]
    right = right and row["seconds"] <= SECONDS and row["mib"] <= MIB
    return row | {"right": right}


def _open(path: Path, answer: Connection) -> None:
    """Read a file as ``--init`` does and send what became of it; in a process of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        initial_weights(str(path), "test_resnet", 32, 0)
        outcome, line = "read", ""
    except HilumError as error:
        line = str(error)
        outcome = "refused" if "\n" not in line and len(line) < 1000 else "more than a line"
    except BaseException:  # noqa: BLE001  (a traceback is what is looked for)
        outcome, line = "traceback", traceback.format_exc(limit=-2)
    seconds = time.process_time() - start
    mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    line = line.replace(str(path.parent), "")
    answer.send({"outcome": outcome, "line": line, "seconds": seconds, "mib": mib})


def main() -> None:
    """Check all files and print the counts; exit with 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--layouts", nargs="+", choices=tuple(LAYOUTS), default=tuple(LAYOUTS))
    parser.add_argument("--hostile", nargs="*", choices=tuple(HOSTILE), default=tuple(HOSTILE))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process must not wait for threads that it does not have
    hostile = []
    for name in options.hostile:
        row = check_hostile(name)
        hostile.append(row)
        cost = f"{row.get('seconds', 0):.1f} s, {row.get('mib', 0):.0f} MiB"
        line = f"{name}: {row['outcome']} ({cost}) {row.get('line', '')}"
        say(line if row["right"] else f"WRONG {line}")
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            for layout in options.layouts:
                row = check_layout(layout, name, Path(folder))
                files.append(row)
                shown = (
                    row.get("line") or f"{row['difference']:.1e} ({row['of_random']:.2f} at random)"
                )
                say(
                    f"{'' if row['right'] else 'WRONG '}{name}, {layout}: {row['outcome']}, {shown}"
                )
    result = {
        "files": len(files),
        "equal": sum(row["outcome"] == "read" and row["right"] for row in files),
        "rightly_refused": sum(row["outcome"] == "refused" and row["right"] for row in files),
        "greatest_difference": max((row.get("difference", 0.0) for row in files), default=None),
        "hostile": len(hostile),
        "hostile_refused": sum(row["right"] for row in hostile),
        "hostile_run": sum(row["ran"] for row in hostile),
        "hostile_seconds": max((row.get("seconds", 0.0) for row in hostile), default=None),
        "hostile_mib": max((row.get("mib", 0.0) for row in hostile), default=None),
        "wrong": [row for row in (*files, *hostile) if not row["right"]],
    }
    say(json.dumps(result) if options.json else json.dumps(result, indent=1))
    raise SystemExit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
