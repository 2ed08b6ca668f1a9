"""The demo: every stage on drawn films, from phantoms to a study of models, in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

from hilum.errors import OptionError, RunError
from hilum.files import write_json
from hilum.group_key import FILE_NAME as KEY
from hilum.listener import SILENT, Listener
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.demo.options import DemoFilms, DemoOptions
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.study import StudyResult, study

__all__ = ["PHANTOMS", "RECORD", "STORE", "DemoFilms", "DemoOptions", "demo"]

RECORD = "demo.json"
"""The file that marks a folder as a demo: the options of its phantoms."""
PHANTOMS, STORE = "phantoms", "store"
BESIDE = (RECORD, PHANTOMS, STORE, KEY)


def demo(
    options: DemoOptions,
    plan: StudyPlan,
    listener: Listener = SILENT,
    films: DemoFilms | None = None,
) -> StudyResult:
    """Draw phantoms, prepare them, and study what the plan names on them.

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
    return study(plan, listener, BESIDE)


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
            existing = json.loads(path.read_bytes())
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
    write_json(path, record)
