"""What an uncertain or unstated label becomes, in training and in evaluation.

Labels are float32 [N, F]: 1 present, 0 absent, -1 uncertain, NaN not stated. They stay so on disk;
what is done about the last two is decided here, at training time, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hilum.arrays import BoolArray, FloatArray
from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.errors import OptionError, choose, did_you_mean
from hilum.findings import positions

Unstated = Literal["absent", "ignore"]
Policy = Callable[[FloatArray, float], tuple[FloatArray, FloatArray]]
"""Takes one finding's labels [N] and ``LabelOptions.smooth``; returns targets and weights [N], of
which only the uncertain cells are used."""
UNCERTAIN_CLASS = 2
"""Target of an uncertain cell where uncertain is a class of its own, beside 0 absent and 1
present."""

BLOCK = 1 << 12
"""Rows worked on at a time, so that what comes between lies in the processor's cache."""

UNSTATED: dict[str, str] = {
    "absent": "a finding that the report does not mention is taken as absent (the published practice)",
    "ignore": "a finding that the report does not mention has no weight",
}


def zeros(labels: FloatArray, _: float) -> tuple[FloatArray, FloatArray]:
    """Take uncertain as absent (U-Zeros of Irvin 2019, arXiv 1901.07031)."""
    return np.full_like(labels, ABSENT), np.ones_like(labels)


def ones(labels: FloatArray, _: float) -> tuple[FloatArray, FloatArray]:
    """Take uncertain as present (U-Ones of Irvin 2019)."""
    return np.full_like(labels, PRESENT), np.ones_like(labels)


def ignore(labels: FloatArray, _: float) -> tuple[FloatArray, FloatArray]:
    """Give uncertain cells no weight (U-Ignore of Irvin 2019)."""
    return np.full_like(labels, ABSENT), np.zeros_like(labels)


def smooth(labels: FloatArray, value: float) -> tuple[FloatArray, FloatArray]:
    """Take uncertain as present to a degree (label smoothing of Pham 2019, arXiv 1911.06475).

    Pham draws the degree from a range, 0.55 to 0.85 or 0 to 0.3. The cross-entropy is linear in its
    target, so such a draw costs in the mean what the middle of the range costs, 0.7 or 0.15, and
    adds noise: the middle is taken.
    """
    return np.full_like(labels, value), np.ones_like(labels)


def multiclass(labels: FloatArray, _: float) -> tuple[FloatArray, FloatArray]:
    """Take uncertain as a class of its own, beside absent and present (U-MultiClass of Irvin 2019)."""
    return np.full_like(labels, UNCERTAIN_CLASS), np.ones_like(labels)


def self_train(labels: FloatArray, value: float) -> tuple[FloatArray, FloatArray]:
    """Give uncertain cells no weight, until a model that was trained so has labelled them (U-SelfTrained, Irvin 2019).

    The fine-tuning makes that model and takes its labels of those cells where it is sure; Irvin
    takes the probability of every one.
    """
    return ignore(labels, value)


POLICIES: dict[str, Policy] = {
    "zeros": zeros,
    "ones": ones,
    "ignore": ignore,
    "smooth": smooth,
    "multiclass": multiclass,
    "self-train": self_train,
}
"""What an uncertain label becomes in training, by name."""
MULTICLASS, SELF_TRAIN = "multiclass", "self-train"


@dataclass(frozen=True)
class LabelOptions:
    """What uncertain and unstated labels become."""

    uncertain: str = "ignore"
    """Policy for uncertain labels in training: zeros, ones, ignore, smooth (a soft target),
    multiclass (a class of its own, scored present against absent) or self-train (pseudo-labels of a
    first model that was trained without them). Evaluation never scores one."""
    unstated: Unstated = "absent"
    """Target of a finding that is not mentioned, in training and evaluation: absent or ignore."""
    per_finding: dict[str, str] = field(default_factory=dict)
    """Another policy for single findings, as in ``--labels.per-finding.Edema ones``."""
    smooth: float = 0.7
    """Soft target of an uncertain label under smooth, from 0 (absent) to 1 (present)."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: The degree lies outside 0 to 1.
        """
        if not 0 <= self.smooth <= 1:
            raise OptionError(f"--labels.smooth is {self.smooth}: allowed is 0 to 1, such as 0.7.")


def labelled(labels: FloatArray) -> BoolArray:
    """Return for labels [N, F] of one whole source which findings [F] it states at all."""
    return np.asarray((~np.isnan(labels)).any(axis=0))


