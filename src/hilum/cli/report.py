"""``hilum report``: build the page of a study or a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import UNSHARED, Shared, answer

FOLDER = Parameter(help="Folder of a study (a demo is one) or of a run, finished or not.")


def report(folder: Annotated[Path, FOLDER], /, *, shared: Shared = UNSHARED) -> None:
    """Build the page of a study or a single run from its files: one HTML file that needs no network.

    The page is report.html in that folder; an older one is replaced. A study's tables are written as CSV into its
    tables/ as well. Research use only, not a medical device.

    Examples:
      hilum report studies/paper
      hilum report demo
      hilum report runs/moco-10
    """
    from hilum.report.pages import write_report

    result = write_report(folder)
    answer(shared, result, str(result.report))
