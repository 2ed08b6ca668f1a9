"""The one training loop, for every method and for the classifier, on Lightning Fabric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from hilum.errors import RunError
from hilum.listener import Listener
from hilum.nn.collectives import any_process, broadcast_from_first
from hilum.nn.small_convolutions import multiply_small_convolutions
from hilum.training import checkpoint
from hilum.training.batches import Batches
from hilum.training.collapse import CollapseDetector, quiet_steps
from hilum.training.compiled import compile_backbones, uncompiled
from hilum.training.distributed import ALONE, Team
from hilum.training.engine import launch
from hilum.training.freed_memory import keep_freed_memory
from hilum.training.inference import describe_device
from hilum.training.interrupt import Interrupted, StopWish, stop_wish
from hilum.training.learner import Batch, Learner
from hilum.training.monitor import Monitor, MonitorSettings
from hilum.training.optimiser import FRACTION, build_optimiser, set_lr
from hilum.training.options import LoopOptions
from hilum.training.run_folder import RunFolder
from hilum.training.schedule import ProgressiveSizes, learning_rate
from hilum.training.step_meter import Reading, StepMeter

Score = Callable[[Learner], float | None]
"""Validation: a learner's score, higher is better; None where it is undefined."""
BETWEEN_REPORTS = 1.0
"""Seconds between two reports of progress, at least, beside those with a loss."""


