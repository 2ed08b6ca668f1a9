"""Targets and weights: what each label cell is trained on."""

from __future__ import annotations

import numpy as np

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.errors import DataError, OptionError
from hilum.images.films import Films
from hilum.labels import BLOCK, MULTICLASS, SELF_TRAIN, LabelOptions, apply_policy, policies


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


def learnt_columns(weights: FloatArray, rows: Rows | None = None) -> list[int]:
    """Return the findings, by number, that a label of these films counts for: of others none can learn.

    Args:
        weights: [N, F].
        rows: The training films among the N; all unless given.
    """
    counted = np.zeros(weights.shape[1], np.bool_)
    for start in range(0, len(weights) if rows is None else len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        counted |= weights[block if rows is None else rows[block]].any(axis=0)
        if counted.all():  # mostly after the first block
            break
    return np.flatnonzero(counted).tolist()
