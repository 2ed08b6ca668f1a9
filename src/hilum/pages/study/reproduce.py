"""The workflow and the way to repeat a study, on its page: commands, versions, options, hashes."""

from __future__ import annotations

import shlex
from typing import Any

from hilum.counts import counted
from hilum.pages.read import read_json
from hilum.pages.run.sections import leaves
from hilum.pages.study.films import ENHANCED
from hilum.pages.study.limitations import fractions_in_words
from hilum.pages.study.read import Study
from hilum.pages.tables import Table, table, word, words
from hilum.pages.wording import listed

DEMO = "demo.json"
"""What says how a demo's films were drawn."""


def flow(study: Study) -> list[tuple[str, str]]:
    """Return the boxes of the workflow's picture: what is done, and on how much."""
    store, size = study.store, study.store.preparation.size
    enhanced = ENHANCED.get(store.preparation.enhance, store.preparation.enhance)
    pretrained = listed([cell.model for cell in study.record.cells if cell.kind == "pretrain"], "")
    train, val, test = (
        f"{len(study.split.rows(store.catalog, part)):,}" for part in ("train", "val", "test")
    )
    shares = fractions_in_words(study.fractions) if study.fractions else "shares"
    starts = list(dict.fromkeys(str(run.cell.start) for run in study.self_trained))
    self_trained = f"; {listed(starts)} labelled more films and began again" if starts else ""
    return [
        (
            "Draw" if study.is_drawn else "Read",
            f"{counted(store.manifest['rows_read'], 'row')} of {store.source}",
        ),
        ("Prepare", f"{enhanced}, {size} x {size} px"),
        ("Split", f"by patient: {train} films to train, {val} to choose by, {test} to measure on"),
        (
            "Pretrain",
            f"{pretrained}, without labels"
            if pretrained
            else "no model is pretrained in this study",
        ),
        (
            "Fine-tune",
            f"{counted(len(study.names), 'model')} on {shares} of the labels{self_trained}",
        ),
        ("Evaluate", f"on {test} films of patients that no model has seen"),
        ("Explain", "Grad-CAM on test films, beside truth and probabilities"),
    ]


def repeat(study: Study) -> dict[str, Any]:
    """Return commands, versions, options and hashes."""
    folder = study.folder.name or "study"
    data = [str(store.path) for store in study.record.stores]
    line = ["hilum", "study", "--data", *data, "--config", f"{folder}/study.yaml", "--out", "NEW"]
    if (study.folder / DEMO).is_file():  # its command draws the films as well
        demo = read_json(study.folder / DEMO)
        full = ["--full"] if demo.get("full") else []
        line = ["hilum", "demo", "--out", "NEW", *full, "--seed", str(demo.get("seed", 0))]
    # A cell's seed counts from the plan's.
    first = int(study.record.plan.get("seed") or 0)
    seeds = [str(first + seed) for seed in sorted({cell.seed for cell in study.record.cells})]
    hashes = []
    for store, split in zip(study.stores, study.splits, strict=True):
        hashes += [
            (f"store {store.source}, films and labels", store.fingerprint),
            (f"split of {store.source}", split.hash),
        ]
    return {
        "commands": [
            f"{shlex.join(line)}    # all of it",
            f"{shlex.join(['hilum', 'report', folder])}    # this page again",
        ],
        "seeds": listed(seeds),
        "versions": [("Hilum", study.record.hilum), *study.record.versions.items()],
        "machine": list(leaves(study.record.machine)),
        "options": list(leaves(study.record.plan)),
        "hashes": hashes,
        "weights": weights_table(study),
    }


def weights_table(study: Study) -> Table:
    """Return the hash of the weights of every run that stands for a result."""
    columns = [
        words("run", "id"),
        words("model", "model"),
        words("SHA-256 of the weights", "weights_sha256"),
    ]
    rows = [
        [word(cell.id), word(cell.model), word(run.model.weights_sha256)]
        for cell in study.record.cells
        if (run := study.run(cell))
    ]
    return table("weights", "Weights of every run", columns, rows)
