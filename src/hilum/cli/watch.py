"""``hilum watch``: an archive's films in, results for the archive out."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer, by_reason
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.watching.options import WatchOptions

RUN = Parameter(help="Folder of a fine-tuned run, or a bundle.")
FOLDER = Parameter(help="Folder that DICOM films come into.")


def watch(
    run: Annotated[Path, RUN],
    folder: Annotated[Path, FOLDER],
    /,
    *,
    options: Annotated[WatchOptions, FLAT],
    shared: Shared = UNSHARED,
) -> None:
    """Read every DICOM film that comes into a folder, and write two results for the archive.

    Of each film a secondary capture (a picture with the probabilities, marked as research and
    unreviewed) and a structured report (TID 1500) appear in OUT/results, once, over kills and
    restarts. They carry the patient's name, so that the archive files them. Films that the model
    must not read are left out with the reason. Ctrl-C ends it. Research use only, not a medical
    device.

    Examples:
      hilum watch runs/moco-10 incoming --out outgoing
      hilum watch runs/moco-10 incoming --out outgoing --once
    """
    from hilum.watching.watch import READ
    from hilum.watching.watch import watch as run_watch

    with listening() as listener:
        result = run_watch(run, folder, options, listener)
    outcomes = dict(result.outcomes)
    films = counted(outcomes.pop(READ, 0), "film")
    answer(
        shared,
        result,
        f"{films} read{by_reason('left', outcomes)}. {RESEARCH_ONLY}\n{result.results}",
    )
