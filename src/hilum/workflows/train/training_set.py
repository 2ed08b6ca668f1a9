"""The training set of a classifier: labelled images, their targets and weights, and the sampling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from hilum.arrays import BoolArray, Rows
from hilum.classifier.objective import class_counts
from hilum.classifier.sampler import Draws, drawn, weighted_draws
from hilum.errors import DataError
from hilum.images.films import Films
from hilum.labels import BLOCK, MULTICLASS, policies
from hilum.training.batches import Labels, Order, shuffled
from hilum.workflows.data.pseudo_label_table import PseudoLabels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import (
    label_kinds,
    labelled_rows,
    refuse_third_class,
    training_labels,
    with_pseudo_labels,
)
from hilum.workflows.train.options import FinetuneOptions


@dataclass(frozen=True)
class TrainingSet:
    """The training films that have a label or pseudo-label, for the F findings that these cover."""

    rows: Rows
    """[n] row numbers of the films to train on."""
    labelled: int
    """How many of them have a label that is used; the others have pseudo-labels only."""
    findings: tuple[str, ...]
    """The F findings that labels that count say present and absent."""
    columns: list[int]
    """Their columns among the findings of the films."""
    labels: Labels
    """Targets and weights [N, F] of all films, see ``hilum.labels.apply_policy``."""
    multiclass: tuple[int, ...]
    """Which of the F have uncertain cells as a class of their own."""
    left_out: list[str]
    """A line for each reason why findings are left out."""
    sampling: Draws | None
    """How films are drawn with replacement; None for each once an epoch."""
    pseudo: BoolArray | None = None
    """[N, F] which cells are pseudo-labels; None without a table of them."""
    unlabelled: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    """Row numbers of the films that teach by soft targets."""

    @staticmethod
    def of(
        films: Films, subsets: Subsets, options: FinetuneOptions, table: PseudoLabels | None = None
    ) -> TrainingSet:
        """Apply the label policies, add the pseudo-labels and keep the findings that can be learnt.

        Raises:
            DataError: No film has a label that counts, no finding has both kinds, or pseudo-labels
                are not of these training films.
            OptionError: Pseudo-labels are of a finding whose uncertain cells are a class of their
                own.
        """
        targets, weights = training_labels(films, options.labels)
        candidates = subsets.needed("train", options.fraction, options.subset_seed)
        rows = labelled_rows(candidates, weights)
        labelled, pseudo = len(rows), None
        if table is not None:
            pseudo_targets, pseudo_weights = table.on(films, films.findings, subsets)
            refuse_third_class(films, options.labels, pseudo_weights)
            targets, weights, pseudo = with_pseudo_labels(
                targets, weights, rows, pseudo_targets, pseudo_weights
            )
            rows = np.union1d(rows, np.flatnonzero(pseudo.any(axis=1)))
        kinds = label_kinds(targets, weights, rows)
        columns = kinds.learnt
        if len(columns) < len(
            films.findings
        ):  # else as they are: a copy of a million rows is large
            targets, weights = targets[:, columns], weights[:, columns]
            pseudo = None if pseudo is None else pseudo[:, columns]
            rows = rows[weights[rows].any(axis=1)]  # some had labels of the other findings only
            own = weights[rows] > 0 if pseudo is None else (weights[rows] > 0) & ~pseudo[rows]
            labelled = int(own.any(axis=1).sum())
        names = policies(films.findings, options.labels.uncertain, options.labels.per_finding)
        weighted = options.sampler == "weighted"
        return TrainingSet(
            rows=rows,
            labelled=labelled,
            findings=tuple(films.findings[column] for column in columns),
            columns=columns,
            labels=Labels(targets, weights),
            multiclass=tuple(i for i, column in enumerate(columns) if names[column] == MULTICLASS),
            left_out=kinds.left_out(films.findings),
            sampling=weighted_draws(targets[rows], weights[rows]) if weighted else None,
            pseudo=pseudo,
            unlabelled=soft_rows(films, subsets, options, rows),
        )

    def only(self, rows: Rows) -> TrainingSet:
        """Return the part of it that has these rows, for the same findings."""
        weights = self.labels.weights[rows]
        own = weights > 0 if self.pseudo is None else (weights > 0) & ~self.pseudo[rows]
        drawn_by_weight = self.sampling is not None
        return replace(
            self,
            rows=rows,
            labelled=int(own.any(axis=1).sum()),
            sampling=weighted_draws(self.labels.targets[rows], weights)
            if drawn_by_weight
            else None,
        )

    def class_counts(self) -> torch.Tensor:
        """Return how many cells of each class an epoch is expected to show, [F, 3]."""
        counts = torch.zeros(len(self.findings), 3, dtype=torch.float64)
        for start in range(0, len(self.rows), BLOCK):  # no copy of a million rows
            rows = self.rows[start : start + BLOCK]
            targets, weights = self.labels.targets[rows], self.labels.weights[rows]
            if self.sampling is not None:
                weights *= self.sampling.often[start : start + BLOCK, None].astype(np.float32)
            counts += class_counts(torch.from_numpy(targets), torch.from_numpy(weights))
        return counts.float()

    def order(self, seed: int) -> Order:
        """Return the order of an epoch's films."""
        if self.sampling is None:
            return shuffled(self.rows, seed)
        return drawn(self.rows, self.sampling.chances, seed)


def soft_rows(films: Films, subsets: Subsets, options: FinetuneOptions, labelled: Rows) -> Rows:
    """Return the training films that teach by soft targets: those of the stores named, less those with labels.

    Raises:
        DataError: There is none.
    """
    if not options.soft:
        return np.empty(0, np.int64)
    named = {path.resolve() for path in options.unlabelled}
    training = subsets.rows("train")
    origins = np.searchsorted(films.starts, training, side="right") - 1
    chosen = [i for i, store in enumerate(films.stores) if store.folder.resolve() in named]
    rows = np.setdiff1d(training[np.isin(origins, chosen)], labelled)
    if len(rows) == 0:
        raise DataError(
            f"--unlabelled is {options.unlabelled[0]}, which has no training film without a label that is used: "
            "give a smaller --fraction, or another store."
        )
    return rows
