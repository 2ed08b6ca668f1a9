"""Compiled backbones: the same losses and names, exact resumption, and one line where there is no compiler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.bundle.initialization import new_backbone, seeded
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.methods.moco import MoCo, MoCoOptions
from hilum.training.batches import Batches, shuffled
from hilum.training.interrupt import Interrupted
from hilum.training.loop import Trainer
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run, read_log

ROWS = np.arange(48)


@dataclass
class Stopping(Listener):
    """Asks for a stop after a step, as Ctrl-C does; after none at 0."""

    after: int = 0

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if 0 < done == self.after:
            os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class Run:
    """A run's losses by step, and its final state."""

    losses: dict[int, float]
    state: dict[str, torch.Tensor]


def run(store: Path, out: Path, *, compiled: bool, after: int = 0) -> Run:
    options = TrainOptions(
        epochs=2, batch_size=16, log_every=1, accelerator="cpu", compile=compiled
    )
    with seeded(0):
        learner = MoCo(new_backbone("test_resnet", 32, 0), MoCoOptions(queue_size=16), 32)
    with open_run(out, {"run": "the same"}) as folder:
        batches = Batches(Films.open([store]), shuffled(ROWS, 0), 16)
        Trainer(learner, batches, options, folder, Stopping(after), "test").train()
    losses = {event["step"]: event["loss"] for event in read_log(out) if "loss" in event}
    return Run(losses, {name: value.clone() for name, value in learner.state_dict().items()})


@pytest.mark.torture
def test_a_compiled_run_has_the_losses_of_an_eager_one_and_resumes_exactly(
    tiny_store: Path, tmp_path: Path
) -> None:
    eager = run(tiny_store, tmp_path / "eager", compiled=False)
    compiled = run(tiny_store, tmp_path / "compiled", compiled=True)
    assert compiled.state.keys() == eager.state.keys()
    assert compiled.losses.keys() == eager.losses.keys() == set(range(1, 7))
    assert list(compiled.losses.values()) == pytest.approx(list(eager.losses.values()), abs=1e-4)
    assert any(
        not torch.equal(value, eager.state[name]) for name, value in compiled.state.items()
    )  # other code ran
    with pytest.raises(Interrupted):
        run(tiny_store, tmp_path / "resumed", compiled=True, after=2)
    resumed = run(tiny_store, tmp_path / "resumed", compiled=True)
    assert resumed.losses == compiled.losses
    assert all(torch.equal(value, compiled.state[name]) for name, value in resumed.state.items())


WITHOUT_COMPILER = """
import torch
from hilum.errors import OptionError
from hilum.training.compiled import refuse_without_compiler
try:
    refuse_without_compiler(torch.device("cpu"))
except OptionError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="another compiler is looked for there")
def test_without_a_compiler_it_is_refused_in_one_line(tmp_path: Path) -> None:
    # A process of its own: where the compiler lies is read once, and what was compiled before is
    # kept.
    where = {
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER],
        env=os.environ | where,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("--train.compile does not work here (")
    assert said.rstrip().endswith("install a C++ compiler such as g++, or leave the option out.")
    assert said.count("\n") == 1
