"""Explanation: for each film, heatmaps and overlays of the findings beside their probabilities."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle.model_folder import age_notes
from hilum.bundle.predictor import Predictor
from hilum.errors import OptionError
from hilum.files import new_folder, read_hashed_json, write_hashed_json
from hilum.heatmaps.gradcam import Heatmaps
from hilum.heatmaps.gradcam import explain as heatmaps
from hilum.heatmaps.overlay import enlarged, heatmap_image, overlay, write_picture
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.options import as_path
from hilum.training.inference import describe_device
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.inference.film_names import film_names
from hilum.workflows.inference.image_files import (
    Prepared,
    image_files,
    is_store,
    prepared_files,
    prepared_films,
    refuse_keeping,
)
from hilum.workflows.inference.options import ExplainOptions

SUMMARY = "explanations.json"
STORE_LIMIT = 20
"""Films of a store that are explained where no limit is given: each has a folder of pictures."""


@dataclass(frozen=True)
class Explained:
    """One film: its folder of pictures, probabilities, called findings and drawn findings."""

    film: Path
    folder: Path
    probabilities: dict[str, float]
    called: list[str]
    drawn: list[str]
    looks_like: str = ""
    """As `hilum.Predictor.looks_like` says it; nothing where nothing is odd."""


@dataclass(frozen=True)
class ExplainResult:
    """The explained films, the unreadable ones, and a line about the layer that was used."""

    out: Path
    films: tuple[Explained, ...]
    failed: dict[str, str]
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        films = [
            {
                "film": str(film.film),
                "folder": film.folder.name,
                "probabilities": film.probabilities,
                "called": film.called,
                "drawn": film.drawn,
                "looks_like": film.looks_like,
            }
            for film in self.films
        ]
        return {"out": str(self.out), "films": films, "failed": self.failed, "layer": self.note}


def explain(
    run: str | Path,
    films: str | Path | Sequence[str | Path],
    options: ExplainOptions,
    listener: Listener = SILENT,
) -> ExplainResult:
    """Write for each film a folder with a heatmap and overlay per finding, and a summary as JSON.

    A file that cannot be read is left out and named in the result.

    Args:
        run: A fine-tuned run or its bundle.
        films: Image files, folders of them, ``@list.txt`` with one path a line, or one store, whose
            prepared images are used.
        options: Findings, layer, films of a store, and the folder to write.
        listener: Receives notes and progress.

    Raises:
        RunError: The run has no classifier.
        OptionError: A finding or layer does not exist, the backbone has no maps, or the folder
            holds something else.
        DataError: Not one film could be read, or the store was prepared in another way than the
            model.
    """
    files = image_files(films, listener)
    refuse_keeping(options.keep_damaged, files)
    predictor = Predictor.load(
        as_path("run", run), options.device, keep_damaged=options.keep_damaged, keep=options.keep
    )
    listener.device(describe_device(predictor.device))
    for line in age_notes(as_path("run", run)):
        listener.note(line)
    names = options.finding or predictor.findings
    positions = [predictor.finding_position(name) for name in names]
    names = tuple(predictor.findings[position] for position in positions)
    _refuse_foreign(options.out)
    failed: dict[str, str] = {}
    paths, images = _images(predictor, files, options, failed, listener)
    explained: list[Explained] = []
    note = ""
    listener.progress("explain", 0, len(paths))
    for number, path, image, look in images:
        standardised = predictor.standardised([image])
        maps = heatmaps(predictor.classifier, standardised, positions, options.layer)
        if not explained:  # a call that fails before this line has changed nothing on disk
            _begin(options.out, [_folder_name(*entry) for entry in enumerate(paths, start=1)])
        folder = options.out / _folder_name(number, path)
        _draw(folder, image, names, maps)
        note = maps.note
        scores = predictor.probabilities(standardised)[0]
        called = predictor.called(scores)
        explained.append(Explained(path, folder, scores, called, list(names), look))
        listener.progress("explain", number, len(paths))
    result = ExplainResult(options.out, tuple(explained), failed, note)
    write_hashed_json(
        options.out / SUMMARY,
        {**result.to_json(), "out": options.out.name, "notice": predictor.description.notice},
    )
    return result


def _images(
    predictor: Predictor,
    files: list[Path],
    options: ExplainOptions,
    failed: dict[str, str],
    listener: Listener,
) -> tuple[list[Path], Iterator[Prepared]]:
    """Return the paths of the films to explain, and the films prepared, one at a time."""
    if len(files) == 1 and is_store(files[0]):
        store = Films.open(files, listener=listener)
        predictor.refuse_other_preparation(store)
        split = options.split or "test"
        rows = Subsets.of(store).needed(split)
        limit = STORE_LIMIT if options.limit is None else options.limit
        if limit < len(rows) and options.limit is None:
            listener.note(
                f"explains the first {limit} of {len(rows):,} films (split {split}): --limit {len(rows)} takes all"
            )
        rows = rows[:limit]
        return [Path(path) for path in store.catalog["path"].iloc[rows]], prepared_films(
            store, rows
        )
    if options.split is not None:
        raise OptionError(f"--split is {options.split} and no store is given: leave it out.")
    named = film_names(files, options.out, options.names_file)
    named = replace(named, files=named.files[: options.limit])
    paths = [Path(named.of(file)) for file in named.files]
    return paths, prepared_files(predictor, named, failed, listener)


def _folder_name(number: int, film: Path) -> str:
    return f"{number:03d}-{film.stem}"


def _refuse_foreign(out: Path) -> None:
    """Raise if the folder holds anything but an earlier explanation, which alone is replaced."""
    try:
        if out.exists() and any(out.iterdir()) and not (out / SUMMARY).is_file():
            raise OptionError(
                f"{out} is not empty and holds no explanation: choose a new folder as --out."
            )
    except OSError as error:
        raise _no_folder(out, error) from error


def _begin(out: Path, planned: list[str]) -> None:
    """Make the folder, without an earlier explanation's pictures.

    The summary is written before the first picture and lists the folders to come: a run that was
    interrupted can be repeated, and leaves nothing behind.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(out, error) from error
    try:
        summary, _ = read_hashed_json(out / SUMMARY)
        names = {*summary.get("planned", ()), *(film["folder"] for film in summary["films"])}
        # Only folders directly below ``out`` are deleted, whatever a damaged summary names.
        folders = [
            out / name
            for name in sorted(names)
            if name not in ("", "..") and Path(name).name == name
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        folders = []
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
    write_hashed_json(out / SUMMARY, {"films": [], "failed": {}, "planned": planned})


def _no_folder(out: Path, error: OSError) -> OptionError:
    return OptionError(f"{out} cannot be a folder ({error.strerror}): choose another --out.")


def _draw(folder: Path, image: NDArray[np.uint8], names: Sequence[str], maps: Heatmaps) -> None:
    with new_folder(folder) as aside:
        write_picture(aside / "film.png", enlarged(image))
        for name, heat in zip(names, maps.maps[0].cpu().numpy(), strict=True):
            stem = name.casefold().replace(" ", "-").replace("/", "-")
            write_picture(aside / f"{stem}-heatmap.png", heatmap_image(heat))
            write_picture(aside / f"{stem}-overlay.png", overlay(image, heat))
