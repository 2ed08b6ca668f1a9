"""Monitoring of pretraining: its log, its warnings, its stop, and that it changes nothing."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hilum.augment.crops import two_crops
from hilum.augment.presets import MOCO
from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError, RunError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.methods import load_method
from hilum.training.batches import Batches, shuffled
from hilum.training.collapse import CollapseDetector
from hilum.training.interrupt import Interrupted
from hilum.training.learner import Batch, Learner
from hilum.training.loop import Trainer
from hilum.training.monitor import Monitor, MonitorSettings, monitored_rows
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run, read_log
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import pretrain

STEPS = 9  # an epoch's


class Heard(Listener):
    """Keeps what it hears, and sends a signal at a step."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.notes: list[str] = []
        self.details: list[str] = []
        self.interrupt_at = interrupt_at

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.details.append(detail)
        if 0 < done == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def store(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 films, 164 of 82 patients to train on."""
    return make_store(tmp_path_factory.mktemp("store") / "store", films=300)


def run(
    store: Path, out: Path, method: str = "moco", listener: Listener | None = None, **given: Any
) -> Path:
    train = {
        "epochs": 4,
        "batch_size": 18,
        "accelerator": "cpu",
        "log_every": 3,
        **given.pop("train", {}),
    }
    where = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "train": TrainOptions(**train),
    }
    pretrain(
        method,
        load_method(method).Options(),
        PretrainOptions(**where, **given),
        listener or Heard(),
    )
    return out


def events(out: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read_log(out) if event.get("event") == name]


@pytest.fixture(scope="module")
def healthy(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Heard]:
    heard = Heard()
    return run(store, tmp_path_factory.mktemp("healthy") / "run", listener=heard), heard


def test_a_healthy_run_is_measured_before_the_first_step_and_after_each_epoch(
    healthy: tuple[Path, Heard],
) -> None:
    out, heard = healthy
    health = events(out, "health")
    assert [event["step"] for event in health] == [0, 9, 18, 27, 36]
    assert {"embedding_std", "mean_cosine", "effective_rank", "feature_rank"} <= health[0].keys()
    assert (
        health[-1]["embedding_std"] > 2 * health[0]["embedding_std"]
    )  # films spread as they are told apart
    assert events(out, "warning") == []
    assert not [
        note for note in heard.notes if "collaps" in note or "nothing is being learnt" in note
    ]


def test_the_online_probe_says_what_features_know(healthy: tuple[Path, Heard]) -> None:
    probes = events(healthy[0], "online-probe")
    assert [event["step"] for event in probes] == [0, 9, 18, 27, 36]
    last = probes[-1]
    assert last["films"] == 164
    assert last["findings"].keys() == {"Edema", "Mass"}
    for kind in ("knn", "linear"):
        assert last[kind] == pytest.approx(
            np.mean([found[kind] for found in last["findings"].values()]), abs=1e-5
        )
    assert last["linear"] > 0.8  # bright squares


def test_the_live_line_says_chance_rank_and_probe(healthy: tuple[Path, Heard]) -> None:
    out, heard = healthy
    last = events(out, "health")[-2], events(out, "online-probe")[-2]
    assert " (chance 3.74), " in heard.details[-1]  # ln(41 + 1)
    assert heard.details[-1].endswith(
        f", rank {last[0]['effective_rank']:.0f}, probe {last[1]['linear']:.2f}"
    )


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 2, "probe_films": 0, "films": 5}])
def test_monitoring_changes_no_bit_of_what_is_learnt(
    store: Path, tmp_path: Path, healthy: tuple[Path, Heard], options: dict[str, int]
) -> None:
    other = run(store, tmp_path / "run", monitor=MonitorOptions(**options))
    assert [event["step"] for event in events(other, "health")] == (
        [0, 18, 36] if options["every"] else []
    )
    assert events(other, "online-probe") == []
    for name in ("model/model.safetensors", "checkpoints/step-000000036/state.safetensors"):
        assert (other / name).read_bytes() == (healthy[0] / name).read_bytes()
    losses = [
        [event["loss"] for event in read_log(out) if "loss" in event] for out in (other, healthy[0])
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", ["moco", "byol"])
def test_a_measurement_leaves_the_learner_and_every_generator_as_they_were(
    store: Path, tmp_path: Path, method: str
) -> None:
    films, learner = Films.open([store]), built(method)
    learner.train()
    next(learner.backbone.network.modules()).eval()
    modes = [module.training for module in learner.modules()]
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with open_run(tmp_path, {}) as folder:
        monitor(films, folder, Heard()).measure(learner, 30)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert [module.training for module in learner.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in learner.state_dict().items())
    assert not [module for module in learner.modules() if module._forward_hooks]
    assert all(parameter.grad is None for parameter in learner.parameters())


def built(method: str) -> Learner:
    with seeded(0):
        return load_method(method)(
            new_backbone("test_resnet", 32, 0), load_method(method).Options().for_films(160), 32
        )


def monitor(films: Films, folder: Any, listener: Listener, **monitoring: Any) -> Monitor:
    watched = MonitorSettings(films, monitored_rows(np.arange(100), 40, 0), 32, **monitoring)
    return Monitor(watched, CollapseDetector(None, 1e-3, 20), folder, listener)


def test_features_that_are_not_finite_stop_the_run_with_a_line(store: Path, tmp_path: Path) -> None:
    films, learner = Films.open([store]), built("moco")
    with torch.no_grad():
        next(learner.backbone.parameters())[0] = float("inf")
    with (
        open_run(tmp_path, {}) as folder,
        pytest.raises(RunError, match=r"step 30 are not finite.*--train.lr"),
    ):
        monitor(films, folder, Heard()).measure(learner, 30)


# Collapse


@pytest.mark.parametrize("method", ["moco", "byol"])
def test_a_rate_that_collapses_the_network_stops_the_run_where_that_is_asked_for(
    store: Path, tmp_path: Path, method: str
) -> None:
    given = {"stop_on_collapse": True, "train": {"lr": 10.0, "epochs": 6}}
    heard = Heard()
    with pytest.raises(RunError) as caught:
        run(store, tmp_path, method, heard, **given)
    assert "\n" not in str(caught.value)
    assert "another --out with a lower --train.lr, such as 1," in str(caught.value)
    (warning,) = events(tmp_path, "warning")
    assert (warning["step"], warning["kind"]) == (
        27,
        "collapse",
    )  # the first look after the steps in which none judges
    assert warning["line"] in heard.notes
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()][-1:]
    assert (tmp_path / "checkpoints" / "step-000000027").is_dir()
    with pytest.raises(RunError) as again:
        run(store, tmp_path, method, **given)
    assert str(again.value) == str(caught.value)
    assert max(event["step"] for event in read_log(tmp_path)) == 27  # not a step more


class Blind(Learner):
    """Sees nothing: the embeddings of all films are alike, and the loss stays that of chance."""

    def make_crops(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        return two_crops(batch.images, batch.index, MOCO, 32, seed, batch.epoch)

    def forward(self, batch: Batch) -> Tensor:
        assert batch.crops is not None
        return 2.0 + 0 * self.backbone(batch.crops[0]).sum()

    def embed(self, images: Tensor) -> Tensor:
        return torch.ones(len(images), 8)

    def chance_loss(self, batch_size: int) -> float:
        return 2.0

    def diagnose(self, embeddings: Tensor) -> dict[str, float]:
        return {"prototypes_used": float(embeddings.shape[1])}


def train_blind(store: Path, out: Path, listener: Listener) -> None:
    films, rows = Films.open([store]), np.arange(50)
    options = TrainOptions(epochs=11, batch_size=10, accelerator="cpu", log_every=2)
    batches = Batches(films, shuffled(rows, 0), 10)
    with seeded(0):
        learner = Blind(new_backbone("test_resnet", 32, 0))
    with open_run(out, {}) as folder:
        Trainer(
            learner,
            batches,
            options,
            folder,
            listener,
            "blind",
            monitoring=MonitorSettings(films, rows, 32),
        ).train()


def test_a_blind_network_is_called_collapsed_and_stuck_at_chance_once_each(
    store: Path, tmp_path: Path
) -> None:
    heard = Heard()
    train_blind(store, tmp_path, heard)
    assert [(event["step"], event["kind"]) for event in events(tmp_path, "warning")] == [
        (25, "collapse"),
        (50, "chance"),
    ]
    assert [event["line"] for event in events(tmp_path, "warning")] == heard.notes
    assert all(event["prototypes_used"] == 8 for event in events(tmp_path, "health"))


@pytest.mark.parametrize("step", [50, 52])
def test_a_resumed_run_does_not_say_again_what_was_said(
    store: Path, tmp_path: Path, step: int
) -> None:
    with pytest.raises(Interrupted):
        train_blind(store, tmp_path, Heard(interrupt_at=step))
    heard = Heard()
    train_blind(store, tmp_path, heard)
    assert [note for note in heard.notes if "continues" not in note] == []
    assert len(events(tmp_path, "warning")) == 2
    assert [event["step"] for event in events(tmp_path, "health")] == list(range(0, 56, 5))


@pytest.mark.parametrize(("name", "value"), [("every", -1), ("films", 1), ("probe_films", -1)])
def test_options_outside_their_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(
        OptionError, match=rf"--monitor.{name.replace('_', '-')} is {value}: allowed is"
    ):
        MonitorOptions(**{name: value})


def test_a_stop_on_collapse_needs_looks() -> None:
    with pytest.raises(
        OptionError, match=r"--stop-on-collapse needs monitoring, and --monitor.every is 0"
    ):
        PretrainOptions(
            data=(Path("x"),), out=Path("y"), stop_on_collapse=True, monitor=MonitorOptions(every=0)
        )
