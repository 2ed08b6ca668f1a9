"""How much of the bare model step is left once real films have to be read, augmented, logged and scheduled.

For each method these take turns, block by block of equally many steps, in one process:

* ``bare``: Hilum's step on crops that lie on the device: forward, backward, clipping, AdamW, what
follows a step,
* ``pipeline``: Hilum's own Trainer on a prepared store: reading, augmentation, schedule, log and
all,
* ``compiled``, with ``--compiled``: the bare step compiled as a whole, on a GPU captured as CUDA
graphs; where no compiler works the result has the reason,
* ``lightly``'s ``bare`` and ``pipeline``: the same of the method built from the public package
(lightly_methods.py).

Blocks that are compared are neighbours in time and change places from round to round; the first
round is discarded. ``ratio`` = median over the rounds of pipeline speed over bare speed, ``factor``
= of Hilum's pipeline over lightly's.
Run: ``python benchmarks/pretrain_speed.py --json [--data FOLDER]``. README.md beside this file says
    more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from film_files import find_files, make_store, noise_store
from hilum.errors import HilumError
from hilum.methods import METHODS
from hilum.training.compiled import refuse_without_compiler
from training_blocks import (
    Aside,
    Setting,
    bare_step,
    build_lightly,
    lightly_blocks,
    steps_of_a_block,
    take_turns,
)
from turns import Block, Turns, paired, repeat


def measure(
    setting: Setting, chosen: argparse.Namespace, scratch: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let all blocks of one method take turns; return Hilum's figures and lightly's, empty where it is left out."""
    bare = bare_step(setting)
    repeat(bare, 2)
    steps, log_every = steps_of_a_block(repeat(bare, 3) / 3, chosen.block_seconds)
    setting = replace(setting, log_every=log_every)
    ours: dict[str, Block] = {"bare": partial(repeat, bare)}
    not_compiled = ""
    if chosen.compiled:
        try:
            if chosen.compile_backend == "inductor":
                refuse_without_compiler(setting.device)
            compiled = bare_step(setting, chosen.compile_backend)
            repeat(compiled, 3)  # compiles, and on a GPU captures
            ours["compiled"] = partial(repeat, compiled)
        except (HilumError, RuntimeError) as error:
            not_compiled = " ".join(str(error).split())[:200]
    if chosen.without_lightly:
        turns = Turns(steps, ours, {})
        ours_of = figures(setting, turns, take_turns(setting, turns, chosen.pairs + 1, scratch))
        return ours_of | ({"not_compiled": not_compiled} if not_compiled else {}), {}
    model, loader = build_lightly(setting, chosen.threads, steps)
    with closing(loader):
        turns = Turns(steps, ours, lightly_blocks(setting, model, loader))
        aside = take_turns(setting, turns, chosen.pairs + 1, scratch)
    return figures(setting, turns, aside), {
        **lightly_figures(setting, turns),
        "workers": len(loader.processes),
    }


