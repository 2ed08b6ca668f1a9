"""``hilum pseudo-label``: rounds of pseudo-labels and training."""

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
    help="Folder of a finished fine-tuned run: it labels films, and training starts from its initial weights.",
)


def pseudo_label(
    *,
    start: Annotated[Path, START],
    options: Annotated[PseudoLabelOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Label unlabelled training films by a fine-tuned run, train again on them, and repeat for some rounds.

    Validation films choose two thresholds for every finding, above which a film is called present
    and below which absent, so that both reach the required precision; a finding that cannot reach
    it adds no label. Patients of validation and test are never labelled. A round that does not
    improve on validation films is reported and not kept. Research use only, not a medical device.

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
    return "\n".join([table, "", required_text(rounds) + known, kept_text(rounds), str(result.run)])


def required_text(rounds: "Rounds") -> str:
    """Return the precision that was required of the labels."""
    if rounds.wanted is None:
        return "every film is labelled: no precision was required"
    return f"required precision: {rounds.wanted.present:.0%} of present, {rounds.wanted.absent:.0%} of absent"


def kept_text(rounds: "Rounds") -> str:
    """Return which round's model is kept, and what it gained on validation films."""
    if rounds.kept == 0:
        return "no round improved on the starting run: the model is that run's own"
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
