"""What each section of a demo's page is filled with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from hilum.catalog import ABSENT, PRESENT, UNCERTAIN
from hilum.report.charts import Measured, against_labels, dots, label_shares
from hilum.report.curves import Line, curves
from hilum.report.gallery import explained, samples
from hilum.report.read import Demo, Finetuned
from hilum.report.svg import domain
from hilum.report.wording import Said, counted, listed, macro, measured, said, verdict

KINDS = {"present": PRESENT, "uncertain": UNCERTAIN, "absent": ABSENT}
PARTS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class ResultRow:
    """One share of the labels: every model's mean AUROC, the difference and what it shows."""

    fraction: float
    films: int
    patients: int
    models: list[Said]
    difference: Said
    shown: str


@dataclass(frozen=True)
class FindingRow:
    """One finding on the test films: positives, and every model's AUROC in the order of the demo's models."""

    name: str
    positives: int
    patients: int
    aurocs: list[Said]
    scored: bool


def demo_sections(demo: Demo) -> dict[str, Any]:
    """Return everything that the demo's page shows, by the names that its template uses."""
    names = list(dict.fromkeys(model.name for model in demo.models))
    fractions = sorted({model.fraction for model in demo.models})
    results = [_result(demo, names, fraction) for fraction in fractions]
    return {
        "demo": demo,
        "names": names,
        "fractions": fractions,
        "data": _data(demo),
        "flow": _flow(demo, fractions),
        "samples": samples(demo),
        "shares": _label_shares(demo),
        "results": results,
        "headline": [_headline(row, names) for row in results],
        "test": demo.models[0].test,
        "fewest": _fewest_positives(demo),
        "by_labels": against_labels({name: _line(demo, name) for name in names}),
        "by_finding": _by_finding(demo, names, fractions),
        "findings": _finding_rows(demo),
        "probes": [(one, macro(one, "knn_auroc_macro"), macro(one, "linear_auroc_macro")) for one in demo.probes],
        "pretraining": _pretraining(demo),
        "finetuning": [(fraction, *_finetuning(demo, fraction)) for fraction in fractions],
        "gallery": explained(demo),
        "hashes": _hashes(demo),
    }


def _data(demo: Demo) -> dict[str, Any]:
    table, manifest = demo.store.catalog, demo.store.manifest
    parts = []
    for part, name in PARTS.items():
        rows = demo.split.rows(table, part)
        parts.append((name, table["patient"].iloc[rows].nunique(), len(rows)))
    views = table["view_position"].value_counts()
    return {
        "films": len(table),
        "patients": table["patient"].nunique(),
        "parts": parts,
        "laterals": int(views.get("LATERAL", 0)),
        "read": manifest["rows_read"],
        "excluded": manifest["rows_excluded"],
        "failed": manifest["rows_failed"],
        "findings": len(demo.store.findings),
    }


def _flow(demo: Demo, fractions: list[float]) -> list[tuple[str, str]]:
    """Return the boxes of the workflow's picture: what is done, and on how much."""
    plan, test = demo.plan, demo.models[0].test
    shares = listed([f"{fraction:.0%}" for fraction in fractions])
    return [
        ("Draw", f"{counted(plan.films, 'film')} at {plan.drawn_size} px, with masks"),
        ("Prepare", f"decoded, resized to {plan.size} px, packed"),
        ("Split", "by patient: no patient in two parts"),
        ("Pretrain", f"MoCo on {counted(demo.pretrained.training['films'], 'film')}, no labels"),
        ("Fine-tune", f"on {shares} of the labels, from MoCo and from scratch"),
        ("Evaluate", f"on {counted(test['films'], 'film')} of {counted(test['patients'], 'other patient')}"),
        ("Explain", f"Grad-CAM on {counted(len(demo.explained), 'test film')}"),
    ]


