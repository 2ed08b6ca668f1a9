"""Label issues: labels that the nearest films of other patients contradict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hilum.arrays import BoolArray, FloatArray, Rows
from hilum.images.films import Films
from hilum.labels import Unstated, scored

COLUMNS = ("row", "source", "path", "finding", "label", "expected", "score")
NEIGHBOURS = 100
MEMORY = 50_000
"""Films that neighbours are searched among, at most."""
LEAST = 1e-6
"""Nats of surprise above which a label is listed: where all neighbours agree, rounding leaves 1e-8."""
_BLOCK = 512


def label_issues(
    films: Films,
    rows: Rows,
    features: NDArray[np.floating],
    neighbours: int = NEIGHBOURS,
    count: int = 200,
    unstated: Unstated = "absent",
    seed: int = 0,
) -> pd.DataFrame:
    """Return the labels that disagree most with those of similar films.

    Args:
        films: All films.
        rows: [n] of the films; neighbours are searched among them too.
        features: [n, E] of a network, or other vectors that are close for similar films.
        neighbours: How many films of other patients are compared.
        count: Rows of the list at most.
        unstated: How an unstated finding counts: as absent, or not at all.
        seed: Draws the films that neighbours are searched among, where there are more than MEMORY.

    Returns: COLUMNS, the highest score first: ``row`` among the films, ``label`` as the source
        states it (nan: not stated), ``expected`` the share of the neighbours that have the finding,
        ``score`` how much less likely they make the label than the neighbours of other films of
        that label do, in nats.

    Raises:
        ValueError: Features and rows differ in number, or a feature is not finite.
    """
    values = np.asarray(features, np.float32)
    if values.ndim != 2 or len(values) != len(rows) or not np.isfinite(values).all():
        raise ValueError(f"features are {values.shape}, expected finite ones of {len(rows)} films")
    truth, counts = scored(films.labels[rows], unstated, np.ones(len(films.findings), np.bool_))
    counts = counts & films.labelled_by_source[rows]
    expected = expected_labels(values, truth, counts, films.patient_codes[rows], neighbours, seed)
    scores = np.where(counts, _surprise(truth, expected, counts), -np.inf)
    index, finding = np.unravel_index(
        np.argsort(-scores, axis=None, kind="stable")[:count], scores.shape
    )
    listed = scores[index, finding] > LEAST
    index, finding = index[listed], finding[listed]
    known = films.catalog.iloc[rows[index]]
    return pd.DataFrame(
        {
            "row": rows[index],
            "source": known["source"].to_numpy(),
            "path": known["path"].to_numpy(),
            "finding": np.array(films.findings, dtype=object)[finding],
            "label": films.labels[rows[index], finding],
            "expected": expected[index, finding],
            "score": scores[index, finding],
        },
        columns=list(COLUMNS),
    )


def expected_labels(
    features: FloatArray,
    truth: FloatArray,
    counts: BoolArray,
    patients: NDArray[np.int64],
    neighbours: int,
    seed: int = 0,
) -> FloatArray:
    """Return the share of each film's neighbours of other patients that have each finding, [n, F].

    Smoothed by two more neighbours with the mean prevalence, so that few neighbours do not dominate.

    Args:
        features: [n, E].
        truth: [n, F], 1 present and 0 absent.
        counts: [n, F] bool, which cells count.
        patients: [n].
        neighbours: How many.
        seed: Draws the memory.
    """
    memory = np.arange(len(features))
    if len(memory) > MEMORY:
        memory = np.sort(np.random.default_rng(seed).choice(memory, MEMORY, replace=False))
    whose = torch.from_numpy(patients[memory])
    keys = F.normalize(torch.from_numpy(features[memory]), dim=1)
    labels = torch.from_numpy(truth[memory])
    weights = torch.from_numpy(counts[memory].astype(np.float32))
    prior = (labels * weights).sum(0) / weights.sum(0).clamp(min=1)  # [F]
    asked, people = torch.from_numpy(features), torch.from_numpy(patients)
    blocks = zip(torch.split(asked, _BLOCK), torch.split(people, _BLOCK), strict=True)
    expected = []
    for block, who in blocks:
        cosine = (F.normalize(block, dim=1) @ keys.T).masked_fill(who[:, None] == whose, -torch.inf)
        near, nearest = cosine.topk(min(neighbours, len(memory)), dim=1)  # [b, k]
        speaks = weights[nearest] * near.isfinite()[:, :, None]  # [b, k, F]
        expected.append(((speaks * labels[nearest]).sum(1) + 2 * prior) / (speaks.sum(1) + 2))
    return np.asarray(torch.cat(expected).numpy(), np.float32)


def _surprise(truth: FloatArray, expected: FloatArray, counts: BoolArray) -> FloatArray:
    """Return how much less likely the neighbours make a label than for its films at large, in nats.

    Against the mean of the label's own films, as in confident learning (Northcutt 2021, arXiv
    1911.00068): neighbours rarely have a rare finding, so that without it every film that has one
    would be listed. Cells that do not count: any number.
    """
    likely = np.log(
        np.clip(np.where(truth == 1, expected, 1 - expected), 1e-6, 1).astype(np.float64)
    )
    surprise = -likely
    for label in (0, 1):
        cells = counts & (truth == label)
        surprise += np.where(
            cells, (likely * cells).sum(axis=0) / np.maximum(cells.sum(axis=0), 1), 0
        )
    return np.asarray(surprise, np.float32)
