"""Detection of collapse: measures of how embeddings spread, and warnings when they no longer do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HIGHEST_COSINE = 0.95
LEAST_STD = 0.2
LEAST_RANK = 2.0
"""Beyond any of these the embeddings of films count as collapsed, the first two unless they are
still spreading.

A network keeps much of the spread that it began with when nothing pushes films apart, or when
BYOL's predictor is gone: after 40 to 150 steps its cosine is 0.95 to 0.99 and its std 0.10 to 0.22,
while its accuracy at picking the positive pair is that of chance. One that learns has a cosine below
0.9 by then, and below 0.75 to the end.
"""
CERTAIN_COSINE, CERTAIN_STD = 0.99, 0.05
"""Beyond either of these they count as collapsed even while they spread."""
SPREADING = 1.1
"""Embeddings are still spreading where their std exceeds that of the measurement before by this factor:
healthy networks begin where collapsed ones end, and gain a half in 10 steps."""
NARROW_COSINE, NARROW_RANK = 0.9, 4.0
"""Beyond both together too: films in a narrow cone, along hardly more than a line or two."""
ENOUGH_FILMS = 32
"""With fewer films than these the rank that counts as low is lower in proportion: n films have a
rank below n."""
FEWEST_PROTOTYPES = 1.1
"""With fewer prototypes in use all films are assigned to one. The embeddings may spread (mean cosine
0.86) all the same: codes that are not balanced collapse this way, at a loss near 0, with 1.0 in
use. Healthy SwAV that has hardly begun may use 1.2 once."""
LEAST_DEVIATION = 0.1
"""Below this deviation of the embeddings' dimensions, which VICReg holds at 1, all films come to one
point, unless they still spread: their directions may differ all the same, so the cosines tell
nothing."""
CHANCE_FRACTION = 0.99
"""A mean loss above this fraction of the loss at chance counts as stuck there, unless it still falls
by the rest of it."""
FEWEST_LOSSES = 30
"""Steps that a mean loss covers, at least: SwAV begins above chance, and may need so many after
warm-up to leave it."""
FEWEST_STEPS = 20
"""Steps before which nothing is checked, however short the warm-up: networks that have hardly begun
look collapsed."""
AGAINST_COLLAPSE = "a longer --train.warmup, stronger --method.crops or a larger --train.batch-size"
NOTHING: Mapping[str, Any] = MappingProxyType({})
ROUNDING = 1e-6
"""Singular values below this fraction of the embeddings' length are rounding, not spread."""


@dataclass(frozen=True)
class Health:
    """Spread of the embeddings of many films; ``feature_rank`` is that of the backbone's features, below the heads."""

    embedding_std: float
    mean_cosine: float
    effective_rank: float
    feature_rank: float

    @staticmethod
    def of(event: Mapping[str, Any]) -> Health:
        """Read a ``health`` event of the log; a missing value becomes nan."""
        names = [entry.name for entry in fields(Health)]
        return Health(
            *(math.nan if event.get(name) is None else float(event[name]) for name in names)
        )

    def collapsed(self, films: int, std_before: float = math.nan) -> bool:
        """Whether the embeddings of so many films are nearly equal, or spread along a line or two only.

        ``std_before`` is the ``embedding_std`` of the measurement before; nan without one.
        """
        spreading = self.embedding_std > SPREADING * std_before
        cosine, std = (CERTAIN_COSINE, CERTAIN_STD) if spreading else (HIGHEST_COSINE, LEAST_STD)
        alike = self.mean_cosine > cosine or self.embedding_std < std
        rank, possible = min(self.effective_rank, self.feature_rank), min(films / ENOUGH_FILMS, 1.0)
        narrow = self.mean_cosine > NARROW_COSINE and rank < NARROW_RANK * possible
        return alike or narrow or rank < LEAST_RANK * possible

    @property
    def finite(self) -> bool:
        """Whether all four are numbers."""
        return all(map(math.isfinite, vars(self).values()))


def quiet_steps(warmup: float, total: int) -> int:
    """Return the step up to which nothing is checked: the end of the warm-up, or a few steps."""
    return max(math.ceil(warmup * total), FEWEST_STEPS)


def measure(embeddings: Tensor, features: Tensor) -> Health:
    """Return the health of embeddings [n, E] and features [n, D] of n films; nan where they are not finite."""
    return Health(
        embedding_std(embeddings),
        mean_cosine(embeddings),
        effective_rank(embeddings),
        effective_rank(features),
    )


def embedding_std(embeddings: Tensor) -> float:
    """Return the standard deviation of the unit-length embeddings [n, E], mean over dimensions, times sqrt(E).

    0 where all point one way, 1 where they spread evenly over all directions.

    Source: the collapse measure of Chen and He 2021 (SimSiam, arXiv 2011.10566, section 4.1).
    """
    unit = F.normalize(embeddings.double(), dim=1)
    return float(unit.std(dim=0, correction=0).mean()) * math.sqrt(embeddings.shape[1])


def mean_cosine(embeddings: Tensor) -> float:
    """Return the mean cosine of all pairs of different films' embeddings [n, E], -1 to 1; nan for a single film."""
    count = len(embeddings)
    if count < 2:
        return math.nan
    unit = F.normalize(embeddings.double(), dim=1)
    pairs = unit.sum(dim=0).square().sum() - unit.square().sum()
    return float(pairs) / (count * (count - 1))


