"""The workflow and the way to repeat a study, on its page: commands, versions, options, hashes."""

from __future__ import annotations

import shlex
from typing import Any

from hilum.pages.read import read_json
from hilum.pages.run.sections import leaves
from hilum.pages.study.films import ENHANCED
from hilum.pages.study.limitations import fractions_in_words
from hilum.pages.study.read import Study
from hilum.pages.tables import Table, table, word, words
from hilum.pages.wording import counted, listed

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
            f"{counted(len(study.names), 'model')} on {shares} of the labels{_self_trained(study)}",
        ),
        ("Evaluate", f"on {test} films of patients that no model has seen"),
        ("Explain", "Grad-CAM on test films, beside truth and probabilities"),
    ]


def _self_trained(study: Study) -> str:
    """Return in words which models were self-trained."""
    names = list(dict.fromkeys(str(one.cell.start) for one in study.self_trained))
    return f"; {listed(names)} labelled more films and began again" if names else ""


def repeat(study: Study) -> dict[str, Any]:
    """Return commands, versions, options and hashes."""
    return {
        "commands": _commands(study),
        "seeds": _seeds(study),
        "versions": [("Hilum", study.record.hilum), *study.record.versions.items()],
        "machine": list(leaves(study.record.machine)),
        "options": list(leaves(study.record.plan)),
        "hashes": _hashes(study),
        "weights": weights_table(study),
    }


def _commands(study: Study) -> list[str]:
    """Return the lines that make the study again: of a demo what draws its films as well."""
    folder = study.folder.name or "study"
    data = [str(store.path) for store in study.record.stores]
    line = ["hilum", "study", "--data", *data, "--config", f"{folder}/study.yaml", "--out", "NEW"]
    if (study.folder / DEMO).is_file():
        drawn = read_json(study.folder / DEMO)
        full = ["--full"] if drawn.get("full") else []
        line = ["hilum", "demo", "--out", "NEW", *full, "--seed", str(drawn.get("seed", 0))]
    return [
        f"{shlex.join(line)}    # all of it",
        f"{shlex.join(['hilum', 'report', folder])}    # this page again",
    ]


def _seeds(study: Study) -> str:
    """Return the training seeds, which follow the plan's first one."""
    first = int(study.record.plan.get("seed") or 0)
    return listed(
        [str(first + place) for place in sorted({cell.seed for cell in study.record.cells})]
    )


def _hashes(study: Study) -> list[tuple[str, str]]:
    found = []
    for store, split in zip(study.stores, study.splits, strict=True):
        found += [
            (f"store {store.source}, films and labels", store.fingerprint),
            (f"split of {store.source}", split.hash),
        ]
    return found


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
