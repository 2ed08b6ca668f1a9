"""``hilum check``: compare the files of a folder with their hashes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening

SHOWN = 12
"""Files that are named."""
FOLDER = Parameter(
    help="Folder of a store, a run (rounds of pseudo-labels are one), a model, a study (a demo is one), a card or an "
    "exported bundle."
)


def check(folder: Annotated[Path, FOLDER], /, *, shared: Shared = UNSHARED) -> None:
    """Read every file of a store, run, model, bundle, study or data card, and say which is not as it was written.

    Files that have no hash, as those of earlier versions, are named. Exits with 1 if one is
    damaged.

    Examples:
      hilum check stores/nih14
      hilum check runs/moco-10
      hilum check studies/paper
    """
    from hilum.errors import DataError
    from hilum.workflows.check.check import check as run

    with listening() as listener:
        result = run(folder)
        for note in (*result.notes, *result.damaged):
            listener.note(note)
    if result.damaged:
        count = f"{len(result.damaged)} of {len(result.checked)} parts"
        raise DataError(f"{folder}: {count} are not what was written, first {result.damaged[0]}")
    shown = result.checked[:SHOWN]
    more = f" and {len(result.checked) - SHOWN} more" * (len(result.checked) > SHOWN)
    named = ", ".join(shown) + more
    answer(
        shared, result, f"{folder}: {named} {'are' if len(result.checked) > 1 else 'is'} as written"
    )
