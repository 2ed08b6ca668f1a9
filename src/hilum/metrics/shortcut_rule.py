"""Rule that flags a finding as predictable from a shortcut."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hilum.arrays import DoubleArray
from hilum.metrics.delong import auroc_covariance
from hilum.metrics.intervals import difference_p
from hilum.metrics.results import SHOWN_BELOW

LEAST = 0.6
"""AUROC below which a blind probe is ignored."""
SHARE = 0.7
"""Fraction of the best whole-film reader's AUROC above chance that a blind probe must reach."""

RULE = (
    "A finding is flagged where a probe that sees no chest (the border, or the table) has an AUROC of at least "
    f"{LEAST:g} that is shown to be above chance (p < {SHOWN_BELOW:g} by Holm over all such probes and findings), and "
    f"holds at least {SHARE:.0%} of what the best reader of the whole film knows above chance."
)
"""The rule in words."""


def chance_p(truth: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> float:
    """Return the p value of an AUROC that differs from 0.5, by clustered DeLong (two-sided).

    Scores that are never wrong, or always, have no error: 0 for them, and 1 for scores that are all
    the same.

    Args:
        truth: [N], 1 present and 0 absent.
        scores: [N].
        patients: [N], who each film shows, at least two of each class.
    """
    values: DoubleArray = np.asarray(scores, np.float64)
    area = auroc_covariance(truth, [values], patients)
    error = math.sqrt(max(float(area.covariance[0, 0]), 0.0))
    p = difference_p(float(area.auroc[0]) - 0.5, error, area.patients)
    return 0.0 if p is None else p


def share_of_knowledge(auroc: float, reference: float) -> float:
    """Return what is known above chance as a share of what the reference knows; infinite where that is nothing.

    >>> round(share_of_knowledge(0.8, 0.9), 2)
    0.75
    """
    return (auroc - 0.5) / (reference - 0.5) if reference > 0.5 else math.inf


def tells_too_much(auroc: float, p_holm: float, reference: float) -> bool:
    """Return whether a blind probe breaks RULE.

    Args:
        auroc: The probe's.
        p_holm: Of ``chance_p``, adjusted for all blind probes and findings.
        reference: The AUROC of the best reader of the whole film.

    >>> tells_too_much(0.8, 0.001, 0.85), tells_too_much(0.8, 0.001, 0.95), tells_too_much(0.8, 0.2, 0.85)
    (True, False, False)
    """
    return auroc >= LEAST and p_holm < SHOWN_BELOW and share_of_knowledge(auroc, reference) >= SHARE
