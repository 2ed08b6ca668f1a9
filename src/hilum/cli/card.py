"""``hilum card``: what is in stores, and what is wrong with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.workflows.card.options import CardOptions

if TYPE_CHECKING:
    from hilum.workflows.card.card import CardResult

STORES = Parameter(help="Stores, prepared alike.")
SUBJECT = Parameter(
    name="from",
    help="A run (or a weights file, random or imagenet) whose features tell which films look alike: labels to read "
    "again, and its AUROC beside the shortcut probes.",
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

    Labels and their policies, what occurs together, people, pictures, copies within and between
    stores and parts, films that look like no chest film, labels to read again, and shortcuts that a
    model could take. Files that name films lie beside the page, not in it. Research use only, not a
    medical device.

    Examples:
      hilum card stores/nih14 --out cards/nih14
      hilum card stores/nih14 stores/kermany --out cards/both --from runs/moco
      hilum card stores/chexpert --out cards/chexpert --annotations data/CheXpert
    """
    from hilum.pages.pages import write_report
    from hilum.workflows.card.card import card as gather

    with listening() as listener:
        result = gather(stores, options, subject, listener)
    page = write_report(options.out).report
    answer(shared, _Page(result, page), f"{_text(result)} {RESEARCH_ONLY}\n{page}")


class _Page:
    """What the command answers: the card's numbers, and its page."""

    def __init__(self, result: "CardResult", page: Path) -> None:
        self.result, self.page = result, page

    def to_json(self) -> dict[str, Any]:
        return {**self.result.to_json(), "report": str(self.page)}


def _text(result: "CardResult") -> str:
    return f"{result.films:,} films of {result.patients:,} patients in {', '.join(result.stores)}."
