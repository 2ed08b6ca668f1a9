"""The loop: resumption, interruption, accumulation, early stopping, and losses that are not finite."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.augment.crops import CropRecipe
from hilum.bundle.initialization import new_backbone, seeded
from hilum.classifier.learner import SupervisedLearner
from hilum.errors import OptionError, RunError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.training.batches import Batches, Labels, shuffled
from hilum.training.inference import describe_device
from hilum.training.interrupt import Interrupted, stop_wish
from hilum.training.loop import Trainer
from hilum.training.options import TrainOptions
from hilum.training.run_folder import open_run, read_log

ROWS = np.arange(0, 48)
NO_NORM = "test_efficientnet_gn"


@dataclass
class Heard(Listener):
    """Keeps notes, and does something at a step."""

    at: int = 0
    act: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if done == self.at:
            self.act()


@pytest.fixture(scope="module")
def films(tiny_store: Path) -> Films:
    return Films.open([tiny_store])


@dataclass
class Run:
    """A run's final weights and records."""

    weights: dict[str, torch.Tensor]
    optimiser: dict[str, torch.Tensor]
    losses: dict[int, float]
    trainer: Trainer


def run(
    films: Films,
    out: Path,
    listener: Listener | None = None,
    backbone: str = NO_NORM,
    score: Callable[[object], float | None] | None = None,
    patience: int = 0,
    clock: Callable[[], float] = time.monotonic,
    **options: object,
) -> Run:
    given: dict[str, object] = {
        "epochs": 2,
        "batch_size": 8,
        "log_every": 1,
        "checkpoint_every": 2,
        **options,
    }
    train = TrainOptions(accelerator="cpu", **given)  # type: ignore[arg-type]
    with seeded(0):
        learner = SupervisedLearner(
            new_backbone(backbone, 32, 0), 2, CropRecipe(rotation=5), 32, freeze=False
        )
    batches = Batches(
        films,
        shuffled(ROWS, train.seed),
        train.batch_size,
        train.accumulate,
        Labels(films.labels, np.ones_like(films.labels)),
    )
    with open_run(out, {"options": str(train)}) as folder:
        trainer = Trainer(
            learner,
            batches,
            train,
            folder,
            listener or Heard(),
            "test",
            score,
            patience,
            clock=clock,
        )
        trainer.train()
    losses = {event["step"]: event["loss"] for event in read_log(out) if "loss" in event}
    moments = {
        f"{number}.{name}": value.clone()
        for number, entries in trainer.optimiser.state_dict()["state"].items()
        for name, value in entries.items()
    }
    weights = {name: value.clone() for name, value in learner.state_dict().items()}
    return Run(weights, moments, losses, trainer)


def assert_equal(one: Run, other: Run) -> None:
    for ours, theirs in ((one.weights, other.weights), (one.optimiser, other.optimiser)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert one.losses == other.losses


@pytest.fixture(scope="module")
def unbroken(films: Films, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(films, tmp_path_factory.mktemp("unbroken"))


def test_same_seed_same_numbers_another_seed_others(
    films: Films, tmp_path: Path, unbroken: Run
) -> None:
    torch.manual_seed(99)
    assert_equal(run(films, tmp_path / "again"), unbroken)
    assert run(films, tmp_path / "other", seed=1).losses != unbroken.losses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 5])  # 5 is no step at which a checkpoint is due
def test_a_signal_saves_and_the_run_goes_on_as_if_unbroken(
    films: Films, tmp_path: Path, unbroken: Run, number: int, step: int
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"stopped at step .* all is saved"):
        run(films, tmp_path, Heard(step, lambda: os.kill(os.getpid(), number)))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    stopped_at = next(
        event["step"] for event in read_log(tmp_path) if event.get("event") == "interrupted"
    )
    assert stopped_at in (step, step + 1)
    heard = Heard()
    assert_equal(run(films, tmp_path, heard), unbroken)
    assert heard.notes == [f"continues at step {stopped_at} of 12"]
    assert not [thread for thread in threading.enumerate() if thread.name == "hilum-read-ahead"]


