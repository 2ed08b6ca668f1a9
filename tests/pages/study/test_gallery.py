"""Where the models look, on a study's page: films, words and numbers from files, and nothing that they smuggle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.errors import DataError, RunError
from hilum.pages.charts.dots import Measured
from hilum.pages.charts.pointing_hits import HitRow, hits_chart
from hilum.pages.pages import study_page
from hilum.pages.study.localisation import gallery_sections, verdict
from hilum.pages.study.read import read_study_folder
from hilum.records import read_record
from hilum.workflows.study.localisation_record import ModelLocalisation
from hilum.workflows.study.record import read_study

EVIL = "<script>alert(1)</script>"
SHOWN = [("Edema", "true positive"), ("Edema", "false negative"), ("Fracture", "false positive")]

SAID = (
    "Edema: true positive",
    "Edema: false negative",
    "Fracture: false positive",
    "By a rule.",
    "Missed: Edema",
    "Called though absent: Fracture",
    "4.0 times as often",
    "a random point",
)


def estimate(value: float | None, width: float = 0.05) -> dict[str, Any]:
    ends = None if value is None else [value - width, value + width]
    return {
        "value": value,
        "interval": ends,
        "left_out": 0,
        "reason": None if value is not None else "too few",
    }


def scores(value: float, findings: tuple[str, ...]) -> dict[str, Any]:
    return {
        "overall": estimate(value),
        "findings": {name: estimate(value) for name in findings},
        "findings_scored": list(findings),
    }


def model(
    name: str, hit: float, control: float, findings: tuple[str, ...] = ("Edema", "Fracture")
) -> dict[str, Any]:
    return {
        "model": name,
        "backbone": "resnet10t",
        "fraction": 1.0,
        "reason": None,
        "layer": "Grad-CAM",
        "hit_rate": scores(hit, findings),
        "iou": scores(0.1, findings),
        "control": {"hit_rate": scores(control, findings), "iou": scores(0.02, findings)},
        "difference": {"hit_rate": scores(hit - control, findings), "iou": scores(0.08, findings)},
        "beyond_chance": scores(hit - 0.05, findings),
        "habit": scores(hit / 2, findings),
    }


def record_of(content: dict[str, Any]) -> ModelLocalisation:
    return read_record(ModelLocalisation, content)


def write_localisation(
    folder: Path, models: list[dict[str, Any]], reason: str | None = None
) -> None:
    told = {
        "format": 1,
        "reason": reason,
        "truth": {
            "kind": "masks",
            "said": "masks of what was drawn",
            "stand_ins": {"Lung Opacity": ["Edema", EVIL]},
        },
        "films": 120,
        "patients": 60,
        "maps": {"Edema": 40, "Fracture": 30},
        "least_patients": 5,
        "resamples": 2000,
        "level": 0.95,
        "control_draws": 3,
        "chance": scores(0.05, ("Edema", "Fracture")),
        "models": models,
    }
    (folder / "localisation.json").write_text(json.dumps(told))


def write_gallery(folder: Path, name: str = "MoCo") -> None:
    explained, rng = folder / "explained", np.random.default_rng(0)
    explained.mkdir()
    films = []
    for number, (finding, outcome) in enumerate(SHOWN):
        present, called = (
            outcome in ("true positive", "false negative"),
            outcome.endswith("positive"),
        )
        pictures: dict[str, str | None] = {"mask": None}
        for kind in ("film", "overlay", "mask")[: 3 if present else 2]:
            pictures[kind] = f"{number}-{kind}.png"
            cv2.imwrite(
                str(explained / f"{number}-{kind}.png"),
                rng.integers(0, 255, (64, 64)).astype(np.uint8),
            )
        rows = [
            {
                "finding": finding,
                "probability": 0.8,
                "threshold": 0.5,
                "called": called,
                "label": "-",
                "present": present,
            },
            {
                "finding": EVIL,
                "probability": 0.1,
                "threshold": None,
                "called": False,
                "label": "-",
                "present": True,
            },
        ]
        films.append(
            {
                "pictures": pictures,
                "finding": finding,
                "outcome": outcome,
                "view": "PA",
                "findings": rows,
                "called": [finding] if called else [],
                "missed": [finding] if outcome == "false negative" else [],
                "false_calls": [finding] if outcome == "false positive" else [],
            }
        )
    told = {
        "model": name,
        "fraction": 1.0,
        "rule": "By a rule.",
        "layer": "Grad-CAM at layer2",
        "films": films,
    }
    (explained / "gallery.json").write_text(json.dumps(told))


@pytest.fixture
def study(write_study_of: Callable[..., Path]) -> Path:
    folder = write_study_of()
    write_gallery(folder)
    write_localisation(folder, [model("MoCo", 0.4, 0.1), model("from scratch", 0.3, 0.1)])
    return folder


def sections(folder: Path) -> dict[str, Any]:
    return gallery_sections(read_study(folder))


def test_the_gallery_has_each_film_with_its_words_and_pictures(study: Path) -> None:
    gallery = sections(study)["gallery"]
    assert [(film.finding, film.outcome) for film in gallery.films] == SHOWN
    assert [bool(film.outline) for film in gallery.films] == [True, True, False]
    assert gallery.outlined
    assert [film.row.outcome for film in gallery.films] == ["found", "missed", "wrongly called"]
    assert all(film.picture.startswith("data:image/jpeg;base64,") for film in gallery.films)


def test_a_finding_without_a_threshold_is_never_called_and_not_missed(study: Path) -> None:
    gallery = sections(study)["gallery"]
    assert [row.outcome for film in gallery.films for row in film.rows if row.finding == EVIL] == [
        "never called"
    ] * len(SHOWN)
    assert [film.missed for film in gallery.films] == [
        [finding] if outcome == "false negative" else [] for finding, outcome in SHOWN
    ]


def test_the_page_says_it_all_and_what_data_smuggle_stays_inert(
    study: Path, plain: Callable[[str], str], parsed: Callable[[str], Any]
) -> None:
    write_localisation(study, [model(EVIL, 0.4, 0.1)])
    text = study_page(read_study_folder(study))
    words, page = plain(text), parsed(text)
    for said in SAID:
        assert said.casefold() in words.casefold(), said
    assert EVIL not in text
    assert EVIL in words
    assert not page.handlers
    assert all(load.startswith("data:") for load in page.loads if load)
    assert page.ids.count("gallery") == page.ids.count("localisation") == 1


def test_numbers_are_tables_that_are_written_as_csv(study: Path) -> None:
    models, findings = sections(study)["localisation_tables"]
    assert (
        models.csv()
        .splitlines()[0]
        .startswith("model,network,hit_rate,hit_rate_low,hit_rate_high,control_hit_rate")
    )
    assert len(models.rows) == 2
    assert [row[0].text for row in findings.rows] == ["Edema", "Fracture"]


def test_a_model_without_heatmaps_is_named_with_the_reason(study: Path) -> None:
    lame = {
        "model": "ViT",
        "backbone": "vit",
        "fraction": 1.0,
        "reason": "no layer of this model has a map",
    }
    write_localisation(study, [lame, model("MoCo", 0.4, 0.1)])
    where = sections(study)["localisation"]
    assert where.best == "MoCo"
    assert "no layer" in where.models.rows[0][0].small
    write_localisation(study, [lame])
    assert sections(study)["localisation"].reason == "no model has heatmaps."


def test_without_masks_the_reason_stands_on_the_page(
    study: Path, plain: Callable[[str], str]
) -> None:
    write_localisation(study, [], reason=f"no masks are at hand {EVIL}")
    text = study_page(read_study_folder(study))
    assert "Not scored: no masks are at hand" in plain(text)
    assert EVIL not in text


def test_a_study_that_was_not_explained_has_no_such_part(
    write_study_of: Callable[..., Path], parsed: Callable[[str], Any]
) -> None:
    folder = write_study_of()
    assert sections(folder) == {"gallery": None, "localisation": None, "localisation_tables": []}
    assert "gallery" not in parsed(study_page(read_study_folder(folder))).ids


@pytest.mark.parametrize("name", ["explained/gallery.json", "localisation.json"])
@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"films": [{}], "models": [{}], "reason": null}']
)
def test_damaged_files_are_one_line(study: Path, name: str, content: str) -> None:
    (study / name).write_text(content)
    with pytest.raises(RunError) as caught:
        sections(study)
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_named(study: Path) -> None:
    (study / "explained" / "0-overlay.png").unlink()
    with pytest.raises(DataError, match=r"0-overlay.png cannot be read"):
        sections(study)


def test_no_picture_is_taken_from_elsewhere(study: Path) -> None:
    path = study / "explained" / "gallery.json"
    (study / "secret.png").write_bytes((study / "explained" / "0-film.png").read_bytes())
    path.write_text(path.read_text().replace("0-film.png", "../secret.png"))
    with pytest.raises(DataError, match=r"secret.png cannot be read"):
        sections(study)


@pytest.mark.parametrize(
    ("hit", "control", "said"),
    [
        (0.4, 0.1, "40.0% of cases, those of random weights in 10.0%: 4.0 times as often"),
        (0.12, 0.1, "no difference shown"),
        (0.1, 0.3, "a difference of \u22120.200"),
        (0.4, 0.0, "a difference of +0.400"),
    ],
)
def test_the_verdict_says_what_the_paired_interval_shows(
    hit: float, control: float, said: str
) -> None:
    assert said in verdict(record_of(model("MoCo", hit, control)), 0.05)
    assert verdict(record_of(model("MoCo", hit, control)), 0.05).endswith(
        "the hit rate of pointing at the usual location."
    )
    assert "times as often" not in verdict(record_of(model("MoCo", 0.1, 0.3)), None)


def test_the_verdict_says_why_there_is_none() -> None:
    one = model("MoCo", 0.4, 0.1)
    one["hit_rate"]["overall"] = estimate(None)
    assert verdict(record_of(one), 0.05) == "The hit rate is not available: too few."


def test_the_chart_marks_model_control_and_chance_and_says_what_is_missing() -> None:
    rows = [
        HitRow("Edema", Measured(0.5, 0.4, 0.6), Measured(0.1), 0.05),
        HitRow("Mass", Measured(None), Measured(None), None),
    ]
    drawn = str(hits_chart(rows, "MoCo", "random weights"))
    assert "Edema, MoCo: 50.0% [40.0% to 60.0%]" in drawn
    assert "Edema, random weights: 10.0%" in drawn
    assert drawn.count("not available") == 1
