"""Targets and weights: what each label cell is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.catalog import PRESENT
from hilum.errors import DataError, OptionError
from hilum.images.films import Films
from hilum.labels import BLOCK, MULTICLASS, SELF_TRAIN, LabelOptions, apply_policy, policies

LEFT_OUT = ": left out"
"""How a line ends that says which findings get no output."""


def training_labels(films: Films, options: LabelOptions) -> tuple[FloatArray, FloatArray]:
    """Return targets and weights [N, F] of all films; findings that a film's source never states weigh nothing."""
    if not films.findings:
        raise DataError(
            "the data has no labels to learn from: prepare it from a source with findings."
        )
    names = policies(films.findings, options.uncertain, options.per_finding)
    everything = np.ones(len(films.findings), np.bool_)
    targets, weights = apply_policy(
        films.labels, names, options.unstated, everything, options.smooth
    )
    if not films.labelled_by_source.all():
        weights *= films.labelled_by_source
    return targets, weights


def probe_labels(films: Films, options: LabelOptions) -> tuple[FloatArray, FloatArray]:
    """Return ``training_labels`` for a probe, whose targets lie between 0 and 1.

    Raises:
        OptionError: A policy makes uncertain a class of its own, or asks for a first model.
    """
    for name in policies(films.findings, options.uncertain, options.per_finding):
        if name in (MULTICLASS, SELF_TRAIN):
            raise OptionError(
                f"a probe is one layer of one output a finding and has no policy {name}: "
                "choose zeros, ones, ignore or smooth."
            )
    return training_labels(films, options)


def with_pseudo_labels(
    targets: FloatArray, weights: FloatArray, labelled: Rows, aims: FloatArray, counts: FloatArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return targets and weights with pseudo-labels where no label is used, and which cells these are, all [N, F].

    Args:
        targets: [N, F] of the films' own labels.
        weights: [N, F] of the films' own labels.
        labelled: Rows of which the own labels are used; those of the others lose their weight.
        aims: [N, F] of the pseudo-labels.
        counts: [N, F] their weights, 0 for none.
    """
    used = np.zeros_like(weights)
    used[labelled] = weights[labelled]
    pseudo = np.asarray((used == 0) & (counts > 0))
    return np.where(pseudo, aims, targets), np.where(pseudo, counts, used), pseudo


def refuse_third_class(films: Films, options: LabelOptions, counts: FloatArray) -> None:
    """Raise an OptionError if a finding with pseudo-labels (weights [N, F]) has uncertain as a class of its own."""
    names = policies(films.findings, options.uncertain, options.per_finding)
    for finding, name, weight in zip(films.findings, names, counts.T, strict=True):
        if name == MULTICLASS and weight.any():
            raise OptionError(
                f"{finding} has pseudo-labels and the policy multiclass, whose third class they do not know: "
                "choose another policy."
            )


def labelled_rows(rows: Rows, weights: FloatArray) -> Rows:
    """Return the rows with at least one label that counts.

    Raises:
        DataError: There is none.
    """
    kept = rows[np.asarray(weights.any(axis=1))[rows]]
    if len(kept) == 0:
        raise DataError(
            f"none of the {len(rows)} training films has a label that counts: check --labels and --fraction."
        )
    return kept


@dataclass(frozen=True)
class LabelKinds:
    """Which kinds of label that count the training films have, bool [F] each."""

    counted: BoolArray
    present: BoolArray
    """Some target lies above one half."""
    absent: BoolArray
    """Some target lies below one half. An uncertain cell of a class of its own is neither."""

    @property
    def learnt(self) -> list[int]:
        """The findings, by number, with both kinds: of one kind alone nothing can be learnt.

        An output for them would give every film the same score.

        Raises:
            DataError: There is none.
        """
        columns = np.flatnonzero(self.present & self.absent).tolist()
        if not columns:
            raise DataError(
                "no finding has training films with it and without it among the labels that count: "
                "check --labels and --fraction."
            )
        return columns

    def left_out(self, findings: Sequence[str]) -> list[str]:
        """Return a line for each reason why findings, F names, are left out; none where all are learnt."""
        one_kind = self.counted & ~(self.present & self.absent)
        reasons = {
            "no training film has a label that counts for {}": ~self.counted,
            "every training label that counts says present for {}": one_kind & self.present,
            "every training label that counts says absent for {}": one_kind & self.absent,
            "every training label that counts says uncertain for {}": one_kind
            & ~self.present
            & ~self.absent,
        }
        return [
            line.format(", ".join(findings[column] for column in map(int, np.flatnonzero(columns))))
            + LEFT_OUT
            for line, columns in reasons.items()
            if columns.any()
        ]


def label_kinds(targets: FloatArray, weights: FloatArray, rows: Rows | None = None) -> LabelKinds:
    """Return which kinds of label count in these films.

    Args:
        targets: [N, F], after the policies; with ``multiclass`` also UNCERTAIN_CLASS.
        weights: [N, F].
        rows: The training films among the N; all unless given.
    """
    kinds = LabelKinds(*(np.zeros(weights.shape[1], np.bool_) for _ in range(3)))
    for start in range(0, len(weights) if rows is None else len(rows), BLOCK):
        chosen = slice(start, start + BLOCK) if rows is None else rows[start : start + BLOCK]
        target, counts = targets[chosen], weights[chosen] > 0
        np.logical_or(kinds.counted, counts.any(axis=0), out=kinds.counted)
        present = counts & (target > 0.5) & (target <= PRESENT)
        np.logical_or(kinds.present, present.any(axis=0), out=kinds.present)
        np.logical_or(kinds.absent, (counts & (target < 0.5)).any(axis=0), out=kinds.absent)
        if (kinds.present & kinds.absent).all():  # mostly after the first block
            break
    return kinds
