"""What pseudo-labels do not show, from a study's own facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from hilum.pages.study.read import SelfTrained, Study
from hilum.pages.wording import listed
from hilum.workflows.pseudo_label.record import Target

SIDES = ("present", "absent")


def self_training_limits(study: Study) -> Iterator[tuple[str, str]]:
    """Yield each limitation of the self-trained models: its first words, and a sentence."""
    if not study.self_trained:
        return
    yield "Pseudo-labels are a model's guesses.", _right(study.self_trained)
    short = _short(study.self_trained)
    if short:
        yield (
            "Less right than the target.",
            f"With {listed(short)} pseudo-labels were less often right than the target, by more than their interval.",
        )
    none = _adding_none(study.self_trained)
    if none:
        yield (
            "No pseudo-labels of some findings.",
            f"No round called {listed(none)} present: {_why_none(study.self_trained)}. "
            "A self-trained model learnt of them from "
            "absent labels alone, or from none.",
        )
    thrice = study.self_trained[0].rounds.wanted is not None
    yield (
        f"Validation films decide {'thrice' if thrice else 'twice'}.",
        f"The same validation films choose {'thresholds of pseudo-labels, ' if thrice else ''}the best epoch and "
        "whether a round is kept: the gain on them flatters, and the gain on test films is the one that counts.",
    )


def _right(self_trained: Sequence[SelfTrained]) -> str:
    """Return how right the labels were that stand for each run."""
    if all(one.rounds.truth is None for one in self_trained):
        return "How many of them are right is not known here."
    parts = []
    for side in SIDES:
        means = [getattr(one.shown_round.real_precision_mean, side) for one in self_trained]
        known = [mean for mean in means if mean is not None]
        if known:
            parts.append(
                f"{fmean(known):.1%} of those called {side}{_asked(self_trained[0].rounds.wanted, side)}"
            )
    if not parts:
        return "No film whose label was held back got one, so how right they are is not known here."
    source = (
        "This is known only because labels were held back; of films without any it would not be."
    )
    return f"In the mean over findings and runs {listed(parts)} were right. {source}"


def _asked(target: Target | None, side: str) -> str:
    """Return in brackets the target precision; nothing where every film was labelled."""
    if target is None:
        return ""
    more = ", of rare findings more" if side == "absent" else ""
    return f" (target {getattr(target, side):.0%}{more})"


def _why_none(self_trained: Sequence[SelfTrained]) -> str:
    if self_trained[0].rounds.wanted is None:
        return "no film had a probability of one half"
    return "validation films did not show that enough of such calls would be right"


def _short(self_trained: Sequence[SelfTrained]) -> list[str]:
    """Return the findings whose labels were less often right than the target, beyond the interval."""
    found: dict[str, None] = {}
    for one in self_trained:
        for name, finding in one.shown_round.findings.items():
            for side in SIDES:
                real, target = getattr(finding.real_precision, side), getattr(finding.wanted, side)
                if real and real.interval and target is not None and real.interval[1] < target:
                    found[f"{name} ({side})"] = None
    return list(found)


def _adding_none(self_trained: Sequence[SelfTrained]) -> list[str]:
    """Return the findings that no round called present."""
    counts: dict[str, int] = {}
    for one in self_trained:
        for each in one.rounds.rounds:
            for name, finding in each.findings.items():
                counts[name] = counts.get(name, 0) + finding.present
    return [name for name, count in counts.items() if not count]
