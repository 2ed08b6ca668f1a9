"""The floor of optimiser steps: few films are shown several times an epoch, exactly, and in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from heard import Heard

from hilum.errors import OptionError
from hilum.listener import Listener
from hilum.options import read_options
from hilum.training.run_folder import read_log
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.fitting import epoch_repeats
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import TrainingResult


def run(
    store: Path, out: Path, listener: Listener, patience: int = 0, **train: Any
) -> TrainingResult:
    given = {"epochs": 3, "batch_size": 64, "accelerator": "cpu", "log_every": 1, **train}
    options = FinetuneOptions(
        data=(store,),
        out=out,
        backbone="test_resnet",
        patience=patience,
        train=FinetuneTrainOptions(**given),
    )
    return finetune(options, listener)


@pytest.mark.parametrize(
    ("films", "batch", "epochs", "least", "processes", "repeats"),
    [
        (30, 30, 10, 60, 1, 6),  # one step an epoch
        (30, 16, 10, 60, 1, 4),  # 3.2 times would do: the rest of an epoch is not lost
        (30, 30, 10, 0, 1, 1),
        (30, 30, 10, 10, 1, 1),
        (30, 30, 10, 11, 1, 2),
        (1299, 16, 6, 60, 1, 1),
        (113, 16, 10, 60, 1, 1),  # a tenth of the demo's labels: 70 steps
        (64, 16, 1, 60, 2, 30),
    ],
)
def test_an_epoch_is_as_long_as_the_floor_needs(
    films: int, batch: int, epochs: int, least: int, processes: int, repeats: int
) -> None:
    train = FinetuneTrainOptions(epochs=epochs, batch_size=batch, min_steps=least)
    assert epoch_repeats(train, films, processes) == repeats
    step = batch * processes
    assert films * repeats // step * epochs >= least
    assert repeats == 1 or films * (repeats - 1) // step * epochs < least


def test_few_films_are_shown_several_times_and_it_is_said(tiny_store: Path, tmp_path: Path) -> None:
    heard = Heard()
    done = run(tiny_store, tmp_path / "run", heard, min_steps=10)
    assert (done.steps, done.repeats) == (12, 4)
    line = (
        "52 films give 3 steps in 3 epochs, fewer than --train.min-steps 10: each epoch goes over "
        "them 4 times, 12 steps in all"
    )
    assert line in heard.notes
    validated = [e["step"] for e in read_log(done.run) if e.get("event") == "validation"]
    assert validated == [4, 8, 12]  # as many as epochs, so that patience means what it says
    assert json.loads((done.run / "metrics.json").read_text())["training"]["repeats"] == 4
    content = yaml.safe_load((done.run / "options.yaml").read_text())["finetune"]
    assert content["train"]["min_steps"] == 10
    again = finetune(
        read_options(FinetuneOptions, {**content, "out": str(tmp_path / "again")}, "finetune")
    )
    assert again.steps == 12
    model = "model/model.safetensors"
    assert (again.run / model).read_bytes() == (done.run / model).read_bytes()


def test_a_run_that_stops_among_repeated_films_goes_on_exactly(
    tiny_store: Path, tmp_path: Path
) -> None:
    class Falling(Heard):
        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            super().progress(stage, done, total, detail)
            if done == 7:
                raise KeyboardInterrupt

    options = {"min_steps": 10, "checkpoint_every": 3}
    whole = run(tiny_store, tmp_path / "whole", Heard(), **options)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_store, tmp_path / "broken", Falling(), **options)
    broken = run(tiny_store, tmp_path / "broken", Heard(), **options)
    assert (broken.steps, broken.repeats) == (whole.steps, whole.repeats)
    for name in ("model.safetensors", "model.json"):
        assert (broken.run / "model" / name).read_bytes() == (
            whole.run / "model" / name
        ).read_bytes()


def test_without_a_floor_nothing_is_repeated_or_said(tiny_store: Path, tmp_path: Path) -> None:
    heard = Heard()
    done = run(tiny_store, tmp_path / "run", heard, min_steps=0)
    assert (done.steps, done.repeats) == (3, 1)
    assert not any("min-steps" in line for line in heard.notes)


def test_a_negative_floor_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^--train.min-steps is -1: allowed is 0 or more\.$"):
        FinetuneTrainOptions(min_steps=-1)
