"""A pretraining run's page: what its log tells, however much of it there is, and the crops that the method saw."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.errors import DataError, RunError
from hilum.pages.charts.crop_grid import crop_picture
from hilum.pages.pages import run_page
from hilum.pages.read import read_run
from hilum.pages.run import training_curves
from hilum.training import collapse as health
from hilum.training.run_folder import read_log
from hilum.workflows.train.crop_grid import crop_grid

Parsed = Callable[[str], Any]
Plain = Callable[[str], str]
EVIL = '<b onclick="x">Edema</b>'
HEALTH = {"embedding_std": 0.8, "mean_cosine": 0.1, "effective_rank": 40.0, "feature_rank": 90.0}
PROBE = {
    "films": 64,
    "knn": 0.61,
    "linear": 0.68,
    "findings": {"Edema": {"knn": 0.7, "linear": 0.81}},
}
ADVICE = "Start again in another --out with a lower --train.lr, such as 0.0001."


def log(run: Path, events: Iterable[Mapping[str, Any]], keep: bool = True) -> None:
    """Add events to a run's log, or put them in its place."""
    old = (run / "log.jsonl").read_text("utf-8") if keep else ""
    (run / "log.jsonl").write_text(
        old + "".join(json.dumps(event) + "\n" for event in events), "utf-8"
    )


def watched() -> list[dict[str, Any]]:
    return [
        *(
            {"event": "health", "step": step, **HEALTH, "prototypes_used": 31.5}
            for step in (0, 2, 3)
        ),
        *({"event": "online-probe", "step": step, **PROBE} for step in (2, 3)),
    ]


def titles(page: str) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", page)


@pytest.fixture
def run(demo_folder: Path, tmp_path: Path, forget_hashes: Callable[[Path], None]) -> Path:
    """A copy of a pretraining run that a test may spoil, with steps and chance alone in its log."""
    folder = shutil.copytree(demo_folder / "runs" / "moco-pretrain", tmp_path / "moco")
    forget_hashes(folder)
    bare = [event for event in read_log(folder) if event.get("event", "chance") == "chance"]
    log(folder, bare, keep=False)
    return folder


def test_a_bare_run_has_the_charts_of_its_steps_each_with_how_to_read_it(
    run: Path, parsed: Parsed
) -> None:
    page = run_page(run)
    assert titles(page) == ["Loss", "Learning rate", "Gradient norm", "Pace", "Waiting for films"]
    assert page.count("<figcaption>") == page.count("<figure") == 6  # with the crops
    assert not {"monitor", "probe"} & set(parsed(page).ids)
    assert "the watch found nothing" not in page


def test_a_watched_run_has_curves_of_health_and_probe_and_the_last_look(
    run: Path, parsed: Parsed, plain: Plain
) -> None:
    log(run, watched())
    page = run_page(run)
    assert titles(page)[5:] == [
        "Spread of the embeddings",
        "Similarity of different films",
        "Effective rank",
        "Prototypes used",
        "AUROC of the frozen features",
        "AUROC of each finding, last measurement",
    ]
    assert {"monitor", "probe", "crops"} <= set(parsed(page).ids)
    assert "The collapse monitor measured the embeddings 3 times and gave no warning" in plain(page)
    assert "At step 3, on 64 films." in plain(page)
    assert re.search(r"Edema</th><td class=\"n\">0\.700</td><td class=\"n\">0\.810<", page)
    for name in ("kNN", "linear", "embeddings", "features"):
        assert re.search(rf'<i class="s[01]"></i>{name}</li>', page)


def test_warnings_stand_at_the_top_in_the_order_of_their_steps(run: Path, plain: Plain) -> None:
    lines = {
        9: f"step 9: the network is collapsing & falling. {ADVICE}",
        4: f"step 4: nothing is learnt. {ADVICE}",
    }
    log(
        run,
        [
            *watched(),
            *({"event": "warning", "step": n, "kind": "chance", "line": lines[n]} for n in lines),
        ],
    )
    text = plain(run_page(run))
    top = text.partition("Training curves")[0]
    assert "2 warnings of the collapse monitor" in top
    assert top.index(lines[4]) < top.index(lines[9])
    assert "gave no warning" not in text
    assert "<code>--train.lr</code>, such as" in run_page(run)


def test_where_a_run_went_on_is_said(run: Path, plain: Plain) -> None:
    assert "was interrupted" not in run_page(run)
    log(run, [{"event": "resumed", "step": 1200}, {"event": "resumed", "step": 3}])
    assert "The run was interrupted and continued at step 3 and 1,200." in plain(run_page(run))


def test_a_fine_tuned_run_has_its_validation_curve_and_no_crops(
    demo_folder: Path, parsed: Parsed
) -> None:
    page = run_page(demo_folder / "runs/moco-100-ignore-seed-0")
    assert titles(page)[:2] == ["Loss", "Validation"]
    assert "crops" not in parsed(page).ids
    assert read_run(demo_folder / "runs/moco-100-ignore-seed-0").curve("score", "validation")


@pytest.mark.parametrize(
    "lacking", ["embedding_std", "mean_cosine", "effective_rank", "feature_rank"]
)
def test_what_a_look_lacks_is_left_out(run: Path, lacking: str) -> None:
    event = {"event": "health", "step": 2, **HEALTH}
    del event[lacking]
    log(run, [event])
    drawn = [chart.title for chart in training_curves.monitor_charts(read_run(run))]
    gone = {
        "embedding_std": "Spread of the embeddings",
        "mean_cosine": "Similarity of different films",
    }
    assert gone.get(lacking) not in drawn
    assert len(drawn) == (2 if lacking in gone else 3)


