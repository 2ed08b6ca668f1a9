"""``hilum serve``: answer films over HTTP."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, RESEARCH_ONLY, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.serving.options import ServeOptions

RUN = Parameter(
    help="Folder of a fine-tuned run, a bundle of `hilum export`, or starter: the small model in the package."
)
USUAL = ServeOptions()


def serve(
    run: Annotated[Path, RUN],
    /,
    *,
    options: Annotated[ServeOptions, FLAT] = USUAL,
    shared: Shared = UNSHARED,
) -> None:
    """Answer films over HTTP: probabilities, heatmaps, a page for the browser; nothing is kept.

    POST a PNG, JPEG or DICOM file to /v1/predictions, or open the address in a browser; /docs
    describes all routes. Films that are no upright frontal chest radiograph are refused with the
    reason. It listens on this machine alone unless --host and --token-file say otherwise. Ctrl-C or
    SIGTERM ends it, after the films on their way. Research use only, not a medical device.

    Examples:
      hilum serve starter
      hilum serve runs/moco-10
      hilum serve runs/moco-10 --port 9000 --allow-host films.hospital.example
    """
    from hilum.serving.serve import serve as run_service

    with listening() as listener:
        result = run_service(run, options, listener)
    films = counted(result.answered, "answer")
    answer(
        shared,
        result,
        f"{films}, {result.refused:,} refused, {result.failed:,} failed. {RESEARCH_ONLY}",
    )
