"""``hilum phantom``: draw a phantom data set."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer
from hilum.cli.terminal.console import listening
from hilum.counts import counted
from hilum.phantoms.options import PhantomOptions

ROOT = Parameter(help="Folder to write: new, empty, or holding the same phantoms.")
WORKERS = Parameter(help="Processes; as many as cores unless given. The films do not depend on it.")
USUAL = PhantomOptions()


def phantom(
    root: Annotated[Path, ROOT],
    /,
    *,
    options: Annotated[PhantomOptions, FLAT] = USUAL,
    workers: Annotated[int | None, WORKERS] = None,
    shared: Shared = UNSHARED,
) -> None:
    """Draw a phantom data set, in CheXpert's own layout or as DICOM, with a mask for every finding.

    A fifth of the patients is in valid.csv, the rest in train.csv. With --format dicom the films are
    in dicom/, their labels in labels.csv by accession number; each study is written as another
    vendor would. Phantoms are drawings: they say nothing about patients.

    Examples:
      hilum phantom phantoms --count 2000 --size 64
      hilum phantom phantoms --count 4000 --size 64 --prevalence even --seed 7
      hilum phantom phantoms --uncertain-truth."Pleural Effusion" 0.8
      hilum phantom archive --count 200 --size 512 --format dicom
      hilum phantom archive --format dicom --dicom-habits signed jpeg2000
    """
    from hilum.phantoms.folder import write_phantoms

    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    with listening() as listener:
        result = write_phantoms(root, options, partial(listener.progress, "draw"), processes)
    done = "already drawn: " if result.already_done else ""
    tables = f"{counted(result.valid_films, 'film')} of {counted(result.valid_patients, 'patient')} in valid.csv"
    if options.format == "dicom":
        tables = "labels in labels.csv by AccessionNumber"
    answer(
        shared,
        result,
        f"{done}{counted(result.films, 'film')} of {counted(result.patients, 'patient')}, {tables}\n{result.root}",
    )
