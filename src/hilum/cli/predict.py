"""``hilum predict``: a model's probabilities as a table."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hilum.cli.shared import RESEARCH_ONLY, UNSHARED, Shared, answer, by_reason
from hilum.cli.terminal.console import listening
from hilum.counts import counted

RUN = Parameter(
    help="Folder of a fine-tuned run, its bundle, or starter: the small model in the package."
)
FILMS = Parameter(
    help="Image files, folders of them, @list.txt with one path a line, or one store."
)
OUT = Parameter(
    help="CSV file to write: a row for each film, a column for each finding, and the findings called; without it "
    "they are shown."
)
DEVICE = Parameter(help="Device.")
KEEP_DAMAGED = Parameter(
    help="Read JPEGs whose decoder reports damaged data; they are left out otherwise."
)
KEEP = Parameter(
    help="Reasons for which a DICOM film is not left out, as of `hilum prepare dicom`."
)
NAMES_FILE = Parameter(
    help="CSV for your eyes alone: which film is which file, of DICOM films, which results call by pseudonyms."
)


def predict(
    run: Annotated[Path, RUN],
    film: Annotated[tuple[Path, ...], FILMS],
    /,
    *,
    out: Annotated[Path | None, OUT] = None,
    keep_damaged: Annotated[bool, KEEP_DAMAGED] = False,
    keep: Annotated[tuple[str, ...], KEEP] = (),
    names_file: Annotated[Path | None, NAMES_FILE] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], DEVICE] = "auto",
    shared: Shared = UNSHARED,
) -> None:
    """Show the probability of every finding for films, or write them to a CSV file, also of a whole store.

    Films are prepared as the model's training films were. One that cannot be read is left out, with
    a line, and the exit code is 1. One that looks inverted, turned, lateral or unlike a chest film
    gets numbers too, not to be trusted: a line counts them, the column looks_like names them.
    Research use only, not a medical device.

    Examples:
      hilum predict starter film.png
      hilum predict runs/moco-10 film.png other.jpg --out predictions.csv
      hilum predict runs/moco-10 films/ @more.txt --out predictions.csv
      hilum predict runs/moco-10 stores/nih14 --out predictions.csv
    """
    from hilum.cli.terminal.predictions import predictions_text
    from hilum.workflows.inference.image_files import refuse_failed
    from hilum.workflows.inference.predict import predict as run_predict

    with listening() as listener:
        result = run_predict(
            run,
            film,
            out,
            device,
            listener,
            keep_damaged=keep_damaged,
            keep=keep,
            names_file=names_file,
        )
    shown = predictions_text(result) if result.out is None else str(result.out)
    failed = f", {len(result.failed):,} left out" if result.failed else ""
    answer(
        shared,
        result,
        f"{counted(result.films, 'film')}{failed}{by_reason('flagged', result.flagged)}. {RESEARCH_ONLY}\n{shown}",
    )
    refuse_failed(result.failed, result.films, result.out)