@pytest.mark.parametrize(
    "odd",
    [
        {"event": "health", "step": 2},
        {
            "event": "health",
            "step": 2,
            "embedding_std": None,
            "mean_cosine": "0.2",
            "effective_rank": True,
        },
        {"event": "health", "step": None, "embedding_std": 0.2},
        {"event": "online-probe", "step": 2},
        {
            "event": "online-probe",
            "step": 2,
            "films": None,
            "knn": None,
            "linear": None,
            "findings": {"Edema": 3},
        },
        {"event": "online-probe", "step": 2, "findings": {"Edema": {"knn": None}}},
        {"event": "online-probe", "step": 2, "findings": []},
        {"event": "warning", "step": 2},
        {"event": "chance", "step": 0, "value": None},
        {"event": "validation", "step": 2, "score": None},
        {"step": 2, "loss": None, "lr": None},
        {"step": 2},
        {"event": "of a later version", "step": 2},
    ],
)
def test_odd_or_missing_values_leave_a_page(run: Path, odd: dict[str, Any], parsed: Parsed) -> None:
    log(run, [odd])
    assert parsed(run_page(run)).open == []
    log(run, [odd], keep=False)
    assert parsed(run_page(run)).open == []


def test_a_finding_that_a_probe_could_not_score_is_said(run: Path) -> None:
    log(
        run,
        [
            {
                "event": "online-probe",
                "step": 2,
                **PROBE,
                "findings": {"Mass": {"knn": None, "linear": 0.5}},
            }
        ],
    )
    look = training_curves.online_probe(read_run(run))
    assert look is not None
    assert look.rows == (("Mass", "not available", "0.500"),)


def test_a_run_of_an_older_version_has_a_page(run: Path, parsed: Parsed) -> None:
    (run / "crops.png").unlink()
    log(run, [{"step": step, "loss": 5.0 - step} for step in (1, 2, 3)], keep=False)
    page = run_page(run)
    assert titles(page) == ["Loss"]
    assert "chance" not in re.findall(r"<text[^>]*>(.*?)</text>", page)
    assert "crops" not in parsed(page).ids


def test_a_damaged_log_is_one_line(run: Path) -> None:
    (run / "log.jsonl").write_text("[1]\n", "utf-8")
    with pytest.raises(RunError, match="is damaged in line 1"):
        run_page(run)


def test_text_of_the_log_is_escaped(run: Path, parsed: Parsed) -> None:
    warning = {
        "event": "warning",
        "step": 1,
        "kind": "chance",
        "line": f"step 1: {EVIL} --train.{EVIL}",
    }
    log(
        run,
        [
            warning,
            {
                "event": "online-probe",
                "step": 2,
                **PROBE,
                "findings": {EVIL: {"knn": 0.5, "linear": 0.5}},
            },
        ],
    )
    found = parsed(run_page(run))
    assert found.words.count(EVIL) == 3
    assert not found.handlers
    assert "b" not in found.tags


def test_a_long_run_says_what_its_bands_are(run: Path) -> None:
    assert "pale band" not in run_page(run)
    log(run, [{"step": step, "loss": 4.0, "lr": 1e-3} for step in range(10, 20_000, 10)])
    assert "pale band" in run_page(run)
    assert len(run_page(run)) < 2_000_000


def test_the_watchs_levels_are_those_drawn() -> None:
    for name in ("LEAST_STD", "HIGHEST_COSINE", "LEAST_RANK", "LEAST_DEVIATION"):
        assert getattr(training_curves, name) == getattr(health, name)


def test_the_page_has_the_runs_own_picture_of_crops(run: Path, parsed: Parsed) -> None:
    (address,) = [one for one in parsed(run_page(run)).loads if one.startswith("data:image/png")]
    assert address == crop_picture((run / "crops.png").read_bytes(), "crops.png").address


@pytest.mark.parametrize(
    ("crops", "labels"),
    [
        ([64, 64], ["whole film", "crops"]),
        ([64, 64, *[24] * 6], ["whole film", "large crops", "small crops"]),
        ([64, 32, 16], ["whole film", "crops 1", "crops 2", "crops 3"]),
    ],
)
def test_labels_stand_above_their_groups(crops: list[int], labels: list[str]) -> None:
    pictures = [np.full((6, size, size), 120, np.uint8) for size in (64, *crops)]
    grid = crop_grid(pictures)
    found = crop_picture(cv2.imencode(".png", grid)[1].tobytes(), "crops.png")
    assert [label for label, _ in found.groups] == labels
    assert sum(width for _, width in found.groups) == found.width == grid.shape[1]
    start = 0
    for _, width in found.groups:
        assert grid[0, start, 3] == 255
        assert start == 0 or not grid[:, start - 8 : start, 3].any()
        start += width


@pytest.mark.parametrize(
    "data", [b"", b"no image", cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()]
)
def test_a_damaged_picture_of_crops_is_one_line(run: Path, data: bytes) -> None:
    (run / "crops.png").write_bytes(data)
    with pytest.raises(DataError, match=r"crops\.png is not the picture that pretraining wrote"):
        run_page(run)
