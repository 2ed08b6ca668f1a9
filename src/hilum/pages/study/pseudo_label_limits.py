"""What pseudo-labels do not show, from a study's own facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from hilum.pages.study.read import SelfTrained, Study
from hilum.pages.wording import listed

SIDES = ("present", "absent")


def self_training_limits(study: Study) -> Iterator[tuple[str, str]]:
    """Yield each limitation of the self-trained models: its first words, and a sentence."""
    runs = study.self_trained
    if not runs:
        return
    yield "Pseudo-labels are a model's guesses.", _right(runs)
    short: dict[str, None] = {}  # a dict keeps the order
    for run in runs:
        for name, finding in run.shown_round.findings.items():
            for side in SIDES:
                real, target = getattr(finding.real_precision, side), getattr(finding.wanted, side)
                if real and real.interval and target is not None and real.interval[1] < target:
                    short[f"{name} ({side})"] = None
    if short:
        yield (
            "Less right than the target.",
            f"With {listed(list(short))} pseudo-labels were less often right than the target, by more than their "
            "interval.",
        )
    present: dict[str, int] = {}
    for run in runs:
        for each in run.rounds.rounds:
            for name, finding in each.findings.items():
                present[name] = present.get(name, 0) + finding.present
    none = [name for name, count in present.items() if not count]
    has_target = runs[0].rounds.wanted is not None
    if none:
        why = (
            "validation films did not show that enough of such calls would be right"
            if has_target
            else "no film had a probability of one half"
        )
        yield (
            "No pseudo-labels of some findings.",
            f"No round called {listed(none)} present: {why}. A self-trained model learnt of them from "
            "absent labels alone, or from none.",
        )
    yield (
        f"Validation films decide {'thrice' if has_target else 'twice'}.",
        f"The same validation films choose {'thresholds of pseudo-labels, ' if has_target else ''}the best epoch and "
        "whether a round is kept: the gain on them flatters, and the gain on test films is the one that counts.",
    )


def _right(runs: Sequence[SelfTrained]) -> str:
    """Return how right the labels were that stand for each run."""
    if all(run.rounds.truth is None for run in runs):
        return "How many of them are right is not known here."
    target, clauses = runs[0].rounds.wanted, []
    for side in SIDES:
        means = [getattr(run.shown_round.real_precision_mean, side) for run in runs]
        known = [mean for mean in means if mean is not None]
        if known:
            clause = f"{fmean(known):.1%} of those called {side}"
            if target is not None:  # None: every film was labelled
                more = ", of rare findings more" if side == "absent" else ""
                clause += f" (target {getattr(target, side):.0%}{more})"
            clauses.append(clause)
    if not clauses:
        return "No film whose label was held back got one, so how right they are is not known here."
    source = (
        "This is known only because labels were held back; of films without any it would not be."
    )
    return f"In the mean over findings and runs {listed(clauses)} were right. {source}"
