"""Which models of a study can be grown by pseudo-labels, and at which shares; light to import, the help reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.errors import OptionError, choose
from hilum.labels import MULTICLASS

if TYPE_CHECKING:
    from hilum.workflows.study_options import StudyPlan


def growing_fractions(plan: StudyPlan, start: str) -> tuple[float, ...]:
    """Return the shares of a model's labels that leave films to label: a further store leaves some of any."""
    further = len(plan.options.data) > 1
    return tuple(share for share in plan.fractions_of(start) if share < 1 or further)


def refuse_impossible_growth(plan: StudyPlan) -> None:
    """Check the models that are grown.

    Raises:
        OptionError: One grows an unknown model, or one that is grown itself, or asks for shares or seeds that its start
            lacks, or uncertain labels are a class of their own.
    """
    whole = {name: name for name, model in plan.models.items() if model.grow is None}
    for name, model in plan.models.items():
        if model.grow is not None:
            choose(model.grow, whole, f"model of models.{name}.grow")
            _refuse_policy(plan, name)
            _refuse_seeds(plan, name, model.grow)
            _refuse_fractions(plan, name, model.grow)


def _refuse_policy(plan: StudyPlan, name: str) -> None:
    labels = plan.finetune.labels
    if MULTICLASS in (labels.uncertain, *labels.per_finding.values()):
        raise OptionError(
            f"models.{name} grows a model under the policy multiclass, which no pseudo-label fits: "
            "choose another finetune.labels.uncertain."
        )


def _refuse_seeds(plan: StudyPlan, name: str, start: str) -> None:
    wanted, there = plan.seeds_of(name), plan.seeds_of(start)
    if wanted > there:
        raise OptionError(f"models.{name}.seeds is {wanted}: allowed are those of {start}, {there} at most.")


def _refuse_fractions(plan: StudyPlan, name: str, start: str) -> None:
    allowed = growing_fractions(plan, start)
    if not allowed:
        raise OptionError(
            f"models.{name} has nothing to label, as {start} learns from all labels: give that a share below 1, "
            "such as 0.1, or the study a further store."
        )
    for fraction in plan.fractions_of(name):
        if fraction not in allowed:
            said = ", ".join(f"{share:g}" for share in allowed)
            raise OptionError(f"models.{name}.fractions has {fraction:g}: {start} can be grown at {said}.")
