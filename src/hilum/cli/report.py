"""``hilum report``: build the page of a study, a run or a data card."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening

FOLDER = Parameter(
    help="Folder of a study (a demo is one) or of a run, finished or not, or of a card."
)


def report(folder: Annotated[Path, FOLDER], /, *, shared: Shared = UNSHARED) -> None:
    """Build the page of a study, a single run or a data card from its files: one HTML file that needs no network.

    The page is report.html in that folder, card.html of a card; an older one is replaced. The
    tables of a study or card are written as CSV into its tables/ as well. Research use only, not a
    medical device.

    Examples:
      hilum report studies/paper
      hilum report demo
      hilum report runs/moco-10
    """
    from hilum.pages.pages import write_report

    with listening() as listener:
        result = write_report(folder)
        for note in result.notes:
            listener.note(note)
    answer(shared, result, str(result.report))