@dataclass
class State:
    """Progress of a run: steps done, the best score, and epochs since it was reached."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0


@dataclass(frozen=True)
class Outcome:
    """Result of the loop: steps, films a second over all processes (None without a step), the best score."""

    steps: int
    images_per_second: float | None
    best: float | None
    best_step: int
    stopped_early: bool


@dataclass
class Trainer:
    """One training run: the learner, its data, the optimiser, and where it writes."""

    learner: Learner
    batches: Batches
    options: LoopOptions
    run: RunFolder
    listener: Listener
    stage: str
    score: Score | None = None
    patience: int = 0
    team: Team = ALONE
    monitoring: MonitorSettings | None = None
    last_epoch: int | None = None  # ends after that many epochs of the schedule; None after all
    total: int = 0
    """Optimiser steps; 0 takes the options' epochs."""
    sizes: ProgressiveSizes | None = None
    """Sizes of the crops where they increase during training."""
    state: State = field(default_factory=State)
    films: int = 0
    seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Meet the other processes, move the learner to its device and make its optimiser."""
        options = self.options
        self.fabric = launch(options, self.team)
        if options.channels_last:
            self.learner.to(memory_format=torch.channels_last)
        if options.compile:
            compile_backbones(self.learner, self.fabric.device)
        if self.fabric.device.type == "cpu":
            keep_freed_memory()
            multiply_small_convolutions(self.learner)
        scales_loss = options.precision == "16-mixed"
        optimiser = build_optimiser(self.learner, options, fused=not scales_loss)
        self.model, self.optimiser = self.fabric.setup(self.learner, optimiser)
        self.steps_per_epoch = self.batches.per_epoch // options.accumulate
        self.total = self.total or self.steps_per_epoch * (options.epochs or 0)
        if not self.total:
            raise ValueError("neither steps nor epochs are given")
        self.meter = StepMeter(options.lr, skips_overflow=scales_loss)
        self.chance = self.learner.chance_loss(
            self.batches.batch_size * self.batches.ranks.world_size
        )
        detector = CollapseDetector(
            self.chance, options.lr, quiet_steps(options.warmup, self.total), self.learner.remedy
        )
        self._detail, self._reported = "", self.clock()
        self.monitor = (
            None
            if self.monitoring is None
            else Monitor(self.monitoring, detector, self.run, self.listener)
        )

    @property
    def epoch(self) -> int:
        """Whole epochs that are done."""
        return self.state.step // self.steps_per_epoch

    def train(self) -> Outcome:
        """Train to the end, from the newest checkpoint if there is one; the learner ends as the best or the last.

        Raises:
            RunError: A loss or a gradient was not finite, or the run stopped on a collapse.
            Interrupted: SIGINT or SIGTERM came; all is saved.
        """
        self._resume()
        self.listener.device(describe_device(self.fabric.device, self.team.ranks.world_size))
        if self.patience:
            self.listener.may_stop_early(self.stage)
        with stop_wish() as wish, _repeatable(), closing(self._timed_batches()) as batches:
            self._steps(batches, wish)
        if self.score is not None and self.state.best is not None and self.team.first:
            best = checkpoint.load_best(self.run.checkpoints)
            checkpoint.restore(best, self.learner, self.optimiser)
        return Outcome(
            self.state.step,
            self.films / self.seconds if self.films else None,
            self.state.best,
            self.state.best_step,
            self.state.step < self.total,
        )

    def _steps(self, batches: Iterator[tuple[int, Batch, float]], wish: StopWish) -> None:
        options, state = self.options, self.state
        self.learner.train()
        if state.step == 0:
            self._monitor_if_due()
        self._stop_if_collapsed()
        self._report()  # the time of the first step counts from here
        while state.step < self.total and not self._exhausted():
            step = state.step + 1
            rate = learning_rate(step / self.total, options.schedule, options.warmup)
            set_lr(self.optimiser, options.lr * rate)
            # Dropout depends on the step alone, also after a resume.
            torch.manual_seed(options.seed * 1_000_003 + step)
            self._resize_crops(step)
            self._take_step(batches)
            self.learner.after_step(progress=step / self.total)
            state.step = step
            self._after_step(step, wish)

    def _resize_crops(self, step: int) -> None:
        """Have crops of the size that this step's number asks for: a resumed run has those of an unbroken one."""
        if self.sizes is None or (size := self.sizes.at(step, self.total)) == self.learner.size:
            return
        self.learner.resize_crops(size)
        self.run.log(event="size", step=step - 1, size=size)
        self.listener.note(f"crops of {size} px from step {step} on")

    def _take_step(self, batches: Iterator[tuple[int, Batch, float]]) -> None:
        losses, films, waited = [], 0, 0.0
        for micro in range(1, self.options.accumulate + 1):
            epoch, batch, wait = next(batches)
            batch = self._on_device(batch, epoch)
            with self.fabric.no_backward_sync(self.model, enabled=micro < self.options.accumulate):
                # Through Fabric's wrapper: autocast and DDP live there.
                loss: Tensor = self.model(batch)
                self.fabric.backward(loss / self.options.accumulate)
            losses.append(loss.detach())
            films, waited = films + len(batch.index) * self.team.ranks.world_size, waited + wait
        norm = self.fabric.clip_gradients(
            self.model,
            self.optimiser,
            max_norm=self.options.clip or float("inf"),
            error_if_nonfinite=False,
        )
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.meter.add(torch.stack(losses).mean(), torch.as_tensor(norm), films, waited)

    def _on_device(self, batch: Batch, epoch: int) -> Batch:
        moved: Batch = self.fabric.to_device(batch)
        moved = moved._replace(epoch=epoch)
        return moved._replace(crops=self.learner.make_crops(moved, self.options.seed))

    def _timed_batches(self) -> Generator[tuple[int, Batch, float], None, None]:
        accumulate = self.options.accumulate
        waiting = time.perf_counter()
        with closing(
            self.batches.run(self.state.step * accumulate, self.total * accumulate)
        ) as batches:
            for epoch, batch in batches:
                yield epoch, batch, time.perf_counter() - waiting
                waiting = time.perf_counter()

    def _after_step(self, step: int, wish: StopWish) -> None:
        """Log, validate, monitor and save where the step's number, or a wish to stop, asks for it."""
        epoch_ends = step % self.steps_per_epoch == 0
        every = self.options.checkpoint_every or self.steps_per_epoch
        due = step % every == 0 or epoch_ends or step == self.total
        if step % self.options.log_every == 0 or due:
            self._log(self.meter.read(step))
        elif self.clock() - self._reported >= BETWEEN_REPORTS:
            self._report()
        if epoch_ends and self.score is not None:
            self._validate(self.score)
        self._monitor_if_due()
        # Read once: a signal after this counts after the next step. All processes stop after the
        # same one.
        stops = any_process(wish.asked) and step < self.total
        if due or stops:
            self._save(step)
        if epoch_ends:
            self._stop_if_collapsed()
        if stops:
            self.run.log(event="interrupted", step=step)
            raise Interrupted(
                f"stopped at step {step} of {self.total}; all is saved in {self.run.path}"
            )

    def _monitor_if_due(self) -> None:
        """Measure the network where that is due; rank 0 does, the others wait for it at the next step."""
        step, monitor = self.state.step, self.monitor
        if monitor is None or not monitor.settings.due(step, self.steps_per_epoch, self.total):
            return
        if self.team.first:
            with uncompiled(self.options.compile):
                monitor.measure(self.learner, step)
        self.meter.restart_clock()

    def _stop_if_collapsed(self) -> None:
        """End the run in all processes if the monitor found a collapse and was asked to stop on one."""
        if self.monitor is not None and self.monitor.settings.stop_on_collapse:
            reason = self.monitor.stop_reason
            if any_process(reason is not None):
                raise RunError(reason or "stopped by --stop-on-collapse: see the line of rank 0.")

    def _save(self, step: int) -> None:
        self._log(self.meter.read(step))
        if self.team.first:
            self.meter.refuse_bad_weights(step, self.learner)
            checkpoint.save(self.run.checkpoints, self._checkpoint())

    def _log(self, reading: Reading | None) -> None:
        if reading is None:
            return
        self.films += reading.films
        self.seconds += reading.seconds
        step, first = self.state.step, self.optimiser.param_groups[0]
        lr = first["lr"] / first.get(FRACTION, 1.0)
        rate = reading.films / reading.seconds
        self.run.log(
            step=step,
            loss=reading.loss,
            lr=lr,
            gradient_norm=reading.gradient_norm,
            images_per_second=rate,
            waiting=reading.waiting,
        )
        chance = "" if self.chance is None else f" (chance {self.chance:.2f})"
        self._detail = f"loss {reading.loss:.3f}{chance}, {rate:.0f} films/s"
        if self.monitor is not None:
            self.monitor.detector.add_loss(step, reading.loss)
            self._detail += self.monitor.summary
        self._report()

    def _report(self) -> None:
        """Report progress with the latest loss; waits for no device."""
        self._reported = self.clock()
        self.listener.progress(self.stage, self.state.step, self.total, self._detail)

    def _validate(self, score: Score) -> None:
        state = self.state
        own = score(self.learner) if self.team.first else None
        (shared,) = broadcast_from_first(
            [math.nan if own is None else own]
        )  # rank 0's, in all processes
        value = None if math.isnan(shared) else shared
        self.learner.train()
        self.meter.restart_clock()
        self.run.log(event="validation", step=state.step, score=value)
        if value is None:
            return  # a score that is undefined is no reason to stop
        if state.best is not None and value <= state.best:
            state.stale += 1
            return
        state.best, state.best_step, state.stale = value, state.step, 0
        if self.team.first:
            self.meter.refuse_bad_weights(state.step, self.learner)
            checkpoint.save_best(self.run.checkpoints, self._checkpoint())

    def _exhausted(self) -> bool:
        if self.last_epoch is not None and self.epoch >= self.last_epoch:
            return True
        return bool(self.patience) and self.state.stale >= self.patience

    def _checkpoint(self) -> checkpoint.Checkpoint:
        values = {**asdict(self.state), "scaler": self.fabric.strategy.precision.state_dict()}
        step = values.pop("step")
        return checkpoint.capture(self.learner, self.optimiser, step, values)

    def _resume(self) -> None:
        """Continue from the newest whole checkpoint, if there is one."""
        saved = self._newest()
        if saved is None:
            self.run.log(event="begun", step=0, total=self.total)
            if self.chance is not None:
                self.run.log(event="chance", step=0, value=self.chance)
            return
        checkpoint.restore(saved, self.learner, self.optimiser)
        values: dict[str, Any] = dict(saved.values)
        self.fabric.strategy.precision.load_state_dict(values.pop("scaler"))
        self.state = State(step=saved.step, **values)
        self.run.log(event="resumed", step=saved.step)
        self.listener.note(f"continues at step {saved.step} of {self.total}")
        if self.monitor is not None and self.team.first:
            self.monitor.restore(saved.step)
        if self.state.best is not None:
            self._check_best()

    def _newest(self) -> checkpoint.Checkpoint | None:
        """Return the newest whole checkpoint, None without one; rank 0 decides which that is."""
        if not self.team.first:
            (step,) = broadcast_from_first([0])
            if not step:
                return None
            return checkpoint.load(self.run.checkpoints / checkpoint.folder_name(int(step)))
        newest, damaged = checkpoint.load_newest(self.run.checkpoints)
        for line in damaged:
            self.listener.note(line)
            self.run.log(event="damaged-checkpoint", line=line)
        broadcast_from_first([newest.step if newest else 0])
        return newest

    def _check_best(self) -> None:
        """Forget a best model whose checkpoint is damaged, while there are epochs left to reach another."""
        fault = checkpoint.drop_damaged_best(self.run.checkpoints) if self.team.first else None
        (damaged,) = broadcast_from_first([fault is not None])
        if not damaged:
            return
        line = (
            f"the best model so far, of step {self.state.best_step}, is damaged ({fault}): "
            "forgotten; the best of the epochs to come is kept, or the last model if none comes."
        )
        self.state = State(step=self.state.step)
        self.listener.note(line)
        self.run.log(event="damaged-checkpoint", line=line)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Choose only convolutions that give the same bits each time: a resumed run must equal an unbroken one."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield
