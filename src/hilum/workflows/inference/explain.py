"""Explanation: for each film, heatmaps and overlays of the findings beside their probabilities."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle.predictor import Predictor
from hilum.errors import OptionError, did_you_mean
from hilum.files import new_folder, write_json
from hilum.findings import positions
from hilum.heatmaps.gradcam import Heatmaps
from hilum.heatmaps.gradcam import explain as heatmaps
from hilum.heatmaps.overlay import enlarged, heatmap_image, overlay, write_picture
from hilum.listener import SILENT, Listener
from hilum.training.inference import describe_device
from hilum.workflows.inference.image_files import readable
from hilum.workflows.inference.options import ExplainOptions

SUMMARY = "explanations.json"
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Explained:
    """One film: its folder of pictures, all probabilities, the findings called, and the findings drawn."""

    film: Path
    folder: Path
    probabilities: dict[str, float]
    called: list[str]
    drawn: list[str]


@dataclass(frozen=True)
class ExplainResult:
    """The films explained, those that could not be read, and the line that says which layer was looked at and why."""

    out: Path
    films: tuple[Explained, ...]
    failed: dict[str, str]
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        films = [
            {
                "film": str(one.film),
                "folder": one.folder.name,
                "probabilities": one.probabilities,
                "called": one.called,
                "drawn": one.drawn,
            }
            for one in self.films
        ]
        return {"out": str(self.out), "films": films, "failed": self.failed, "layer": self.note}


def explain(
    run: Path, films: Sequence[Path], options: ExplainOptions, listener: Listener = SILENT
) -> ExplainResult:
    """Write a folder a film with ``film.png`` and, for each finding, its heatmap and overlay; and a summary as JSON.

    Raises:
        RunError: The run has no classifier.
        OptionError: A finding or layer does not exist, the backbone has no maps, or the folder
            holds something else.
        DataError: Not one film could be read.
    """
    predictor = Predictor.load(run, options.device)
    listener.device(describe_device(predictor.device))
    chosen = _chosen(predictor, options.finding)
    _refuse_foreign(options.out)
    explained: list[Explained] = []
    failed: dict[str, str] = {}
    note = ""
    listener.progress("explain", 0, len(films))
    for number, film, prepared in readable(predictor, films, failed, listener, "give image files"):
        images = predictor.standardised([prepared])
        found = heatmaps(predictor.classifier, images, chosen, options.layer)
        if (
            not explained
        ):  # only now is anything written or removed: a call that fails before leaves all as it was
            _begin(options.out, [_folder_name(*numbered) for numbered in enumerate(films, start=1)])
        folder, probabilities = (
            options.out / _folder_name(number, film),
            predictor.probabilities(images)[0],
        )
        names = [predictor.findings[place] for place in chosen]
        _draw(folder, prepared, names, found)
        note = found.note
        explained.append(
            Explained(film, folder, probabilities, predictor.called(probabilities), names)
        )
        listener.progress("explain", number, len(films))
    result = ExplainResult(options.out, tuple(explained), failed, note)
    write_json(
        options.out / SUMMARY,
        {**result.to_json(), "out": options.out.name, "notice": predictor.description.notice},
    )
    return result


def _folder_name(number: int, film: Path) -> str:
    return f"{number:03d}-{film.stem}"


def _refuse_foreign(out: Path) -> None:
    """Raise if the folder holds anything but an earlier explanation: nothing else is ever replaced."""
    try:
        if out.exists() and any(out.iterdir()) and not (out / SUMMARY).is_file():
            raise OptionError(
                f"{out} is not empty and holds no explanation: choose a new folder as --out."
            )
    except OSError as error:
        raise _no_folder(out, error) from error


def _begin(out: Path, planned: list[str]) -> None:
    """Make the folder, without an earlier explanation's pictures.

    The summary stands there before the first picture and lists the folders to come: a run that was
    interrupted can be repeated, and leaves nothing behind.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(out, error) from error
    for folder in _earlier_folders(out):
        shutil.rmtree(folder)
    write_json(out / SUMMARY, {"films": [], "failed": {}, "planned": planned})


def _no_folder(out: Path, error: OSError) -> OptionError:
    return OptionError(f"{out} cannot be a folder ({error.strerror}): choose another --out.")


def _earlier_folders(out: Path) -> list[Path]:
    """Return the folders directly below ``out`` that its summary lists; none if it cannot be read."""
    try:
        told = json.loads((out / SUMMARY).read_text("utf-8"))
        names = {*told.get("planned", ()), *(film["folder"] for film in told["films"])}
        folders = [
            out / name
            for name in sorted(names)
            if name not in ("", "..") and Path(name).name == name
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]


def _draw(folder: Path, prepared: Picture, names: list[str], found: Heatmaps) -> None:
    with new_folder(folder) as aside:
        write_picture(aside / "film.png", enlarged(prepared))
        for name, heat in zip(names, found.maps[0].cpu().numpy(), strict=True):
            stem = name.casefold().replace(" ", "-").replace("/", "-")
            write_picture(aside / f"{stem}-heatmap.png", heatmap_image(heat))
            write_picture(aside / f"{stem}-overlay.png", overlay(prepared, heat))


def _chosen(predictor: Predictor, wanted: tuple[str, ...]) -> list[int]:
    if not wanted:
        return list(range(len(predictor.findings)))
    chosen = []
    for name, place in zip(wanted, positions(wanted, predictor.findings), strict=True):
        if place is None:
            raise OptionError(
                f"unknown finding {name!r}: this model calls {', '.join(predictor.findings)}."
                f"{did_you_mean(name, predictor.findings)}"
            )
        chosen.append(place)
    return chosen
