"""The shortcut probes on a card, or the reason why a store cannot be tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import Listener
from hilum.workflows.card.model_features import Reader
from hilum.workflows.card.options import CardOptions
from hilum.workflows.card.shortcuts import shortcut_probes
from hilum.workflows.card.statistics import Column
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.data.targets import probe_labels

Scores = tuple[NDArray[np.floating], Sequence[str]]
"""A model's scores [n, M] of the films measured on, and its M findings."""


def shortcut_facts(
    subsets: Subsets,
    column: Column,
    reader: Reader | None,
    options: CardOptions,
    listener: Listener,
) -> dict[str, Any]:
    """Return the probes' results on a column's films, with those of a run.

    ``seen`` counts the tested films that the run was trained on; its scores are left out then.
    """
    films = Films([subsets.films.stores[store] for store in column.stores])
    subset = Subsets(films, tuple(subsets.splits[store] for store in column.stores))
    rows, tested = subset.rows("train"), subset.rows(options.split)
    scores, seen = None, 0
    if reader is not None:
        run = reader.of(column.rows)
        seen = int(run.seen[tested].sum())
        if not seen and not _why_not(subset, options.split):
            scores = run.scores(films, subset.of_others(rows, tested), tested, options.seed)
    result = probed(
        subset,
        column.name,
        options.split,
        options.min_positives,
        options.resamples,
        options.seed,
        scores,
        listener,
    )
    return {**result, "seen": seen}


def probed(
    subsets: Subsets,
    name: str,
    split: str,
    min_positives: int,
    resamples: int,
    seed: int,
    scores: Scores | None,
    listener: Listener,
) -> dict[str, Any]:
    """Return the probes' result as plain values under a name, or why there is none."""
    reason = _why_not(subsets, split)
    if reason:
        return {"name": name, "reason": reason}
    result = shortcut_probes(
        subsets.films, subsets, split=split, min_positives=min_positives, resamples=resamples, seed=seed,
        model_scores=scores, listener=listener,
    )  # fmt: skip
    return {"name": name, "reason": None, **result.to_json()}


def _why_not(subsets: Subsets, split: str) -> str | None:
    rows, tested = subsets.rows("train"), subsets.rows(split)
    if not len(rows) or not len(tested):
        return f"no film is in the {'train' if not len(rows) else split} split"
    counts = (
        probe_labels(subsets.films, LabelOptions())[1]
        if subsets.films.findings
        else np.empty((len(subsets.films), 0))
    )
    if not counts[subsets.of_others(rows, tested)].any():
        return "no training film of another patient has a label that counts"
    return None