def test_a_second_signal_acts_at_once() -> None:
    with stop_wish() as wish:
        os.kill(os.getpid(), signal.SIGINT)
        assert wish.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_line(
    films: Films, tmp_path: Path, unbroken: Run
) -> None:
    with pytest.raises(Interrupted):
        run(films, tmp_path, Heard(6, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    newest = sorted((tmp_path / "checkpoints").glob("step-*"))[-1] / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    heard = Heard()
    assert_equal(run(films, tmp_path, heard), unbroken)
    assert "is damaged (a hash does not match): skipped for the one before" in heard.notes[0]
    assert "continues at step 4 of 12" in heard.notes[1]
    assert any(event.get("event") == "damaged-checkpoint" for event in read_log(tmp_path))


def test_two_batches_of_eight_step_like_one_of_sixteen(films: Films, tmp_path: Path) -> None:
    one = run(films, tmp_path / "one", epochs=1, batch_size=16)
    two = run(films, tmp_path / "two", epochs=1, batch_size=8, accumulate=2)
    assert one.losses.keys() == two.losses.keys() == {1, 2, 3}
    assert list(two.losses.values()) == pytest.approx(list(one.losses.values()), abs=1e-4)
    first = {
        "epochs": 1,
        "checkpoint_every": 1,
        "lr": 1e-12,
        "weight_decay": 0,
    }  # weights stay, so gradients compare
    one = run(films, tmp_path / "still-one", batch_size=16, **first)
    two = run(films, tmp_path / "still-two", batch_size=8, accumulate=2, **first)
    assert list(two.losses.values()) == pytest.approx(list(one.losses.values()), abs=1e-5)
    for name, moment in one.optimiser.items():
        torch.testing.assert_close(two.optimiser[name], moment, atol=1e-5, rtol=1e-5)
    assert (
        max(float(moment.abs().max()) for name, moment in one.optimiser.items() if "avg" in name)
        > 1e-3
    )


@pytest.mark.parametrize("checkpoint_every", [1, 2, 0])
def test_a_loss_that_is_not_finite_stops_before_anything_bad_is_saved(
    films: Films, tmp_path: Path, checkpoint_every: int
) -> None:
    with pytest.raises(RunError) as caught:
        run(films, tmp_path, lr=1e30, checkpoint_every=checkpoint_every)
    line = str(caught.value)
    assert "at step 1 " in line or "at step 2 " in line
    assert "--train.lr, such as 1e+29" in line
    assert "\n" not in line
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_the_step_that_went_wrong_is_named_when_it_is_found_later(
    films: Films, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"(loss|gradient) is (nan|inf) at step 2 "):
        run(films, tmp_path, lr=1e30, log_every=5, checkpoint_every=5)


def test_early_stopping_restores_the_best(films: Films, tmp_path: Path) -> None:
    scores = iter([0.5, 0.8, 0.7, 0.8, 0.9])
    seen: list[torch.Tensor] = []

    def score(learner: SupervisedLearner) -> float:
        seen.append(learner.head.weight.detach().clone())
        return next(scores)

    found = run(films, tmp_path, score=score, patience=2, epochs=9)  # type: ignore[arg-type]
    state = found.trainer.state
    assert (state.step, state.best, state.best_step) == (24, 0.8, 12)
    assert torch.equal(found.weights["head.weight"], seen[1])
    assert not torch.equal(seen[1], seen[3])
    scored = [event["score"] for event in read_log(tmp_path) if event.get("event") == "validation"]
    assert scored == [0.5, 0.8, 0.7, 0.8]


@pytest.mark.parametrize(("stopped", "best", "best_step"), [(9, 0.6, 12), (12, None, 0)])
def test_a_damaged_best_is_forgotten_on_resuming_with_a_line(
    films: Films, tmp_path: Path, stopped: int, best: float | None, best_step: int
) -> None:
    out, scores = tmp_path / "run", iter([0.9, 0.6])

    def score(learner: SupervisedLearner) -> float:
        return next(scores)

    def damage() -> None:
        weights = out / "checkpoints" / "best" / "state.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        if stopped < 12:
            os.kill(os.getpid(), signal.SIGTERM)

    # At the last step the damage comes to light in the run itself: the same command finishes it all
    # the same.
    with pytest.raises(
        (Interrupted, RunError), match=r"all is saved|best is damaged .* same command again"
    ):
        run(films, out, Heard(stopped, damage), score=score)  # type: ignore[arg-type]
    heard = Heard()
    state = run(films, out, heard, score=score).trainer.state  # type: ignore[arg-type]
    assert (state.step, state.best, state.best_step) == (12, best, best_step)
    assert "the best model so far, of step 6, is damaged (a hash does not match)" in heard.notes[1]
    assert any(event.get("event") == "damaged-checkpoint" for event in read_log(out))


def test_weights_that_are_not_finite_never_become_the_best(films: Films, tmp_path: Path) -> None:
    def score(learner: SupervisedLearner) -> float:
        learner.head.weight.data[0] = float("nan")
        return 0.5

    with pytest.raises(RunError, match="weights are not finite at step 6 "):
        run(films, tmp_path, score=score)  # type: ignore[arg-type]
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_epochs_that_cannot_be_scored_stop_nothing(films: Films, tmp_path: Path) -> None:
    found = run(films, tmp_path, score=lambda learner: None, patience=1, epochs=3)
    assert (found.trainer.state.step, found.trainer.state.best) == (18, None)


def test_the_log_has_a_line_every_so_many_steps(films: Films, tmp_path: Path) -> None:
    found = run(films, tmp_path, log_every=4, checkpoint_every=0)
    assert sorted(found.losses) == [4, 6, 8, 12]  # every 4, and at the end of each epoch of 6
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0] == {"event": "begun", "step": 0, "total": 12}
    assert all(
        {"step", "loss", "lr", "gradient_norm", "images_per_second"} <= line.keys()
        for line in lines
        if "event" not in line
    )
    assert lines[-1]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is refused where there is no GPU")
@pytest.mark.parametrize("options", [{"precision": "16-mixed"}, {"accelerator": "cuda"}])
def test_what_needs_a_gpu_is_refused_without_one(options: dict[str, str]) -> None:
    learner = SupervisedLearner(
        new_backbone("test_resnet", 32, 0), 2, CropRecipe(), 32, freeze=False
    )
    with pytest.raises(OptionError, match="GPU"):
        Trainer(learner, None, TrainOptions(**options), None, Heard(), "test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("warmup", 1.0),
        ("clip", -1),
        ("seed", -1),
    ],
)
def test_options_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=rf"--train.{name.replace('_', '-')} is .*: allowed is"):
        TrainOptions(**{name: value})  # type: ignore[arg-type]


