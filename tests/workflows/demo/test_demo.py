"""The demo in miniature: films drawn, prepared and studied in one folder; continued, left alone, refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from heard import Heard
from study_plans import tiny_plan, weights

from hilum.errors import OptionError, RunError
from hilum.images.store import Store
from hilum.pages.pages import write_report
from hilum.workflows.demo.demo import (
    ARCHIVE_FILMS,
    ARCHIVE_STORE,
    PREDICTIONS,
    STORE,
    DemoFilms,
    DemoOptions,
    demo,
)
from hilum.workflows.study.plan import StudyPlan
from hilum.workflows.study.study import StudyResult

FILMS = DemoFilms(films=100, drawn_size=32, size=32)


def plan(out: Path) -> StudyPlan:
    return tiny_plan(out / STORE, out, fractions=(0.2, 1.0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    out = tmp_path_factory.mktemp("demo") / "demo"
    return demo(DemoOptions(out=out, seed=1), plan(out), films=FILMS)


def test_it_studies_two_models_on_two_shares_and_ends_in_a_page(finished: StudyResult) -> None:
    assert [(model.model, model.fraction) for model in finished.models] == [
        ("MoCo", 0.2), ("MoCo", 1.0), ("from scratch", 0.2), ("from scratch", 1.0),
    ]  # fmt: skip
    assert all(0 <= model.auroc_macro <= 1 for model in finished.models)
    assert not finished.already_done
    page = write_report(finished.record.folder)
    assert page.kind == "study"
    assert page.report.read_text("utf-8").startswith("<!doctype html>")
    json.dumps(finished.to_json())


def test_a_few_films_come_as_dicom_and_are_predicted(finished: StudyResult) -> None:
    out = finished.record.folder
    table = pd.read_csv(out / PREDICTIONS)
    store = Store.open(out / ARCHIVE_STORE)
    assert len(table) == len(store) == ARCHIVE_FILMS
    assert store.manifest["flagged"] == {}
    assert set(store.manifest["rows_excluded"]) == {
        "for processing",
        "second rendering of one exposure",
    }
    assert store.catalog["maker"].nunique() > 3
    assert (
        table.drop(columns=["film", "called", "looks_like"])
        .select_dtypes("number")
        .notna()
        .all(axis=None)
    )


def test_again_it_leaves_everything_alone(finished: StudyResult) -> None:
    out = finished.record.folder
    before, listener = weights(out), Heard()
    again = demo(DemoOptions(out=out, seed=1), plan(out), listener, FILMS)
    assert again.already_done
    assert again.models == finished.models
    assert "done already" in listener.notes[-1]
    assert weights(out) == before


def test_the_same_folder_by_another_path_is_the_same_demo(
    finished: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.record.folder.parent)
    out = Path(finished.record.folder.name)
    assert demo(DemoOptions(out=out, seed=1), plan(out), films=FILMS).already_done


def test_an_unfinished_demo_is_continued_to_the_same_end(
    finished: StudyResult, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    drawn = replace(FILMS, films=100)
    listener = Heard()
    shutil.copytree(finished.record.folder / "phantoms", out / "phantoms")
    shutil.copy(finished.record.folder / "demo.json", out)
    again = demo(DemoOptions(out=out, seed=1), plan(out), listener, drawn)
    assert again.models == finished.models
    assert weights(out) == weights(finished.record.folder)


@pytest.mark.parametrize(("seed", "films"), [(2, FILMS), (1, DemoFilms())])
def test_other_options_are_refused(finished: StudyResult, seed: int, films: DemoFilms) -> None:
    out = finished.record.folder
    with pytest.raises(RunError, match="demo with other options"):
        demo(DemoOptions(out=out, seed=seed), plan(out), films=films)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="something else than a demo"):
        demo(DemoOptions(out=tmp_path), plan(tmp_path), films=FILMS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with pytest.raises(OptionError, match="--seed is -1"):
        demo(DemoOptions(out=out, seed=-1), plan(out), films=FILMS)
    assert not out.exists()


def test_a_damaged_record_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match="run the demo again"):
        demo(DemoOptions(out=tmp_path, seed=1), plan(tmp_path), films=FILMS)


def test_a_plan_of_another_folder_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the plan is of"):
        demo(DemoOptions(out=tmp_path / "one"), plan(tmp_path / "two"), films=FILMS)