def effective_rank(vectors: Tensor) -> float:
    """Return the effective number of directions of vectors [n, D] about their mean: 1 to D, 0 if all are equal.

    The exponential of the entropy of the normalised singular values. Spread that is no more than
    rounding counts as none.

    Source: Roy and Vetterli 2007, "The effective rank".
    """
    exact = vectors.double()
    if not bool(exact.isfinite().all()):
        return math.nan
    values = torch.linalg.svdvals(exact - exact.mean(dim=0))
    values = values[values > ROUNDING * exact.norm()]
    weights = values / values.sum()
    return math.exp(-float((weights * weights.log()).sum())) if len(values) else 0.0


@dataclass(frozen=True)
class CollapseWarning:
    """A warning: its kind, ``collapse`` or ``chance``, and one line with the likely remedy."""

    kind: str
    line: str


class CollapseDetector:
    """Checks losses and measurements, and warns once of a fault until it has recovered.

    Its whole state follows from the log, so a resumed run replays the log instead of storing it.
    """

    def __init__(self, chance: float | None, lr: float, quiet_steps: int, remedy: str = "") -> None:
        """Begin.

        Args:
            chance: The loss of an untrained network, in nats; None where that has no meaning.
            lr: The run's peak learning rate, named in the remedy.
            quiet_steps: Up to this step nothing is checked; see ``quiet_steps``.
            remedy: A further remedy, such as an option of the method.
        """
        self.chance, self.lr, self.quiet_steps, self.remedy = chance, lr, quiet_steps, remedy
        self.active: dict[str, CollapseWarning] = {}
        """Warnings, by kind, from which the run has not recovered."""
        self.last_step, self.total, self.steps, self.loss_before = 0, 0.0, 0, math.nan
        self.std_before, self.std = math.nan, math.nan
        self.deviation_before, self.deviation = math.nan, math.nan

    def add_loss(self, step: int, loss: float) -> None:
        """Record the mean loss of the steps since the previous call, up to ``step``."""
        before, self.last_step = self.last_step, step
        if before <= self.quiet_steps < step:
            self._mean_loss()  # that of the warm-up is only compared with
            before = self.quiet_steps
        steps = step - before
        if math.isfinite(loss):
            self.total += loss * steps
            self.steps += steps

    def check(
        self, step: int, health: Health, films: int, own: Mapping[str, Any] = NOTHING
    ) -> list[CollapseWarning]:
        """Check a measurement on so many films after ``step``; return the warnings that are new.

        ``own`` has what only some methods measure: ``prototypes_used``, their effective number, and
        ``deviation``, that of the embeddings' dimensions over films, mean.
        """
        self.std_before, self.std = self.std, health.embedding_std
        deviation = own.get("deviation")
        self.deviation_before = self.deviation
        self.deviation = math.nan if deviation is None else deviation
        if step <= self.quiet_steps:
            return []
        alike = health.collapsed(films, self.std_before)
        collapse = (
            self._collapse(step, health)
            if alike
            else self._one_prototype(step, own.get("prototypes_used")) or self._one_point(step)
        )
        warnings = {warning.kind: warning for warning in (collapse, self._chance(step)) if warning}
        new = [warning for kind, warning in warnings.items() if kind not in self.active]
        self.active = warnings
        return new

    def _mean_loss(self) -> float:
        """Return the mean loss since the previous call, nan without a step."""
        mean = self.total / self.steps if self.steps else math.nan
        self.total, self.steps, self.loss_before = 0.0, 0, mean
        return mean

    def _collapse(self, step: int, health: Health) -> CollapseWarning:
        return CollapseWarning(
            "collapse",
            f"step {step}: the network is collapsing, films look alike to it (mean cosine {health.mean_cosine:.3f}, "
            f"spread {health.embedding_std:.3f}, effective rank {health.effective_rank:.1f} of the embeddings, "
            f"{health.feature_rank:.1f} of the features). " + self._advice(AGAINST_COLLAPSE),
        )

    def _one_prototype(self, step: int, used: float | None) -> CollapseWarning | None:
        if used is None or not used < FEWEST_PROTOTYPES:
            return None
        return CollapseWarning(
            "collapse",
            f"step {step}: the network is collapsing, all films go to one prototype ({used:.1f} in use). "
            + self._advice(AGAINST_COLLAPSE),
        )

    def _one_point(self, step: int) -> CollapseWarning | None:
        spreading = self.deviation > SPREADING * self.deviation_before
        if spreading or not self.deviation < LEAST_DEVIATION:
            return None
        return CollapseWarning(
            "collapse",
            f"step {step}: the network is collapsing, the embeddings of all films come to one point (their "
            f"dimensions deviate by {self.deviation:.3f}, 1 is aimed at). "
            + self._advice(AGAINST_COLLAPSE),
        )

    def _chance(self, step: int) -> CollapseWarning | None:
        if self.chance is None:
            return None
        if self.last_step <= self.quiet_steps or self.steps < FEWEST_LOSSES:
            return self.active.get("chance")
        before, loss = self.loss_before, self._mean_loss()
        falls = loss < before - (1 - CHANCE_FRACTION) * self.chance
        if falls or loss <= CHANCE_FRACTION * self.chance:
            return None
        return CollapseWarning(
            "chance",
            f"step {step}: the mean loss is {loss:.3f}, that of a network that knows nothing is {self.chance:.3f}: "
            "nothing is being learnt. "
            + self._advice("a longer --train.warmup or a larger --train.batch-size"),
        )

    def _advice(self, others: str) -> str:
        further = f", or {self.remedy}" if self.remedy else ""
        return f"Start again in another --out with a lower --train.lr, such as {self.lr / 10:g}, {others}{further}."