class Reports(Listener):
    """Keeps the device, the stages that may stop early, and the steps that are reported."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.bounded: list[str] = []
        self.steps: list[int] = []
        self.details: list[str] = []

    def device(self, name: str) -> None:
        self.devices.append(name)

    def may_stop_early(self, stage: str) -> None:
        self.bounded.append(stage)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.steps.append(done)
        self.details.append(detail)


@pytest.mark.parametrize(
    ("seconds_a_step", "steps"),
    [(0.4, [0, 3, 6, 9, 12]), (20.0, list(range(13)))],
)
def test_progress_is_reported_before_the_first_loss_is_logged(
    films: Films, tmp_path: Path, seconds_a_step: float, steps: list[int]
) -> None:
    """Without it nobody could estimate the time left of slow steps: losses are logged each 50."""
    reports, ticks = Reports(), iter(np.arange(0.0, 999.0, seconds_a_step).tolist())
    run(films, tmp_path, reports, log_every=50, checkpoint_every=12, clock=lambda: next(ticks))
    assert reports.steps == steps
    assert reports.details[-2] == "" or "loss" in reports.details[-2]
    assert reports.details[-1].startswith("loss ")
    assert reports.devices == [describe_device(torch.device("cpu"))]
    assert reports.bounded == []


def test_a_resumed_run_reports_where_it_begins_and_its_device(films: Films, tmp_path: Path) -> None:
    stop = Heard(at=5, act=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        run(films, tmp_path, stop)
    reports = Reports()
    run(films, tmp_path, reports)
    assert reports.steps[:2] == [5, 6]
    assert len(reports.devices) == 1


def test_early_stopping_makes_the_time_left_an_upper_bound(films: Films, tmp_path: Path) -> None:
    reports = Reports()
    run(films, tmp_path, reports, score=lambda _learner: 0.5, patience=1)
    assert reports.bounded == ["test"]