def _label_shares(demo: Demo) -> Markup:
    rows = demo.split.rows(demo.store.catalog, "train")
    labels = demo.store.labels[rows]
    shares = {name: np.mean(labels == value, axis=0).tolist() for name, value in KINDS.items()}
    shares["not stated"] = np.mean(np.isnan(labels), axis=0).tolist()
    return label_shares(demo.store.findings, shares)


def _of(demo: Demo, name: str, fraction: float) -> Finetuned:
    return next(model for model in demo.models if (model.name, model.fraction) == (name, fraction))


def _result(demo: Demo, names: list[str], fraction: float) -> ResultRow:
    models = [_of(demo, name, fraction) for name in names]
    compared = next(one for one in demo.comparisons if one["fraction"] == fraction)
    change = compared["auroc_macro"]
    training = models[0].run.training
    return ResultRow(
        fraction=fraction,
        films=training["films"],
        patients=training["patients"],
        models=[macro(model.test) for model in models],
        difference=said(change["value"], change["interval"], change["reason"], signed=True),
        shown=verdict(change, compared["first"], compared["second"]),
    )


def _headline(row: ResultRow, names: list[str]) -> str:
    first, second = row.models
    return (
        f"With {row.fraction:.0%} of the labels ({counted(row.films, 'film')}) the model that starts from {names[0]} "
        f"reaches a mean AUROC of {first.value}, the one {names[1]} {second.value}: {row.shown}."
    )


def _fewest_positives(demo: Demo) -> int:
    return min(int(finding["positive_patients"]) for finding in demo.models[0].test["findings"].values())


def _line(demo: Demo, name: str) -> dict[float, Measured]:
    return {model.fraction: measured(model.test) for model in demo.models if model.name == name}


def _by_finding(demo: Demo, names: list[str], fractions: list[float]) -> list[tuple[float, Markup]]:
    series = {
        fraction: [[_auroc(_of(demo, name, fraction), finding) for finding in demo.store.findings] for name in names]
        for fraction in fractions
    }
    known = [value for models in series.values() for model in models for cell in model for value in cell.values()]
    span = domain([*known, 0.4, 0.9], 0.1)
    return [(fraction, dots(demo.store.findings, models, names, span)) for fraction, models in series.items()]


def _auroc(model: Finetuned, finding: str) -> Measured:
    estimate = model.test["findings"][finding]["auroc"]
    return Measured.of(estimate["value"], estimate["interval"])


def _finding_rows(demo: Demo) -> list[FindingRow]:
    first, rows = demo.models[0].test, []
    for name in demo.store.findings:
        about = first["findings"][name]
        estimates = [model.test["findings"][name]["auroc"] for model in demo.models]
        aurocs = [said(one["value"], one["interval"], one["reason"]) for one in estimates]
        scored = name in first["findings_scored"]
        rows.append(FindingRow(name, about["positives"], about["positive_patients"], aurocs, scored))
    return rows


def _pretraining(demo: Demo) -> Markup:
    run, chance = demo.pretrained, demo.pretrained.chance
    line = Line("MoCo", 0, run.curve("loss"))
    return curves([line], "step", "loss", ("chance", chance) if chance else None, step=1.0)


def _finetuning(demo: Demo, fraction: float) -> tuple[Markup, Markup]:
    models = [model for model in demo.models if model.fraction == fraction]
    losses = [Line(model.name, place, model.run.curve("loss")) for place, model in enumerate(models)]
    scores = [Line(model.name, place, model.run.curve("score", "validation")) for place, model in enumerate(models)]
    return curves(losses, "step", "training loss", step=0.1), curves(
        scores, "step", "mean AUROC, validation", ("chance", 0.5), step=0.1
    )


def _hashes(demo: Demo) -> list[tuple[str, str]]:
    hashes = [
        ("store, films and labels", demo.store.fingerprint),
        ("split", demo.split.hash),
        ("weights, MoCo pretrained", demo.pretrained.weights_hash()),
    ]
    return hashes + [
        (f"weights, {model.name}, {model.fraction:.0%} of the labels", model.run.weights_hash())
        for model in demo.models
    ]