def policies(
    findings: Sequence[str], uncertain: str, per_finding: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the policy's name for each finding.

    Raises:
        OptionError: A policy or a finding that does not exist; the line names it and the nearest.

    >>> policies(("Edema", "Hernia"), "zeros", {"edema": "ones"})
    ('ones', 'zeros')
    """
    choose(uncertain, POLICIES, "policy for uncertain labels")
    names = [uncertain] * len(findings)
    for finding, policy in (per_finding or {}).items():
        choose(policy, POLICIES, f"policy for {finding!r}")
        (place,) = positions([finding], findings)
        if place is None:
            allowed = ", ".join(findings)
            raise OptionError(
                f"per-finding policy for unknown finding {finding!r}: allowed are {allowed}."
                f"{did_you_mean(finding, findings)}"
            )
        names[place] = policy
    return tuple(names)


def apply_policy(
    labels: FloatArray,
    uncertain: str | Sequence[str] = "ignore",
    unstated: str = "absent",
    stated: BoolArray | None = None,
    smooth: float = LabelOptions.smooth,
) -> tuple[FloatArray, FloatArray]:
    """Return what training aims at and how much each cell counts.

    Args:
        labels: [N, F], 1 present, 0 absent, -1 uncertain, NaN not stated; of one source.
        uncertain: A policy's name for all findings, or one for each of the F findings (see
            ``policies``).
        unstated: One of UNSTATED.
        stated: [F] bool, the findings that the source labels at all (``labelled`` of all its
            films); None takes it from ``labels``. Pass it when ``labels`` are a share of the films.
            The others get no weight.
        smooth: What the policy of that name takes an uncertain cell as.

    Returns: Targets and weights, float32 [N, F]; targets hold no NaN and lie between 0 and 1, but
        for the uncertain cells of a finding under ``multiclass``, which are UNCERTAIN_CLASS.

    Raises:
        OptionError: An unknown policy or value of ``unstated``.
        ValueError: Labels that are not [N, F] or hold other values, or not one policy a finding.

    >>> apply_policy(np.float32([[1, -1], [np.nan, 0]]), ("zeros", "ones"))[0].tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    labels = _checked(labels)
    choose(unstated, UNSTATED, "value of unstated")
    names = [uncertain] * labels.shape[1] if isinstance(uncertain, str) else list(uncertain)
    chosen = {
        name: choose(name, POLICIES, "policy for uncertain labels")
        for name, _ in zip(names, labels.T, strict=True)
    }
    columns_of = {name: np.array([name == other for other in names]) for name in chosen}
    targets, weights = np.empty_like(labels), np.ones_like(labels)
    for start in range(0, len(labels), BLOCK):
        block, target, weight = (
            table[start : start + BLOCK] for table in (labels, targets, weights)
        )
        np.fmax(block, ABSENT, out=target)  # of a number and NaN the number: not stated is absent
        if unstated == "ignore":
            weight[np.isnan(block)] = 0
        rows, columns = np.nonzero(block == UNCERTAIN)
        for name, policy in chosen.items():
            of_policy = columns_of[name][columns]
            cells = rows[of_policy], columns[of_policy]
            target[cells], weight[cells] = policy(block[cells], smooth)
    unlabelled = ~(labelled(labels) if stated is None else stated)
    if unlabelled.any():
        weights[:, unlabelled] = 0
    return targets, weights


def scored(
    labels: FloatArray, unstated: str = "absent", stated: BoolArray | None = None
) -> tuple[FloatArray, BoolArray]:
    """Return what evaluation compares with: the truth (0 or 1) and which cells count, both [N, F].

    Uncertain cells never count; those not stated count as absent or not at all; a finding that the
    source never states (``stated`` [F], else taken from ``labels``) does not count.

    Raises:
        OptionError: ``unstated`` is neither absent nor ignore.
    """
    choose(unstated, UNSTATED, "value of unstated")
    labels = _checked(labels)
    missing = np.isnan(labels)
    counts = (labels != UNCERTAIN) & ~(missing & (unstated == "ignore"))
    counts &= labelled(labels) if stated is None else stated
    return np.where(labels == PRESENT, np.float32(1), np.float32(0)), counts


def _checked(labels: FloatArray) -> FloatArray:
    labels = np.asarray(labels, np.float32)
    if labels.ndim != 2:
        raise ValueError(f"labels must be [N, F], got {labels.shape}")
    for start in range(0, len(labels), BLOCK):
        block = labels[start : start + BLOCK]
        known = [block == PRESENT, block == ABSENT, block == UNCERTAIN, np.isnan(block)]
        if sum(map(np.count_nonzero, known)) < block.size:
            strange = block[~np.logical_or.reduce(known)]
            raise ValueError(f"labels must be 1, 0, -1 or NaN, got {strange[0]}")
    return labels
