"""``hilum pseudo-label``: more labels from few."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.tables import aligned
from hilum.workflows.pseudo_label.options import PseudoLabelOptions

if TYPE_CHECKING:
    from hilum.workflows.pseudo_label.pseudo_label import PseudoLabelResult
    from hilum.workflows.pseudo_label.record import Round, Rounds

START = Parameter(
    name="from",
    help="Folder of a finished fine-tuned run: it labels, and says how training starts.",
)


def pseudo_label(
    *,
    start: Annotated[Path, START],
    options: Annotated[PseudoLabelOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Label training films that have no label by a fine-tuned run, train again with them, and so on for some rounds.

    Validation films choose for every finding from which probability on a film is called present,
    and up to which absent, so that those calls are right as often as wanted; a finding that cannot
    reach that adds none. Patients of validation and test are never labelled. A round that does not
    improve on validation films is said and not kept. Research use only, not a medical device.

    Examples:
      hilum pseudo-label --data store --from runs/few --out runs/more
      hilum pseudo-label --data store --from few --out more --precision 0.95
      hilum pseudo-label --data store new --from few --out more --rounds 5
    """
    from hilum.workflows.pseudo_label.pseudo_label import pseudo_label as run

    with listening() as listener:
        result = run(start, options, listener)
    answer(shared, result, rounds_text(result))


def rounds_text(result: "PseudoLabelResult") -> str:
    """Return a table of the rounds, what was kept, and the path of the run last."""
    rounds = result.rounds
    header = ["round", "films", "present", "right", "absent", "right", "validation AUROC", "kept"]
    begin = [
        "0",
        "",
        "",
        "",
        "",
        "",
        f"{rounds.start_auroc:.4f}",
        "yes" if rounds.kept == 0 else "",
    ]
    table = aligned(header, [begin, *(_row(one, rounds) for one in rounds.rounds)])
    known = (
        f"; right: mean over findings by {rounds.truth}"
        if rounds.truth
        else "; how right is not known"
    )
    return "\n".join([table, "", wanted_text(rounds) + known, kept_text(rounds), str(result.run)])


def wanted_text(rounds: "Rounds") -> str:
    """Return how right the labels were asked to be."""
    if rounds.wanted is None:
        return "every film is labelled, however right that is"
    return f"wanted right: {rounds.wanted.present:.0%} of present, {rounds.wanted.absent:.0%} of absent"


def kept_text(rounds: "Rounds") -> str:
    """Return which round's model is kept, and what it gained on validation films."""
    if rounds.kept == 0:
        return "no round improved on the run that they began with: the model is that run's own"
    gain = rounds.best - rounds.start_auroc
    return f"the model is that of round {rounds.kept}: {gain:+.4f} on the validation films that chose it"


def _row(one: "Round", rounds: "Rounds") -> list[str]:
    present = sum(finding.present for finding in one.findings.values())
    absent = sum(finding.absent for finding in one.findings.values())
    right = one.real_precision_mean
    auroc = "not trained" if one.validation_auroc is None else f"{one.validation_auroc:.4f}"
    kept = "yes" if one.number == rounds.kept else "earlier" if one.kept else "no"
    counts = [
        f"{one.films:,}",
        f"{present:,}",
        _share(right.present),
        f"{absent:,}",
        _share(right.absent),
    ]
    return [str(one.number), *counts, auroc, kept]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
