"""The demo: every stage on drawn films, from phantoms to a study of models, in one folder; some of them as DICOM."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from hilum.errors import OptionError, RunError
from hilum.files import read_hashed_json, write_hashed_json
from hilum.group_key import FILE_NAME as KEY
from hilum.listener import SILENT, Listener
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.phantoms.dicom_folder import FILMS, LABELS
from hilum.phantoms.habits import HABITS
from hilum.sources import read_source
from hilum.workflows.demo.options import DemoFilms, DemoOptions
from hilum.workflows.inference.predict import predict
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.record import StudyCell, StudyRecord
from hilum.workflows.study.study import StudyResult, study

__all__ = ["PHANTOMS", "RECORD", "STORE", "DemoFilms", "DemoOptions", "demo"]

RECORD = "demo.json"
"""The file that marks a folder as a demo: the options of its phantoms."""
PHANTOMS, STORE = "phantoms", "store"
ARCHIVE, ARCHIVE_STORE = "archive", "archive-store"
PREDICTIONS = "archive-predictions.csv"
"""What a hospital would have: films as DICOM, their store, and what a model of the study says of them."""
ARCHIVE_FILMS = 24
BESIDE = (RECORD, PHANTOMS, STORE, KEY, ARCHIVE, ARCHIVE_STORE, PREDICTIONS)


def demo(
    options: DemoOptions,
    plan: StudyPlan,
    listener: Listener = SILENT,
    films: DemoFilms | None = None,
) -> StudyResult:
    """Draw phantoms, prepare them, study what the plan names on them; then read a few as DICOM and predict these.

    Every stage resumes or keeps what an earlier call with the same options made.

    Args:
        options: Output folder and seed.
        plan: The study; its ``data`` is the demo's store and its ``out`` the demo's folder.
        listener: Gets notes and progress.
        films: Number and sizes; the usual ones unless given.

    Raises:
        RunError: The folder holds something else, or a demo with other options.
        Interrupted: SIGINT or SIGTERM came during training; all is saved.
    """
    films = films or DemoFilms()
    if plan.options.out != options.out or plan.options.data != (options.out / STORE,):
        raise ValueError(f"the plan is of {plan.options.out}, the demo of {options.out}")
    _claim(options, films)
    phantoms = PhantomOptions(
        count=films.films, size=films.drawn_size, seed=options.seed, prevalence="even"
    )
    write_phantoms(options.out / PHANTOMS, phantoms, partial(listener.progress, "draw"))
    prepare(
        read_source("chexpert", options.out / PHANTOMS),
        options.out / STORE,
        PrepareOptions(size=films.size),
        listener,
    )
    result = study(plan, listener, BESIDE)
    _read_archive(options, films, result, listener)
    return result


def model_of(record: StudyRecord) -> StudyCell | None:
    """Return the first model's run with the most labels, None where none is finished."""
    finished = record.chosen(model=record.models[0], group="main")
    return max(finished, key=lambda cell: cell.fraction or 0.0, default=None)


def _read_archive(
    options: DemoOptions, films: DemoFilms, result: StudyResult, listener: Listener
) -> None:
    """Draw new patients as an archive's DICOM files, prepare them, and let a model of the study predict them."""
    model = model_of(result.record)
    if (options.out / PREDICTIONS).is_file() or model is None:
        return
    root, store, seed = options.out / ARCHIVE, options.out / ARCHIVE_STORE, options.seed + 1
    drawn = PhantomOptions(ARCHIVE_FILMS, films.drawn_size, seed, "even", format="dicom")
    write_phantoms(root, drawn)
    archive = read_source("dicom", root / FILMS, label_table=root / LABELS, label_views="all")
    prepared = prepare(archive, store, PrepareOptions(films.size, workers=1), listener)
    predicted = predict(result.record.path(model), store, options.out / PREDICTIONS)
    left_out = ", ".join(f"{count} {reason}" for reason, count in prepared.rows_excluded.items())
    listener.note(
        f"DICOM: {prepared.rows_kept} of {prepared.rows_read} files of {len(HABITS)} vendors' habits are films "
        f"({left_out or 'none'} left out); {predicted.out} has what {model.model} says of them"
    )


def _claim(options: DemoOptions, films: DemoFilms) -> None:
    """Claim the folder for this demo.

    Raises:
        RunError: It holds something else, or a demo with other options.
    """
    if options.seed < 0:
        raise OptionError(f"--seed is {options.seed}: allowed is 0 or more.")
    record = {"seed": options.seed, "full": options.full, **asdict(films)}
    path = options.out / RECORD
    if path.is_file():
        try:
            existing, _ = read_hashed_json(path)
        except ValueError as error:
            raise RunError(
                f"{path} cannot be read: delete {path.parent} and run the demo again."
            ) from error
        if existing != record:
            raise RunError(
                f"{options.out} holds a demo with other options: give the same --seed and --full, or another --out."
            )
        return
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise RunError(f"{options.out} holds something else than a demo: give --out a new folder.")
    options.out.mkdir(parents=True, exist_ok=True)
    write_hashed_json(path, record)
