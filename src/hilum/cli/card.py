"""``hilum card``: what is in stores, and what is wrong with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.workflows.card.options import CardOptions

if TYPE_CHECKING:
    from hilum.workflows.card.card import CardResult

STORES = Parameter(help="Stores, prepared alike.")
SUBJECT = Parameter(
    name="from",
    help="A run (or a weights file, random or imagenet) whose features measure which films are similar: for label "
    "issues, and its AUROC beside the shortcut probes.",
)


def card(
    stores: Annotated[tuple[Path, ...], STORES],
    /,
    *,
    options: Annotated[CardOptions, FLAT],
    subject: Annotated[str | None, SUBJECT] = None,
    shared: Shared = UNSHARED,
) -> None:
    """Write a data card: one HTML page on what is in stores, and its numbers as CSV.

    Labels and uncertainty policies, co-occurrence, people, pictures, copies within and between
    stores and splits, outlier images, label issues, and shortcuts that a model could take. Prints
    the results of the checks, those with a problem marked by "!". Files that name films are beside
    the page, not in it. Research use only, not a medical device.

    Examples:
      hilum card stores/nih14 --out cards/nih14
      hilum card stores/nih14 stores/kermany --out cards/both --from runs/moco
      hilum card stores/chexpert --out cards/chexpert --annotations data/CheXpert
    """
    from hilum.pages.card.checks import card_checks
    from hilum.pages.card.read import read_card
    from hilum.pages.pages import write_report
    from hilum.workflows.card.card import card as gather

    with listening() as listener:
        result = gather(stores, options, subject, listener)
    page = write_report(options.out).report
    lines = [
        f"{'!' if check.wrong else '-'} {check.text}"
        for check in card_checks(read_card(options.out).record)
    ]
    answer(
        shared,
        _Page(result, page),
        "\n".join([f"{_text(result)} {RESEARCH_ONLY}", *lines, str(page)]),
    )


class _Page:
    """What the command answers: the card's numbers, and its page."""

    def __init__(self, result: "CardResult", page: Path) -> None:
        self.result, self.page = result, page

    def to_json(self) -> dict[str, Any]:
        return {**self.result.to_json(), "report": str(self.page)}


def _text(result: "CardResult") -> str:
    return f"{counted(result.films, 'film')} of {counted(result.patients, 'patient')} in {', '.join(result.stores)}."
