"""The data on a study's page: counts, sample films, labels, and a film before and after its preparation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.errors import DataError
from hilum.images.enhance import ENHANCEMENTS
from hilum.images.read import read_grey
from hilum.images.store import Store
from hilum.report.charts import label_shares
from hilum.report.pictures import as_jpeg
from hilum.report.study_read import Study
from hilum.report.study_tables import Table, number, numbers, table, word, words

SAMPLES, BEFORE_AND_AFTER = 8, 2
"""Films shown of each."""
SIDE = 320
"""Pixels of a shown film's shorter side, where its file is at hand."""
KINDS = {"present": PRESENT, "uncertain": UNCERTAIN, "absent": ABSENT}
PARTS = {
    "train": ("training", "pretraining without labels, fine-tuning with labels"),
    "val": ("validation", "the best epoch, the learning rate, thresholds, calibration"),
    "test": ("test", "the numbers on this page"),
    "official-test": ("official test", "not used"),
}
"""Part -> its name and what a study uses it for."""
ENHANCED = {"paper": "denoised and equalised", "clahe": "equalised locally", "none": "not enhanced"}
PHANTOMS = "phantoms"


@dataclass(frozen=True)
class Sample:
    """A film with what its labels say; no path and no patient."""

    picture: str
    view: str
    present: list[str]
    uncertain: list[str]


@dataclass(frozen=True)
class Prepared:
    """A film step by step: each picture with its caption."""

    steps: list[tuple[str, str]]


def data_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of the data, by the names that its template uses."""
    rows = study.split.rows(study.store.catalog, "train")
    chosen = np.random.default_rng(0).permutation(rows)
    return {
        "data": _facts(study),
        "parts": parts_table(study),
        "cells": cells_table(study),
        "samples": [_sample(study, int(row)) for row in chosen[:SAMPLES]],
        "shares": _shares(study.store.findings, study.store.labels[rows]),
        "prepared": [_prepared(study, int(row)) for row in chosen[:BEFORE_AND_AFTER]],
        "is_drawn": is_drawn(study),
    }


def is_drawn(study: Study) -> bool:
    """Whether the films are phantoms."""
    return study.store.source.startswith(PHANTOMS)


def _facts(study: Study) -> dict[str, Any]:
    """Return the counts of every store in words' order."""
    return {
        "stores": [_store_facts(store) for store in study.stores],
        "size": study.store.preparation.size,
        "enhance": ENHANCED.get(study.store.preparation.enhance, study.store.preparation.enhance),
        "enhanced": study.store.preparation.enhance != "none",
        "fit": {"squash": "squashed to a square", "pad": "padded to a square"}.get(study.store.preparation.fit, ""),
        "findings": len(study.store.findings),
        "split": study.split.kind,
        "left_out": len(study.split.left_out),
    }


def _store_facts(store: Store) -> dict[str, Any]:
    views = store.catalog["view_position"].value_counts()
    manifest = store.manifest
    return {
        "source": store.source,
        "films": len(store),
        "patients": int(store.catalog["patient"].nunique()),
        "laterals": int(views.get("LATERAL", 0)),
        "read": manifest["rows_read"],
        "excluded": manifest["rows_excluded"],
        "failed": manifest["rows_failed"],
    }


def parts_table(study: Study) -> Table:
    """Return patients, films and labels of each part of the store that is measured on."""
    columns = [
        words("part", "part"),
        numbers("patients", "patients"),
        numbers("films", "films"),
        words("used for", "used_for"),
    ]
    rows = []
    for part, (name, purpose) in PARTS.items():
        places = study.split.rows(study.store.catalog, part)
        if len(places):
            patients = int(study.store.catalog["patient"].iloc[places].nunique())
            rows.append([word(name), number(patients), number(len(places)), word(purpose)])
    return table("data-parts", "Patients and films of each part", columns, rows)


def cells_table(study: Study) -> Table:
    """Return how often each finding is present, absent, uncertain and not stated in the training and test parts."""
    columns = [words("finding", "finding")]
    counts: list[tuple[NDArray[np.int64], ...]] = []
    for part in ("train", "test"):
        labels = study.store.labels[study.split.rows(study.store.catalog, part)]
        for name, value in KINDS.items():
            columns.append(numbers(f"{name}, {PARTS[part][0]}", f"{part}_{name}"))
            counts.append(tuple(np.sum(labels == value, axis=0)))
        columns.append(numbers(f"not stated, {PARTS[part][0]}", f"{part}_not_stated"))
        counts.append(tuple(np.sum(np.isnan(labels), axis=0)))
    rows = [
        [word(name), *(number(int(column[place])) for column in counts)]
        for place, name in enumerate(study.store.findings)
    ]
    return table("labels", "What the labels say, in films", columns, rows)


def _shares(findings: tuple[str, ...], labels: NDArray[np.float32]) -> Markup:
    shares = {name: np.mean(labels == value, axis=0).tolist() for name, value in KINDS.items()}
    shares["not stated"] = np.mean(np.isnan(labels), axis=0).tolist()
    return label_shares(findings, shares)


def _sample(study: Study, row: int) -> Sample:
    labels = dict(zip(study.store.findings, study.store.labels[row].tolist(), strict=True))
    film = original(study, row)
    return Sample(
        picture=picture(_stored(study, row) if film is None else film),
        view=view_of(study.store.catalog, row),
        present=[name for name, label in labels.items() if label == PRESENT],
        uncertain=[name for name, label in labels.items() if label == UNCERTAIN],
    )


def _prepared(study: Study, row: int) -> Prepared:
    """Return a film as it came, where its file is at hand, as it is stored, and as the published recipe has it."""
    enhance, size = study.store.preparation.enhance, study.store.preparation.size
    film, stored = original(study, row), _stored(study, row)
    steps = []
    if film is not None:
        steps.append((picture(film), f"The film as it came, {film.shape[1]} x {film.shape[0]} px"))
    steps.append((picture(stored), f"As the networks see it: {size} x {size} px, {ENHANCED.get(enhance, enhance)}"))
    if enhance == "none":
        enhanced = ENHANCEMENTS["paper"](stored)
        steps.append((picture(enhanced), "For comparison only: denoised and equalised, as the published recipe does"))
    return Prepared(steps)


def _stored(study: Study, row: int) -> NDArray[np.uint8]:
    return np.asarray(study.store.read(np.array([row]))[0], np.uint8)


def original(study: Study, row: int) -> NDArray[np.uint8] | None:
    """Return a film from its own file, None where that is not at hand: a store does not say where it came from."""
    path = Path(str(study.store.catalog["path"].iloc[row]))
    if path.is_absolute() or ".." in path.parts:
        return None
    for root in (study.folder / PHANTOMS, study.store.folder.parent / PHANTOMS):
        if is_drawn(study) and (root / path).is_file():
            try:
                return np.asarray(read_grey(root / path), np.uint8)
            except DataError:
                return None
    return None


def picture(film: NDArray[np.uint8]) -> str:
    """Return a film [H, W] as an address: one larger than is shown made smaller, one that is smaller larger."""
    factor = SIDE / min(film.shape)
    if factor < 1:
        film = np.asarray(cv2.resize(film, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    _, coded = cv2.imencode(".png", film)
    return as_jpeg(coded.tobytes(), "a stored film", SIDE // 2)


def view_of(catalog: Any, row: int) -> str:
    """Return a film's view in words."""
    view: Mapping[str, str] = {"PA": "PA", "AP": "AP", "LATERAL": "lateral"}
    return view.get(str(catalog["view_position"].iloc[row]), "view not stated")
