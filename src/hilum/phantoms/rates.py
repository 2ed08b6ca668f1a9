"""How often findings occur, alone and together, and how often a report states them: CheXpert's counts, or even ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from statistics import NormalDist
from typing import Any

import numpy as np

from hilum.findings import CHEXPERT

PATHOLOGIES = CHEXPERT[1:]
"""All but No Finding. Support Devices, the last, is none either, yet it is drawn and stated like
the others."""

BEDSIDE, ERECT = 0, 1
"""Kinds of study: AP at the bedside; PA, mostly with a lateral."""


@dataclass(frozen=True)
class Rates:
    """Probabilities by kind of study (K = 2) and pathology (D = 13, in the order of PATHOLOGIES).

    A Gaussian copula: pathology d is stated present where a normal variable exceeds ``thresholds[k,
    d]``; the variables are ``mixing @ independent normals``. It applies to studies that are not "No
    Finding".
    """

    no_finding: np.ndarray
    """[K] share of studies stated as No Finding."""
    devices_alone: np.ndarray
    """[K] share of those that have support devices."""
    thresholds: np.ndarray
    """[K, D]"""
    mixing: np.ndarray
    """[D, D] lower triangular, rows of length 1."""
    uncertain: np.ndarray
    """[D] share uncertain among cells not stated present, in studies that are not No Finding."""
    absent: np.ndarray
    """[D] share stated absent among cells neither present nor uncertain; the rest is not stated."""


@lru_cache
def counts() -> dict[str, Any]:
    """Return the counts taken from CheXpert's train.csv."""
    text = files("hilum.phantoms").joinpath("chexpert_counts.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@lru_cache
def rates(prevalence: str) -> Rates:
    """Return the probabilities for a name of ``options.PREVALENCES``."""
    if prevalence == "chexpert":
        return _chexpert_rates()
    return (
        _even_rates(present=0.27, uncertain=0.06)
        if prevalence == "even"
        else _even_rates(0.125, 0.57)
    )


def _even_rates(present: float, uncertain: float) -> Rates:
    """Return the same probabilities for each finding; ``uncertain`` is a share of the cells not stated present."""
    thresholds = _thresholds(np.full((2, len(PATHOLOGIES)), present))
    return Rates(
        no_finding=np.full(2, 0.2),
        devices_alone=np.full(2, 0.27),
        thresholds=thresholds,
        mixing=np.eye(len(PATHOLOGIES)),
        uncertain=np.full(len(PATHOLOGIES), uncertain),
        absent=np.full(len(PATHOLOGIES), 0.5),
    )


def _chexpert_rates() -> Rates:
    table = counts()
    films = np.array([_by_kind(table, "films")]).ravel()  # [K]
    clear = _by_kind(table, "No Finding")  # [K]
    present = np.stack([_by_kind(table, name) for name in PATHOLOGIES], axis=1)  # [K, D]
    together = np.array(table["present_together"], float)  # [14, 14]
    devices = present[:, -1] / films  # [K]
    devices_alone = devices * together[0, -1] / (devices * clear).sum()
    present[:, -1] -= devices_alone * clear
    rest = films - clear  # [K] films that are not No Finding
    thresholds = _thresholds(present / rest[:, None])
    correlation = _fit_correlation(thresholds, rest / rest.sum(), together[1:, 1:] / rest.sum())
    stated = {
        key: np.array([table[key][name] for name in PATHOLOGIES], float)
        for key in ("absent", "uncertain")
    }
    other = rest.sum() - present.sum(axis=0)  # [D]
    unsaid = (
        films.sum()
        - np.array([table["present"][name] for name in PATHOLOGIES])
        - stated["uncertain"]
    )
    return Rates(
        no_finding=clear / films,
        devices_alone=devices_alone,
        thresholds=thresholds,
        mixing=_mixing(correlation),
        uncertain=stated["uncertain"] / other,
        absent=stated["absent"] / unsaid,
    )


def _by_kind(table: dict[str, Any], name: str) -> np.ndarray:
    """Return a count for bedside and erect studies, [K]. Laterals go with PA films: they share their studies."""
    projection = table["present_by_projection"]
    return np.array(
        [projection["AP"][name], projection["PA"][name] + projection["lateral"][name]], float
    )


def _thresholds(present: np.ndarray) -> np.ndarray:
    """Return where a normal variable is exceeded with the given probability, elementwise."""
    return np.asarray(np.vectorize(lambda share: -NormalDist().inv_cdf(share))(present), float)


def _fit_correlation(
    thresholds: np.ndarray, weights: np.ndarray, together: np.ndarray
) -> np.ndarray:
    """Return the copula's correlations that give each pair its share of films, [D, D].

    P(X > a, Y > b) increases with the correlation r by the bivariate normal density at (a, b) (Plackett
    1954); it is summed from r = 0 and read where it meets the wanted share. Kinds are mixed by
    their weights.
    """
    first, second = np.triu_indices(thresholds.shape[1], 1)
    grid = np.linspace(-0.95, 0.95, 381)
    a, b = thresholds[:, first, None], thresholds[:, second, None]  # [K, pairs, 1]
    rest = 1 - grid**2
    density = np.exp(-(a**2 - 2 * a * b * grid + b**2) / (2 * rest)) / (2 * np.pi * np.sqrt(rest))
    rise = np.concatenate(
        [np.zeros_like(a), np.cumsum((density[..., 1:] + density[..., :-1]) / 2, -1)], -1
    )
    rise = (rise - rise[..., [len(grid) // 2]]) * (grid[1] - grid[0])
    alone = np.vectorize(lambda value: 1 - NormalDist().cdf(value))(thresholds)  # [K, D]
    joint = np.einsum(
        "k,kpr->pr", weights, rise + (alone[:, first] * alone[:, second])[..., None]
    )  # [pairs, grid]
    correlation = np.eye(thresholds.shape[1])
    fitted = [
        np.interp(together[i, j], joint[pair], grid)
        for pair, (i, j) in enumerate(zip(first, second, strict=True))
    ]
    correlation[first, second] = correlation[second, first] = fitted
    return correlation


def _mixing(correlation: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of the nearest correlation matrix that has one (eigenvalues cut off from below)."""
    values, vectors = np.linalg.eigh(correlation)
    mended = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(mended))
    return np.asarray(np.linalg.cholesky(mended / np.outer(scale, scale)))
