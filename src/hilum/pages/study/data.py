"""The data on a study's page: counts, parts, and what the labels say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.pages.charts.dots import label_shares
from hilum.pages.study.films import ENHANCED
from hilum.pages.study.read import Study
from hilum.pages.tables import Table, number, numbers, table, word, words

KINDS = {"present": PRESENT, "uncertain": UNCERTAIN, "absent": ABSENT}
PARTS = {
    "train": ("training", "pretraining without labels, fine-tuning with labels"),
    "val": ("validation", "the best epoch, the learning rate, thresholds, calibration"),
    "test": ("test", "the numbers on this page"),
    "official-test": ("official test", "no number of this page but those of where the models look"),
}
"""Part -> its name and what a study uses it for."""
FITS = {"squash": "squashed to a square", "pad": "padded to a square"}


def data_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of the data, by the names that its template uses."""
    preparation = study.store.preparation
    facts = {
        "stores": [
            {
                "source": store.source,
                "films": len(store),
                "patients": int(store.catalog["patient"].nunique()),
                "laterals": int(store.catalog["view_position"].value_counts().get("LATERAL", 0)),
                "read": store.manifest["rows_read"],
                "excluded": store.manifest["rows_excluded"],
                "failed": store.manifest["rows_failed"],
            }
            for store in study.stores
        ],
        "size": preparation.size,
        "enhance": ENHANCED.get(preparation.enhance, preparation.enhance),
        "enhanced": preparation.enhance != "none",
        "fit": FITS.get(preparation.fit, ""),
        "findings": len(study.store.findings),
        "split": study.split.kind,
        "left_out": len(study.split.left_out),
    }
    labels = study.store.labels[study.split.rows(study.store.catalog, "train")]
    shares = {name: np.mean(labels == value, axis=0).tolist() for name, value in KINDS.items()}
    shares["not stated"] = np.mean(np.isnan(labels), axis=0).tolist()
    return {
        "data": facts,
        "parts": parts_table(study),
        "cells": cells_table(study),
        "shares": label_shares(study.store.findings, shares),
        "is_drawn": study.is_drawn,
    }


def parts_table(study: Study) -> Table:
    """Return patients, films and labels of each part of the store that is measured on."""
    columns = [
        words("split", "part"),
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
    return table("data-parts", "Patients and films of each split", columns, rows)


def cells_table(study: Study) -> Table:
    """Return how often each finding is present, absent, uncertain and not stated in the training and test split."""
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
    return table("labels", "Labels, in films", columns, rows)
