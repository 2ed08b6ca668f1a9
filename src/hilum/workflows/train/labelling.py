"""Pseudo-labels: what a trained model says of cells without a label, where it is sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pandas as pd

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.bundle.predictor import Predictor
from hilum.findings import positions
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.metrics.precision_thresholds import Cut, choose_cut, even_cut
from hilum.workflows.data.pseudo_label_table import COLUMNS, NAME, PseudoLabels
from hilum.workflows.data.subsets import truth_of
from hilum.workflows.train.labelling_options import PseudoOptions

Provenance = Literal["pseudo", "uncertain"]


def cuts_of(
    predictor: Predictor,
    films: Films,
    rows: Rows,
    unstated: str,
    options: PseudoOptions,
    listener: Listener = SILENT,
) -> dict[str, Cut]:
    """Return each finding's thresholds, chosen on these validation films, by the model's findings.

    Where no film is to be left out they are one half, and the validation films tell how right that
    is.

    Args:
        predictor: The teacher.
        films: Where to read from.
        rows: [n] of the validation films.
        unstated: What a finding that is not mentioned counts as, see ``hilum.labels.UNSTATED``.
        options: Wanted shares and certainty.
        listener: Hears progress.

    Uncertain cells are left out; a finding that the films do not have gets no threshold.
    """
    probabilities = _probabilities(predictor, films, rows, "thresholds", listener)
    truth, counts = truth_of(films, rows, unstated)
    patients, cuts = films.patient_codes[rows], {}
    for output, (name, column) in enumerate(
        zip(predictor.findings, positions(predictor.findings, films.findings), strict=True)
    ):
        cells = np.zeros(len(rows), np.bool_) if column is None else counts[:, column]
        right = np.zeros(len(rows), np.float32) if column is None else truth[:, column]
        cuts[name] = cut_of(right[cells], probabilities[cells, output], patients[cells], options)
    return cuts


def cut_of(
    truth: FloatArray, probabilities: FloatArray, patients: Rows, options: PseudoOptions
) -> Cut:
    """Return a finding's thresholds by validation films [n]."""
    if not options.abstain:
        return even_cut(truth, probabilities, patients, options.level)
    return choose_cut(
        truth,
        probabilities,
        patients,
        options.precision,
        options.absent_precision,
        options.level,
    )


def label_films(
    predictor: Predictor,
    films: Films,
    rows: Rows,
    candidates: BoolArray,
    cuts: Mapping[str, Cut],
    options: PseudoOptions,
    labelled: Mapping[str, tuple[float, float]] | None = None,
    provenance: Provenance = "pseudo",
    record: Mapping[str, Any] | None = None,
    listener: Listener = SILENT,
) -> PseudoLabels:
    """Return what a model says of cells without a label, where it is sure enough.

    Args:
        predictor: The teacher.
        films: Where to read from.
        rows: [n] of the films to label.
        candidates: [n, F] which cells of the model's F findings to label.
        cuts: Thresholds by finding, from ``cuts_of``.
        options: Soft or hard, abstaining or not, the cap, the weight.
        labelled: Present and absent cells by finding among the labelled training films, for the
            cap; None for no cap.
        provenance: One of PROVENANCES.
        record: More to write down, such as ``teacher`` and ``round``.
        listener: Hears progress.
    """
    scores = _probabilities(predictor, films, rows, "label", listener)
    tables = []
    for column, name in enumerate(predictor.findings):
        values, taken = called(scores[:, column], candidates[:, column], cuts[name])
        if options.abstain and options.cap and labelled is not None:
            taken = capped(scores[:, column], values, taken, *labelled[name], options.cap)
        chosen = np.flatnonzero(taken)
        probabilities = scores[chosen, column]
        hard = values[chosen].astype(np.float32)
        names = films.catalog[NAME].iloc[rows[chosen]].reset_index(drop=True)
        tables.append(
            names.assign(
                finding=name,
                value=probabilities if options.soft else hard,
                weight=options.weight,
                probability=probabilities,
                provenance=provenance,
            )
        )
    made = {
        "cuts": {name: cut.to_json() for name, cut in cuts.items()},
        "options": asdict(options),
    }
    return PseudoLabels(
        pd.concat(tables, ignore_index=True).astype(COLUMNS), {**made, **(record or {})}
    )


def called(
    probabilities: FloatArray, candidates: BoolArray, cut: Cut
) -> tuple[BoolArray, BoolArray]:
    """Return what films [n] are called, present or not, and which of the wanted ones are called at all."""
    exact = probabilities.astype(np.float64)  # thresholds lie between neighbouring float32 numbers
    present = np.zeros(len(exact), np.bool_) if cut.present is None else exact >= cut.present
    absent = (
        np.zeros(len(exact), np.bool_) if cut.absent is None else (exact <= cut.absent) & ~present
    )
    return present, (present | absent) & candidates


def capped(
    probabilities: FloatArray,
    present: BoolArray,
    taken: BoolArray,
    had: float,
    lacked: float,
    cap: float,
) -> BoolArray:
    """Return which of the taken cells [n] stay, so that they do not shift the ratio of the classes.

    Labels and pseudo-labels together then hold present to absent cells at most ``cap`` times, and
    at least one over ``cap`` times, as the labels alone do (``had`` to ``lacked``). Where these
    lack a class there is no bound. Those that stay are spread evenly over the probabilities, so
    that they are as right as was shown of all that are called; the surest would be the easiest,
    which teach least.
    """
    if not (had and lacked):
        return taken
    present_cells, absent_cells = (taken & present).sum(), (taken & ~present).sum()
    most_present = max(cap * had / lacked * (lacked + absent_cells) - had, 0)
    most_absent = max(cap * lacked / had * (had + present_cells) - lacked, 0)
    kept = np.zeros_like(taken)
    for cells, most in ((taken & present, most_present), (taken & ~present, most_absent)):
        indices = np.flatnonzero(cells)
        rising = indices[np.argsort(probabilities[indices], kind="stable")]
        count = min(int(most), len(indices))
        even = ((np.arange(count) + 0.5) * len(indices) / max(count, 1)).astype(np.int64)
        kept[rising[even]] = True
    return kept


def class_counts_of(
    targets: FloatArray, weights: FloatArray, findings: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return the cells of these films [n, F] that count as present and as absent, by finding; soft ones in parts.

    Uncertain as a class of its own is neither.
    """
    counting = (weights > 0) & (targets <= 1)
    present, absent = (targets * counting).sum(axis=0), ((1 - targets) * counting).sum(axis=0)
    return {
        name: (float(p), float(a)) for name, p, a in zip(findings, present, absent, strict=True)
    }


def _probabilities(
    predictor: Predictor, films: Films, rows: Rows, stage: str, listener: Listener
) -> FloatArray:
    """Return the probabilities [n, F], also of no film."""
    if len(rows) == 0:
        return np.empty((0, len(predictor.findings)), np.float32)
    return predictor.score_films(
        films, rows, lambda done, total: listener.progress(stage, done, total)
    )
