"""``hilum check``: compare the files of a store, run or model with their hashes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening

FOLDER = Parameter(help="Folder of a store, a run or a model.")


def check(folder: Annotated[Path, FOLDER], /, *, shared: Shared = UNSHARED) -> None:
    """Read every file of a store, a run or a model, and say which is not as it was written.

    Exits with 1 if one is damaged.

    Examples:
      hilum check stores/nih14
      hilum check runs/moco-10
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
    answer(shared, result, f"{folder}: all of {', '.join(result.checked)} is as it was written")
