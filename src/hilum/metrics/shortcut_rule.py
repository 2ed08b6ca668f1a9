"""When a finding counts as told by what is not the finding."""

from __future__ import annotations

from hilum.metrics.results import Estimate

LEAST = 0.6
"""AUROC that the whole interval of a blind probe must lie above: what it knows is then sure, and no trifle."""
SHARE = 2 / 3
"""Of what the best reader of the whole film knows above chance, the part that a blind probe must hold."""

RULE = (
    "A finding is flagged where a probe that sees no chest (the border, or the table) has an AUROC whose interval lies "
    f"above {LEAST:g}, and holds at least two thirds of what the best reader of the whole film knows above chance."
)
"""The rule in words."""


def share_of_knowledge(auroc: float, reference: float) -> float:
    """Return what is known above chance as a share of what the reference knows; infinite where that is nothing.

    >>> round(share_of_knowledge(0.8, 0.9), 2)
    0.75
    """
    return (auroc - 0.5) / (reference - 0.5) if reference > 0.5 else float("inf")


def tells_too_much(blind: Estimate, reference: float) -> bool:
    """Return whether a blind probe's AUROC breaks RULE.

    Args:
        blind: The probe's AUROC.
        reference: The AUROC of the best reader of the whole film.

    >>> from hilum.metrics.intervals import Interval
    >>> tells_too_much(Estimate(0.8, Interval(0.75, 0.85)), 0.9)
    True
    """
    if blind.value is None or blind.interval is None:
        return False
    return blind.interval.low > LEAST and share_of_knowledge(blind.value, reference) >= SHARE
