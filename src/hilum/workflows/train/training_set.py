"""What a classifier is to learn: the films with labels, what each cell is taken as, and how films are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.augment.presets import FINETUNE
from hilum.classifier.learner import SupervisedLearner
from hilum.classifier.objective import Objective, class_counts, class_weights
from hilum.classifier.sampler import Draws, drawn, weighted_draws
from hilum.images.films import Films
from hilum.labels import MULTICLASS, policies
from hilum.listener import Listener
from hilum.nn.backbones import Backbone
from hilum.training.batches import Order
from hilum.training.run_folder import RunFolder
from hilum.workflows.data.pseudo_label_table import PseudoLabels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import (
    labelled_rows,
    learnt_columns,
    refuse_third_class,
    training_labels,
    with_pseudo_labels,
)
from hilum.workflows.train.options import FinetuneOptions


@dataclass(frozen=True)
class TrainingSet:
    """The training films that have a label or pseudo-label, and of them the findings that can be learnt."""

    rows: Rows
    """Films to learn from, by place among all."""
    labelled: int
    """Of these the films with a label that is used; the others have pseudo-labels only."""
    findings: tuple[str, ...]
    """F findings that a label of these films counts for."""
    columns: list[int]
    """Their places among the findings of the films."""
    targets: FloatArray
    """[N, F] of all films, see ``hilum.labels.apply_policy``."""
    weights: FloatArray
    """[N, F] of all films."""
    multiclass: tuple[int, ...]
    """Places among the F whose uncertain cells are a class of their own."""
    draws: Draws | None
    """How films are drawn; None for each once an epoch."""
    pseudo: BoolArray | None = None
    """[N, F] which cells are pseudo-labels; None without a table of them."""

    @staticmethod
    def of(
        films: Films, subsets: Subsets, options: FinetuneOptions, table: PseudoLabels | None = None
    ) -> TrainingSet:
        """Apply the policies, join the pseudo-labels and keep what can be learnt.

        Raises:
            DataError: No film has a label that counts, or pseudo-labels are not of these training
                films.
            OptionError: Pseudo-labels are of a finding whose uncertain cells are a class of their
                own.
        """
        targets, weights = training_labels(films, options.labels)
        rows = labelled_rows(
            subsets.needed("train", options.fraction, options.subset_seed), weights
        )
        labelled, pseudo = len(rows), None
        if table is not None:
            aims, counts = table.on(films, films.findings, subsets)
            refuse_third_class(films, options.labels, counts)
            targets, weights, pseudo = with_pseudo_labels(targets, weights, rows, aims, counts)
            rows = np.union1d(rows, np.flatnonzero(pseudo.any(axis=1)))
        columns = learnt_columns(weights, rows)
        if len(columns) < len(
            films.findings
        ):  # else as they are: a copy of a million rows is large
            targets, weights = targets[:, columns], weights[:, columns]
        names = policies(films.findings, options.labels.uncertain, options.labels.per_finding)
        multiclass = tuple(
            place for place, column in enumerate(columns) if names[column] == MULTICLASS
        )
        draws = (
            weighted_draws(targets[rows], weights[rows]) if options.sampler == "weighted" else None
        )
        findings = tuple(films.findings[column] for column in columns)
        pseudo = None if pseudo is None else pseudo[:, columns]
        return TrainingSet(
            rows, labelled, findings, columns, targets, weights, multiclass, draws, pseudo
        )

    def learner(self, backbone: Backbone, size: int, options: FinetuneOptions) -> SupervisedLearner:
        """Return the learner with its loss and its untrained head."""
        counts = self.counts()
        weighed = class_weights(options.loss, counts)
        objective = Objective(len(self.findings), self.multiclass, options.loss, weighed)
        learner = SupervisedLearner(backbone, objective, FINETUNE, size, freeze=options.freeze)
        initialise_head(
            learner, counts if weighed is None else counts * weighed, options.train.seed
        )
        return learner

    def counts(self) -> torch.Tensor:
        """Return how many cells of each class an epoch is expected to show, [F, 3]."""
        weights = self.weights[self.rows]
        if self.draws is not None:
            weights = weights * self.draws.often[:, None].astype(np.float32)
        return class_counts(torch.from_numpy(self.targets[self.rows]), torch.from_numpy(weights))

    def order(self, seed: int) -> Order | None:
        """Return the order of an epoch's films; None for each once."""
        return None if self.draws is None else drawn(self.rows, self.draws.chances, seed)

    def tell_pseudo_labels(self, run: RunFolder, listener: Listener, digest: str) -> None:
        """Write down and say how many cells are pseudo-labels; ``digest`` is the SHA-256 of their table."""
        if self.pseudo is None or any(
            event.get("event") == "pseudo-labels" for event in run.events()
        ):
            return
        leaning = self.targets >= 0.5
        present, absent = (self.pseudo & leaning).sum(axis=0), (self.pseudo & ~leaning).sum(axis=0)
        cells = {
            name: {"present": int(p), "absent": int(a)}
            for name, p, a in zip(self.findings, present, absent, strict=True)
        }
        films = int(self.pseudo.any(axis=1).sum())
        run.log(event="pseudo-labels", step=0, films=films, findings=cells, sha256=digest)
        listener.note(
            f"learns from {int(present.sum())} present and {int(absent.sum())} absent pseudo-labels of {films} films, "
            f"{len(self.rows) - self.labelled} of them without a label of their own"
        )

    def tell_draws(self, run: RunFolder, listener: Listener) -> None:
        """Write down and say what the sampler does to the findings' prevalences."""
        draws = self.draws
        if draws is None or any(event.get("event") == "sampler" for event in run.events()):
            return
        before, after = draws.before.tolist(), draws.after.tolist()
        run.log(
            event="sampler",
            step=0,
            findings=list(self.findings),
            before=before,
            after=after,
            distinct=draws.distinct,
        )
        rarest = (
            int(np.nanargmin(np.where(draws.before > 0, draws.before, np.nan)))
            if (draws.before > 0).any()
            else 0
        )
        listener.note(
            f"draws films by weight: {self.findings[rarest]} from {before[rarest]:.2%} to {after[rarest]:.2%} of them; "
            f"{draws.distinct:.0%} of the films come in an epoch"
        )


def note_never_labelled(findings: Sequence[str], learnt: Sequence[str], listener: Listener) -> None:
    """Say which findings are left out because no training film has a label of them that counts."""
    never = [name for name in findings if name not in learnt]
    if never:
        listener.note(f"no training film has a label that counts for {', '.join(never)}: left out")


def initialise_head(learner: SupervisedLearner, counts: torch.Tensor, seed: int) -> None:
    """Start the output layer at each class's share of ``counts`` [F, 3], with weights that depend on the seed alone.

    A layer that starts at one half spends its first epoch on learning that findings are rare (Lin
    2017, arXiv 1708.02002, section 4.1).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        learner.head.weight.normal_(std=0.01, generator=generator)
        learner.head.bias.copy_(learner.objective.first_bias(counts))
