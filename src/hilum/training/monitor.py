"""Monitoring of pretraining: embeddings of whole films, an online probe, and warnings of a collapse."""

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
"""Measures a learner's features; its result is logged as ``online-probe``, and ``linear`` is shown
beside the progress."""


@dataclass(frozen=True)
class MonitorSettings:
    """What is measured, and when."""

    films: Films
    rows: Rows
    """[n] rows of the films whose embeddings are measured."""
    size: int
    """Height and width of the network's input, in pixels."""
    every: int = 1
    """Epochs between two measurements."""
    probe: Probe | None = None
    stop_on_collapse: bool = False

    def due(self, step: int, steps_per_epoch: int, total: int) -> bool:
        """Whether to measure after this step: before the first, at the end of an epoch, after the last."""
        return step % (self.every * steps_per_epoch) == 0 or step == total


def monitored_rows(rows: Rows, count: int, seed: int) -> Rows:
    """Return at most ``count`` of these rows, chosen by the seed alone."""
    return np.sort(np.random.default_rng([seed, len(rows)]).permutation(rows)[:count])


class Monitor:
    """Measures the network, logs the results and warns. It changes nothing that training depends on."""

    def __init__(
        self,
        settings: MonitorSettings,
        detector: CollapseDetector,
        run: RunFolder,
        listener: Listener,
    ) -> None:
        self.settings, self.detector, self.run, self.listener = settings, detector, run, listener
        self._latest: dict[str, str] = {}

    @property
    def summary(self) -> str:
        """The latest results, to be shown beside the progress."""
        return "".join(f", {name} {value}" for name, value in self._latest.items())

    @property
    def stop_reason(self) -> str | None:
        """Why the run must end now: a collapse, if a stop on one was asked for."""
        warning = self.detector.active.get("collapse")
        if warning is None or not self.settings.stop_on_collapse:
            return None
        return f"stopped by --stop-on-collapse, all is saved in {self.run.path}. {warning.line}"

    def measure(self, learner: Learner, step: int) -> None:
        """Measure and probe the learner after ``step``, and check it for a collapse.

        Raises:
            RunError: Its outputs are not finite.
        """
        with _modes_kept(learner):
            health, further = observe(learner, self.settings)
            if not health.finite:
                raise RunError(
                    f"the network's outputs for whole films after step {step} are not finite: "
                    "nothing bad was saved. Start again in another --out with a lower --train.lr, "
                    f"such as {self.detector.lr / 10:g}."
                )
            self._record({"event": "health", "step": step, **further, **vars(health)})
            if self.settings.probe is not None:
                results = self.settings.probe(learner)
                self._record({"event": "online-probe", "step": step, **results})
        for warning in self.detector.check(step, health, len(self.settings.rows), further):
            self.listener.note(warning.line)
            self.run.log(event="warning", step=step, kind=warning.kind, line=warning.line)

    def restore(self, step: int) -> None:
        """Read the log up to ``step`` again, so that a resumed run has the state of an unbroken one."""
        for event in self.run.events():
            if event.get("step", step + 1) > step:
                continue
            if event.get("loss") is not None:
                self.detector.add_loss(event["step"], event["loss"])
            elif event.get("event") == "health":
                films = len(self.settings.rows)
                self.detector.check(event["step"], Health.of(event), films, event)
            self._show(event)

    def _record(self, event: Mapping[str, Any]) -> None:
        self.run.log(**event)
        self._show(event)

    def _show(self, event: Mapping[str, Any]) -> None:
        if event.get("effective_rank") is not None:
            self._latest["rank"] = f"{event['effective_rank']:.0f}"
        if event.get("linear") is not None:
            self._latest["probe"] = f"{event['linear']:.2f}"


def observe(learner: Learner, settings: MonitorSettings) -> tuple[Health, dict[str, float]]:
    """Return the health of a learner in evaluation mode, and the method's own measures."""
    outputs = over_films(
        _EmbeddingsAndFeatures(learner), settings.films, settings.rows, settings.size
    )
    width = outputs.shape[1] - learner.backbone.out_features
    embeddings, features = torch.from_numpy(outputs).tensor_split((width,), dim=1)
    with torch.inference_mode():
        return measure(embeddings, features), learner.diagnose(embeddings.to(device_of(learner)))


class _EmbeddingsAndFeatures(nn.Module):
    """Images [B, 1, size, size] -> embeddings, then the backbone's features, [B, E + D]."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, images: Tensor) -> Tensor:
        """Run the backbone once: a hook keeps its features on their way to the embeddings."""
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
    """Restore every module's mode afterwards; ``learner.train()`` would also unfreeze frozen norms."""
    modes = [(module, module.training) for module in learner.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
