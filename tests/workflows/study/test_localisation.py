"""Where a study's models look, in miniature: on phantoms against masks, on an NIH layout against boxes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from heard import Heard

from hilum.annotations.known import (
    STAND_INS,
    MaskAnnotations,
    annotations_of,
    outputs_for,
    shown_findings,
)
from hilum.annotations.mask_files import read_masks
from hilum.errors import DataError
from hilum.files import read_hashed_json
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.evaluate.localisation import Judge
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.study.localisation import best_cells, explain_study, unseen_rows
from hilum.workflows.study.record import StudyCell, StudyRecord, StudyStore, read_study, write_study
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

SIZE = 32


def make_study(
    folder: Path,
    store: Path,
    runs: Sequence[tuple[str, Path]],
    truth: Sequence[Path] = (),
    **changes: object,
) -> Path:
    """Write the record of a study whose runs were made elsewhere; the first model is the best on validation films."""
    cells = []
    for place, (model, run) in enumerate(runs):
        shutil.copytree(run, folder / "runs" / f"cell{place}")
        cells.append(
            StudyCell(
                id=f"cell{place}",
                kind="finetune",
                model=model,
                backbone="test_resnet",
                fraction=1.0,
                policy="ignore",
                seed=0,
                lr=1e-3,
                chosen=True,
                run=f"runs/cell{place}",
                state="done",
                validation_auroc=0.9 - 0.1 * place,
            )
        )
    opened = Store.open(store)
    record = StudyRecord(
        folder=folder, hilum="0", versions={}, machine={}, reference=cells[0].model if cells else "none", finished=True,
        stores=(StudyStore(store, opened.source, opened.fingerprint),),
        plan={"annotations": [str(root) for root in truth]},
        cells=tuple(cells),
    )  # fmt: skip
    folder.mkdir(exist_ok=True, parents=True)
    write_study(replace(record, **changes))
    return folder


def train(store: Path, out: Path, seed: int) -> Path:
    options = FinetuneTrainOptions(
        min_steps=0, epochs=1, batch_size=16, accelerator="cpu", seed=seed
    )
    finetune(
        FinetuneOptions(data=(store,), out=out, backbone="test_resnet", patience=0, train=options)
    )
    return out


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "drawn"
    write_phantoms(root, PhantomOptions(count=220, size=48, seed=1, prevalence="even"))
    return root


@pytest.fixture(scope="module")
def store(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom-store") / "store"
    prepare(read_source("chexpert", phantoms), out, PrepareOptions(size=SIZE))
    return out


@pytest.fixture(scope="module")
def runs(
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    give_thresholds: Callable[[Path], None],
) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        ("MoCo", train(store, folder / "a", 0)),
        ("from <scratch>", train(store, folder / "b", 1)),
    ]
    for _, run in runs:  # the gallery shows called findings; these runs are too short to learn any
        give_thresholds(run)
    return runs


@pytest.fixture(scope="module")
def explained(
    store: Path,
    phantoms: Path,
    runs: list[tuple[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = make_study(tmp_path_factory.mktemp("study") / "study", store, runs, [phantoms])
    explain_study(folder, device="cpu")
    return folder


def told(folder: Path) -> dict:
    content, hashed = read_hashed_json(folder / "localisation.json")
    assert hashed
    return content


def test_every_model_is_scored_against_masks_beside_its_control(
    explained: Path, store: Path
) -> None:
    found = told(explained)
    assert (found["reason"], found["truth"]["kind"], found["parts"]) == (None, "masks", ["test"])
    assert [one["model"] for one in found["models"]] == ["MoCo", "from <scratch>"]
    assert 0 < found["films"] <= len(unseen_rows(Films.open([store]))[0])
    mine, other = found["models"]
    assert mine["control"] == other["control"]  # one network, one control
    for one in found["models"]:
        assert one["layer"].startswith("Grad-CAM at ")
        for name in ("hit_rate", "iou"):
            value, control = (entry[name]["overall"]["value"] for entry in (one, one["control"]))
            assert 0 <= value <= 1
            assert one["difference"][name]["overall"]["value"] == pytest.approx(value - control)
        beyond = one["hit_rate"]["overall"]["value"] - found["chance"]["overall"]["value"]
        assert one["beyond_chance"]["overall"]["value"] == pytest.approx(beyond)
        own, habit = (one[name]["overall"]["value"] for name in ("hit_rate", "habit"))
        assert one["beyond_habit"]["overall"]["value"] == pytest.approx(own - habit)
    assert sum(found["maps"].values()) >= found["films"]
    assert "No Finding" not in found["maps"]


def test_chance_is_the_share_of_the_masks(explained: Path, store: Path, phantoms: Path) -> None:
    opened, rows = Store.open(store), unseen_rows(Films.open([store]))[0]
    shares = []
    for path in opened.catalog["path"].iloc[rows]:
        mask = read_masks((phantoms / "masks" / path).with_suffix(".png"))["Cardiomegaly"]
        shares += [mask.mean()] if mask.any() else []
    assert told(explained)["chance"]["findings"]["Cardiomegaly"]["value"] == pytest.approx(
        np.mean(shares)
    )
    assert told(explained)["maps"]["Cardiomegaly"] == len(shares)


def test_the_gallery_shows_the_best_model_and_names_no_patient(
    explained: Path, store: Path
) -> None:
    text = (explained / "explained" / "gallery.json").read_text("utf-8")
    found, opened = json.loads(text), Store.open(store)
    assert found["model"] == "MoCo"
    assert found["films"]
    assert "patient" not in text.replace("not a medical device", "")
    for film in found["films"]:
        labels = dict(zip(opened.findings, opened.labels[film["row"]].tolist(), strict=True))
        assert len(film["findings"]) == 14
        chances = [one["probability"] for one in film["findings"]]
        assert chances == sorted(chances, reverse=True)
        for one in film["findings"]:
            assert {"present": 1.0, "absent": 0.0}[one["label"]] == labels[one["finding"]]
            assert one["called"] == (
                one["threshold"] is not None and one["probability"] >= one["threshold"]
            )
            missed = one["present"] and not one["called"] and one["threshold"] is not None
            assert (one["finding"] in film["missed"]) == missed
            assert (one["finding"] in film["false_calls"]) == (one["called"] and not one["present"])
        own = next(one for one in film["findings"] if one["finding"] == film["finding"])
        assert film["outcome"] == f"{str(own['called'] == own['present']).lower()} " + (
            "positive" if own["called"] else "negative"
        )
        assert (film["pictures"]["mask"] is not None) == own["present"]
        for name in film["pictures"].values():
            assert name is None or (explained / "explained" / name).is_file()


def test_again_it_gives_the_same_bytes(explained: Path) -> None:
    files = [explained / "localisation.json", *sorted((explained / "explained").iterdir())]
    before = [file.read_bytes() for file in files]
    explain_study(explained, device="cpu")
    assert [file.read_bytes() for file in files] == before
    assert sorted((explained / "explained").iterdir()) == files[1:]


def test_without_masks_the_gallery_is_made_and_the_reason_said(
    store: Path, runs: list[tuple[str, Path]], tmp_path: Path
) -> None:
    listener = Heard()
    folder = make_study(tmp_path / "study", store, runs[:1])
    explain_study(folder, listener, device="cpu")
    assert "--annotations" in told(folder)["reason"]
    assert any("not scored" in line for line in listener.notes)
    films = json.loads((folder / "explained" / "gallery.json").read_text("utf-8"))["films"]
    assert films
    assert all(film["pictures"]["mask"] is None for film in films)


def test_phantoms_below_the_study_are_found_without_being_named(
    store: Path, phantoms: Path, runs: list[tuple[str, Path]], tmp_path: Path
) -> None:
    folder = make_study(tmp_path / "study", store, runs[:1])
    shutil.copytree(phantoms, folder / "phantoms")
    explain_study(folder, device="cpu")
    assert told(folder)["reason"] is None


def test_a_study_without_a_finished_run_says_so(store: Path, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", store, [])
    explain_study(folder, device="cpu")
    assert told(folder) == {"format": 1, "reason": "no fine-tuning has finished", "models": []}
    assert not (folder / "explained").exists()


def test_the_best_is_chosen_by_validation_at_the_largest_share(
    store: Path, runs: list[tuple[str, Path]], tmp_path: Path
) -> None:
    record = read_study(make_study(tmp_path / "study", store, runs))
    a, b = record.cells
    few = replace(a, id="few", fraction=0.1, validation_auroc=0.99)
    later = replace(b, id="later", seed=1, validation_auroc=0.95)
    waiting = replace(a, id="waiting", state="failed", validation_auroc=None)
    policy = replace(b, id="policy", group="policies", validation_auroc=0.99)
    changed = replace(record, cells=(few, a, b, later, waiting, policy))
    assert [cell.id for cell in best_cells(changed)] == ["later", "cell0"]


def test_phantoms_of_another_seed_are_not_taken_for_these(
    store: Path, phantoms: Path, tmp_path: Path
) -> None:
    write_phantoms(tmp_path / "other", PhantomOptions(count=9, size=48, seed=2, prevalence="even"))
    opened = Store.open(store)
    assert "does not hold the films" in annotations_of(opened, [tmp_path / "other"])
    assert "does not hold the films" in annotations_of(opened, [tmp_path / "gone"])
    assert annotations_of(opened, [tmp_path / "other", phantoms]) == MaskAnnotations(phantoms)
    assert "--annotations" in annotations_of(opened, [])


def test_films_are_drawn_by_the_seed_among_those_that_show_something(
    store: Path, phantoms: Path
) -> None:
    opened = Store.open(store)
    rows, places = np.arange(len(opened)), MaskAnnotations(phantoms)
    few = shown_findings(opened, rows, places, opened.findings, 5, 0)
    assert len({one.row for one in few}) == 5
    assert [one.row for one in few] == [
        one.row for one in shown_findings(opened, rows, places, opened.findings, 5, 0)
    ]
    assert [one.row for one in few] != [
        one.row for one in shown_findings(opened, rows, places, opened.findings, 5, 1)
    ]
    assert all(one.mask.any() for one in few)
    only = shown_findings(opened, rows, places, ["Edema"], 1000, 0)
    assert {one.finding for one in only} == {"Edema"}


def test_an_unknown_finding_is_asked_of_those_that_stand_in_for_it() -> None:
    assert outputs_for("Edema", ["Mass", "Edema"]) == [1]
    assert outputs_for("Lung Opacity", ["Pneumonia", "Edema", "Infiltration"]) == [2, 0]
    assert outputs_for("Lung Opacity", ["Pneumonia", "Lung Opacity"]) == [1]
    assert outputs_for("Fracture", ["Edema"]) == []
    assert STAND_INS["Lung Opacity"] == ("Consolidation", "Infiltration", "Pneumonia")


def draw_nih(root: Path, films: int) -> None:
    """Write noise films of two a patient, with a bright square where a finding is, and boxes around a part of them."""
    rng, lines, boxes, opacities = np.random.default_rng(0), [], [], []
    (root / "images").mkdir(parents=True)
    for film in range(films):
        name = f"{film // 2:08d}_{film % 2:03d}.png"
        image = rng.integers(0, 60, (64, 64)).astype(np.uint8)
        found = [finding for finding in ("Cardiomegaly", "Pneumonia") if rng.random() < 0.5]
        for place, finding in ((8, "Cardiomegaly"), (40, "Pneumonia")):
            if finding in found:
                image[place : place + 16, place : place + 16] += 120
        if "Cardiomegaly" in found:
            boxes.append(f"{name},Cardiomegaly,128,128,256,256")
        if "Pneumonia" in found:
            opacities.append(f"{name},Lung Opacity,640,640,256,256,1024")
        cv2.imwrite(str(root / "images" / name), image)
        lines.append(f"{name},{'|'.join(found) or 'No Finding'},{film % 2},{film // 2},50,M,PA")
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    )
    tables = {
        "Data_Entry_2017_v2020.csv": [header, *lines],
        "BBox_List_2017.csv": ["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes],
        "rsna_boxes.csv": ["Image Index,label,x,y,w,h,frame_px", *opacities],
        "train_val_list.txt": [line.split(",")[0] for line in lines[: films * 3 // 4]],
        "test_list.txt": [line.split(",")[0] for line in lines[films * 3 // 4 :]],
    }
    for name, rows in tables.items():
        (root / name).write_text("\n".join(rows) + "\n")


@pytest.fixture
def nih(tmp_path: Path) -> tuple[Path, Path]:
    draw_nih(tmp_path / "nih", 120)
    prepare(read_source("nih14", tmp_path / "nih"), tmp_path / "store", PrepareOptions(size=SIZE))
    return tmp_path / "nih", tmp_path / "store"


def test_on_an_nih_layout_boxes_are_the_truth_and_opacity_is_stood_in_for(
    nih: tuple[Path, Path], tmp_path: Path
) -> None:
    root, store = nih
    run = train(store, tmp_path / "run", 0)
    folder = make_study(tmp_path / "study", store, [("MoCo", run)], [root])
    explain_study(folder, device="cpu")
    found = told(folder)
    assert (found["reason"], found["truth"]["kind"]) == (None, "boxes")
    assert set(found["maps"]) == {"Cardiomegaly", "Lung Opacity"}
    assert found["truth"]["stand_ins"] == {
        "Lung Opacity": ["Consolidation", "Infiltration", "Pneumonia"]
    }
    assert "RSNA" in found["truth"]["said"]
    for name in found["maps"]:  # a quarter of each side
        assert found["chance"]["findings"][name]["value"] == pytest.approx(1 / 16)


def test_damaged_boxes_are_one_line(nih: tuple[Path, Path]) -> None:
    root, store = nih
    with (root / "BBox_List_2017.csv").open("a") as table:
        table.write("x.png,Cardiomegaly,1,2\n")
    with pytest.raises(DataError, match="is no box"):
        annotations_of(Store.open(store), [root])


def test_the_other_map_is_of_another_patient_and_of_the_same_view_where_there_is_one(
    store: Path, phantoms: Path
) -> None:
    opened = Store.open(store)
    shown = shown_findings(
        opened, np.arange(len(opened)), MaskAnnotations(phantoms), ["Edema"], 1000, 0
    )
    judge, table = Judge.of(opened, shown, 5, 0), opened.catalog.iloc[[one.row for one in shown]]
    everyone = list(range(len(shown)))
    for number in everyone:
        other = judge._other(everyone, number)
        assert table["patient"].iloc[other] != table["patient"].iloc[number]
        assert table["view_position"].iloc[other] == table["view_position"].iloc[number]
    assert judge._other([3], 0) == 0