def measure_all(setting: Setting, chosen: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Return the figures by method, lightly's under their own name; say on the way how it stands."""
    ours, lightly = {}, {}
    for method in chosen.methods:
        began = time.perf_counter()
        ours[method], theirs = measure(replace(setting, method=method), chosen, scratch)
        if theirs:
            lightly[method] = theirs
        print(
            f"{line(method, ours[method], theirs)}   [{time.perf_counter() - began:.0f} s]",
            file=sys.stderr,
        )
    return {**ours, "lightly": lightly} if lightly else ours


def speed(setting: Setting, turns: Turns, name: str) -> float:
    """Return films a second, the median over the rounds but the first."""
    return round(turns.steps * setting.batch / statistics.median(turns.seconds[name][1:]), 1)


def figures(setting: Setting, turns: Turns, aside: Aside) -> dict[str, Any]:
    """Return Hilum's speeds, the ratio of pipeline to bare step, also by processor time, and what lies beside it."""
    bare, pipeline = speed(setting, turns, "bare"), speed(setting, turns, "pipeline")
    ratio = paired(turns.seconds["bare"], turns.seconds["pipeline"])
    cpu_ratio = paired(turns.cpu["bare"], turns.cpu["pipeline"])
    epoch = len(setting.films) / pipeline
    compiled = {}
    if "compiled" in turns.seconds:
        factor = paired(turns.seconds["bare"], turns.seconds["compiled"])
        compiled = {"compiled": speed(setting, turns, "compiled"), "compiled_factor": factor}
    return {
        **compiled,
        "bare": bare,
        "pipeline": pipeline,
        "ratio": ratio["median"],
        "ratio_spread": ratio,
        "cpu_ratio": cpu_ratio["median"],
        "cpu_ratio_spread": cpu_ratio,
        "look_seconds": round(aside.look, 3),
        "look_share_of_epoch": round(aside.look / epoch, 4),
        "checkpoint_seconds": round(aside.checkpoint, 3),
        "checkpoint_share_of_epoch": round(aside.checkpoint / epoch, 4),
        "steps_per_block": turns.steps,
    }


def lightly_figures(setting: Setting, turns: Turns) -> dict[str, Any]:
    """Return lightly's speeds, and how many times as fast Hilum's pipeline is."""
    factor = paired(turns.seconds["lightly pipeline"], turns.seconds["pipeline"])
    return {
        "bare": speed(setting, turns, "lightly bare"),
        "pipeline": speed(setting, turns, "lightly pipeline"),
        "factor": factor["median"],
        "factor_spread": factor,
    }


def describe(setting: Setting, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured where."""
    gpu = torch.cuda.get_device_name() if setting.device.type == "cuda" else None
    return {
        "data": setting.files.words,
        "backbone": setting.backbone,
        "size": setting.size,
        "batch": setting.batch,
        "precision": setting.precision,
        "pairs": chosen.pairs,
        "device": gpu or "cpu",
        "threads": torch.get_num_threads(),
        "cores_of_the_machine": os.cpu_count(),
        "torch": torch.__version__,
    }


def line(method: str, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return one method's figures as a line for people."""
    spread = ours["ratio_spread"]
    text = (
        f"{method:7} bare {ours['bare']:8.1f}  pipeline {ours['pipeline']:8.1f} films/s  "
        f"ratio {ours['ratio']:.3f} ({spread['min']:.3f} to {spread['max']:.3f})"
    )
    if "compiled" in ours:
        spread = ours["compiled_factor"]
        text += f"  compiled {ours['compiled']:8.1f} films/s, {spread['median']:.2f} times bare"
    elif "not_compiled" in ours:
        text += f"  not compiled: {ours['not_compiled']}"
    if not theirs:
        return text
    spread = theirs["factor_spread"]
    return (
        f"{text}   lightly bare {theirs['bare']:8.1f}  pipeline {theirs['pipeline']:8.1f} films/s  "
        f"factor {theirs['factor']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"
    )


def table(result: dict[str, Any], methods: list[str]) -> str:
    """Return the result as lines for people."""
    what = f"{result['data']}; {result['backbone']}, {result['size']} px, batch {result['batch']}, {result['device']}"
    lines = [
        line(method, result[method], result.get("lightly", {}).get(method, {}))
        for method in methods
    ]
    return "\n".join([f"{what}, {result['pairs']} pairs", *lines])


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--data", type=Path, help="folder of PNG and JPEG films")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=("32", "bf16-mixed"), default="32")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores to use"
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--block-seconds", type=float, default=5.0)
    parser.add_argument("--without-lightly", action="store_true")
    parser.add_argument(
        "--compiled", action="store_true", help="also the bare step compiled as a whole"
    )
    parser.add_argument(
        "--compile-backend",
        choices=("inductor", "aot_eager"),
        default="inductor",
        help="aot_eager traces the step and runs it uncompiled: quick, to see that it can be traced",
    )
    parser.add_argument(
        "--noise", type=int, help="so many films of noise in place of files; without lightly alone"
    )
    chosen = parser.parse_args()
    if (chosen.noise or chosen.compiled) and not chosen.without_lightly:
        parser.error("--noise and --compiled need --without-lightly")
    return chosen


def main() -> None:
    """Measure and print."""
    chosen = parse()
    os.sched_setaffinity(
        0, sorted(os.sched_getaffinity(0))[: chosen.threads]
    )  # loader processes inherit it
    torch.set_num_threads(chosen.threads)
    # As in Hilum's loop, and for lightly too.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if chosen.noise:
            (files, films), seconds = (
                noise_store(chosen.noise, chosen.size, scratch / "store"),
                0.0,
            )
        else:
            files = find_files(chosen.data, chosen.size, scratch)
            films, seconds = make_store(files, chosen.size, chosen.threads, scratch / "store")
        device, first = torch.device(chosen.device), chosen.methods[0]
        setting = Setting(
            files,
            films,
            first,
            chosen.backbone,
            chosen.size,
            chosen.batch,
            chosen.precision,
            device,
        )
        print(f"{files.words}; prepared in {seconds:.1f} s", file=sys.stderr)
        result = {
            **measure_all(setting, chosen, scratch),
            **describe(setting, chosen),
            "prepare_seconds": round(seconds, 1),
        }
    print(json.dumps(result) if chosen.json else table(result, chosen.methods))


if __name__ == "__main__":
    main()
