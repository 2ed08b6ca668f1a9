"""The look at the network as it is: whole films through it, a probe of its features, and what to warn of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hilum.arrays import Rows
from hilum.errors import RunError
from hilum.images.films import Films
from hilum.listener import Listener
from hilum.training.collapse import CollapseDetector, Health, measure
from hilum.training.inference import device_of, over_films
from hilum.training.learner import Learner
from hilum.training.run_folder import RunFolder

Probe = Callable[[Learner], Mapping[str, Any]]
"""Measures a learner's features; what it returns is logged as ``online-probe``, ``linear`` is shown
while training."""


@dataclass(frozen=True)
class MonitorSettings:
    """What to look at, and when."""

    films: Films
    rows: Rows
    """[n] of the films whose embeddings are measured."""
    size: int
    """Height and width in pixels of what the network sees."""
    every: int = 1
    """Epochs between two looks."""
    probe: Probe | None = None
    stop_on_collapse: bool = False

    def due(self, step: int, steps_per_epoch: int, total: int) -> bool:
        """Return whether to look after this step: before the first, at the end of an epoch, after the last."""
        return step % (self.every * steps_per_epoch) == 0 or step == total


def watched_rows(rows: Rows, count: int, seed: int) -> Rows:
    """Return at most ``count`` of these rows, chosen by the seed alone."""
    return np.sort(np.random.default_rng([seed, len(rows)]).permutation(rows)[:count])


class Monitor:
    """Looks, writes down what it finds, and says what is wrong. Nothing that training depends on is touched."""

    def __init__(
        self,
        monitoring: MonitorSettings,
        detector: CollapseDetector,
        run: RunFolder,
        listener: Listener,
    ) -> None:
        self.monitoring, self.detector, self.run, self.listener = (
            monitoring,
            detector,
            run,
            listener,
        )
        self._shown: dict[str, str] = {}

    @property
    def shown(self) -> str:
        """What the last look found, for the line of progress."""
        return "".join(f", {name} {value}" for name, value in self._shown.items())

    @property
    def stop(self) -> str | None:
        """Why the run must end now, if it must: films look alike to the network, and a stop on that was asked for."""
        warn = self.detector.standing.get("collapse")
        if warn is None or not self.monitoring.stop_on_collapse:
            return None
        return f"stopped by --stop-on-collapse, all is saved in {self.run.path}. {warn.line}"

    def look(self, learner: Learner, step: int) -> None:
        """Measure, probe and judge the learner after ``step``.

        Raises:
            RunError: What it gives for a film is not finite.
        """
        with _modes_kept(learner):
            health, further = observe(learner, self.monitoring)
            if not health.finite:
                raise RunError(_not_finite(step, self.detector.lr))
            self._tell({"event": "health", "step": step, **further, **vars(health)})
            if self.monitoring.probe is not None:
                self._tell(
                    {"event": "online-probe", "step": step, **self.monitoring.probe(learner)}
                )
        for warn in self.detector.judge(
            step, health, len(self.monitoring.rows), further.get("prototypes_used")
        ):
            self.listener.note(warn.line)
            self.run.log(event="warning", step=step, kind=warn.kind, line=warn.line)

    def recall(self, step: int) -> None:
        """Hear again what the log says up to ``step``, so that a resumed run knows what an unbroken one would."""
        for event in self.run.events():
            if event.get("step", step + 1) > step:
                continue
            if event.get("loss") is not None:
                self.detector.hear(event["step"], event["loss"])
            elif event.get("event") == "health":
                used = event.get("prototypes_used")
                self.detector.judge(
                    event["step"], Health.of(event), len(self.monitoring.rows), used
                )
            self._show(event)

    def _tell(self, event: Mapping[str, Any]) -> None:
        self.run.log(**event)
        self._show(event)

    def _show(self, event: Mapping[str, Any]) -> None:
        if event.get("effective_rank") is not None:
            self._shown["rank"] = f"{event['effective_rank']:.0f}"
        if event.get("linear") is not None:
            self._shown["probe"] = f"{event['linear']:.2f}"


def observe(learner: Learner, monitoring: MonitorSettings) -> tuple[Health, dict[str, float]]:
    """Return the health of a learner in evaluation mode, and what the method itself measures."""
    outputs = torch.from_numpy(
        over_films(_Watched(learner), monitoring.films, monitoring.rows, monitoring.size)
    )
    embeddings, features = outputs.tensor_split(
        (outputs.shape[1] - learner.backbone.out_features,), dim=1
    )
    with torch.inference_mode():
        return measure(embeddings, features), learner.diagnose(embeddings.to(device_of(learner)))


class _Watched(nn.Module):
    """Films [B, 1, size, size] -> embeddings and the backbone's features side by side, [B, E + D]."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, images: Tensor) -> Tensor:
        """Run the backbone once: its features are heard on their way to the embeddings."""
        passed: list[Tensor] = []
        hook = self.learner.backbone.register_forward_hook(
            lambda _module, _images, features: passed.append(features)
        )
        try:
            embeddings = self.learner.embed(images)
        finally:
            hook.remove()
        features = passed[0] if passed else self.learner.backbone(images)
        return torch.cat([embeddings.float(), features.float()], dim=1)


@contextmanager
def _modes_kept(learner: nn.Module) -> Iterator[None]:
    """Give every module the mode back that it had; one switch for all would wake the frozen ones."""
    modes = [(module, module.training) for module in learner.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _not_finite(step: int, lr: float) -> str:
    return (
        f"what the network says of whole films after step {step} is not finite: nothing bad was saved. "
        f"Start again in another --out with a lower --train.lr, such as {lr / 10:g}."
    )
