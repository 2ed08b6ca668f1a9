"""``hilum split``: divide a store anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.cli.terminal.tables import aligned
from hilum.workflows.prepare.split_options import SplitOptions

if TYPE_CHECKING:
    from hilum.workflows.prepare.split import SplitResult

STORE = Parameter(help="Folder that `hilum prepare` wrote.")
PARTS = ("train", "val", "test", "official-test")
USUAL = SplitOptions()


def split(
    store: Annotated[Path, STORE],
    /,
    *,
    options: Annotated[SplitOptions, FLAT] = USUAL,
    shared: Shared = UNSHARED,
) -> None:
    """Divide a store's patients into train, val and test, and the training patients into nested fractions.

    Replaces the split that `hilum prepare` wrote. A patient's films stay together; films of an
    official test set are a split of their own. Runs keep the split that they were trained with.

    Examples:
      hilum split stores/nih14 --seed 1
      hilum split stores/nih14 --test 0.15 --val 0.15 --fractions 0.01 0.1 0.5 1
    """
    from hilum.workflows.prepare.split import split as run

    with listening() as listener:
        result = run(store, options)
        for note in result.notes:
            listener.note(note)
    answer(shared, result, _text(result))


def _text(result: "SplitResult") -> str:
    """Return a table: patients, films, and the positive patients of each finding, by part."""
    counts = {part: result.parts[part] for part in PARTS if part in result.parts}
    findings = list(next(iter(counts.values())).positive_patients)
    rows = [
        ["patients", *(f"{part.patients:,}" for part in counts.values())],
        ["films", *(f"{part.films:,}" for part in counts.values())],
        *(
            [name, *(f"{part.positive_patients[name]:,}" for part in counts.values())]
            for name in findings
        ),
    ]
    return f"{aligned(['positive patients', *counts], rows)}\n{result.store}"
