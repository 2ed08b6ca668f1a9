"""What a data card says of stores whose labels, people, copies and parts are known."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from hilum.bundle.initialization import new_backbone
from hilum.catalog import Catalog, film_table
from hilum.duplicates import CopyOptions
from hilum.duplicates.copies import Copies, pair_table
from hilum.duplicates.stored import known_and_found, write_duplicates
from hilum.errors import DataError, OptionError, RunError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.images.store_writing import write_store
from hilum.listener import SILENT
from hilum.pages.card.sections import co_occurrence
from hilum.splits import Split
from hilum.workflows.card.card import CARD, SHOWN_AS, card
from hilum.workflows.card.model_features import Reader
from hilum.workflows.card.options import CardOptions
from hilum.workflows.card.pixels import before_and_after, grey_facts
from hilum.workflows.card.record import CardRecord
from hilum.workflows.card.statistics import age_facts, films_per_patient, prevalences

PATIENTS = ("Ann Roe", "Bob Poe", "Cy Doe", "Di Moe")
SIZE = 16


def made(
    root: Path,
    findings: tuple[str, ...] = ("Edema", "Hernia"),
    source: str = "here",
    seed: int = 0,
    **labels: Any,
) -> Path:
    """Write 12 films of 4 patients, of whom the second and the third are in train, with a copy from train to test."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (12, SIZE, SIZE)).astype(np.uint8)
    images[11] = images[3]
    labels = {
        "Edema": [1, 1, 1, 0, 0, 0, -1, -1, np.nan, np.nan, 0, 0],
        "Hernia": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        **labels,
    }
    rows = {
        "path": [f"patient{seed}/{number}.png" for number in range(12)],
        "patient": [PATIENTS[number // 3] for number in range(12)],
        "sex": ["F"] * 6 + ["M"] * 3 + [None] * 3,
        "age": [5, 15, 25, 35, 45, 55, 65, 75, 95, 400, np.nan, np.nan],
        "view_position": ["PA"] * 11 + ["LATERAL"],
        **{name: labels[name] for name in findings},
    }
    notes = (
        f"1 value of 'sex' dropped, first '{PATIENTS[0]}'",
    )  # what a source says may quote a cell
    catalog = Catalog(
        source, root, findings, film_table(pd.DataFrame(rows), findings), 12, notes=notes
    )
    sizes = [(100, 80)] * 8 + [(64, 64)] * 3 + [None]
    write_store(root, catalog, images, Preparation(SIZE), sizes)
    parts = {"train": PATIENTS[1:3], "val": PATIENTS[:1], "test": PATIENTS[3:], "official-test": ()}
    Split("patient", 0, parts).save(root)
    return root


def told(out: Path, *stores: Path, **options: Any) -> dict[str, Any]:
    """Make a card and return what it says."""
    few = {"resamples": 20, "min_positives": 1, **options}
    return dict(json.loads(card(stores, CardOptions(out=out, **few)).card.read_bytes()))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("card")
    return told(folder / "out", made(folder / "store"))


def test_labels_are_counted_and_policies_give_their_own_prevalence(said):
    edema = said["columns"][0]["labels"]["Edema"]
    assert [edema[kind] for kind in ("present", "absent", "uncertain", "not_stated")] == [
        3,
        5,
        2,
        2,
    ]
    assert edema["patients_present"] == 1
    found = edema["prevalence"]
    assert found["zeros"] == 3 / 12
    assert found["ones"] == 5 / 12
    assert found["ignore"] == 3 / 10
    assert found["multiclass"] == 3 / 12
    assert found["stated only"] == 3 / 8
    assert found["smooth"] == pytest.approx((3 + 2 * 0.7) / 12)


def test_a_finding_without_a_label_that_counts_has_no_prevalence():
    assert prevalences(np.full(4, -1, np.float32))["ignore"] is None


def test_what_occurs_together_is_counted_on_films(said):
    assert said["columns"][0]["together"] == {
        "findings": ["Edema", "Hernia"], "films": [[3, 2], [2, 2]], "of": [[3, 3], [2, 2]], "none_present": 9,
    }  # fmt: skip


def test_people_are_counted(said):
    column = said["columns"][0]
    assert column["patients"] == 4
    assert column["sexes"] == {"F": 6, "M": 3, "not stated": 3}
    assert column["views"] == {"AP": 0, "LATERAL": 1, "PA": 11, "not stated": 0}
    assert column["studies"] is None
    assert (column["ages"]["stated"], column["ages"]["unlikely"], column["ages"]["median"]) == (
        10,
        1,
        45,
    )
    assert [bar["films"] for bar in column["ages"]["bars"]] == [1, 1, 1, 1, 1, 1, 1, 1, 0, 1]


def test_films_of_a_patient_fall_into_bars():
    found = films_per_patient(np.repeat(np.arange(5), [1, 1, 2, 5, 60]))
    bars = {bar["films"]: bar["patients"] for bar in found["bars"]}
    assert {name: count for name, count in bars.items() if count} == {
        "1": 2,
        "2": 1,
        "4 to 5": 1,
        "51 or more": 1,
    }
    assert (found["median"], found["most"]) == (2, 60)


def test_ages_may_be_unknown():
    assert age_facts(np.full(3, np.nan))["median"] is None


def test_sizes_are_counted_where_they_are_known(said):
    sizes = said["columns"][0]["sizes"]
    assert (sizes["known"], sizes["different"], sizes["square"], sizes["shortest_side"]) == (
        11,
        2,
        3,
        [64, 80],
    )
    assert sizes["common"][0] == {"height": 100, "width": 80, "films": 8}


def test_grey_values_are_those_of_the_films(said, tmp_path):
    films = Store.open(made(tmp_path / "store")).read(np.arange(12))
    greys = said["columns"][0]["greys"]
    assert sum(greys["shares"]) == pytest.approx(1)
    assert greys["shares"][0] == pytest.approx((films < 8).mean())
    assert greys["mean"]["median"] == pytest.approx(np.median(films.mean(axis=(1, 2))), abs=1e-3)


def test_counting_grey_values_takes_little_memory(make_store, tmp_path):
    films = Films.open([make_store(tmp_path / "store", films=400, size=96)])
    tracemalloc.start()
    grey_facts(films, np.arange(400), 0, SILENT)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory < 8e6  # 8 bytes a pixel of all films were 29e6


def test_a_copy_between_parts_is_told(said):
    copies = said["copies"]
    assert (copies["exact"], copies["groups"], copies["films"], copies["straddling"]) == (
        1,
        1,
        2,
        1,
    )
    assert copies["pairs"][0]["exact_other_patient"] == 1
    assert copies["leaks"]["test"]["train"] == copies["leaks"]["train"]["test"] == 1
    assert copies["shown"][0]["films"] == [
        {"store": "here", "row": 3, "part": "train"}, {"store": "here", "row": 11, "part": "test"},
    ]  # fmt: skip


def test_parts_are_counted(said):
    parts = said["columns"][0]["parts"]
    assert [
        parts[name]["films"] for name in ("train", "val", "test", "official-test", "left_out")
    ] == [6, 3, 3, 0, 0]
    assert parts["val"]["present"] == {"Edema": 3, "Hernia": 2}
    assert said["patients"]["in_several_parts"] == 0


def test_no_patient_and_no_path_is_in_the_numbers_but_the_lists_name_films(tmp_path):
    told(tmp_path / "out", made(tmp_path / "store"))
    text = (tmp_path / "out" / CARD).read_text()
    assert not any(name in text for name in (*PATIENTS, "patient0/", str(tmp_path)))
    listed = pd.read_csv(tmp_path / "out" / "lists" / "copies.csv")
    assert listed[
        ["path_first", "part_first", "path_second", "part_second"]
    ].to_numpy().tolist() == [["patient0/3.png", "train", "patient0/11.png", "test"]]


def test_two_stores_have_a_column_each_and_one_together(tmp_path):
    stores = (
        made(tmp_path / "a"),
        made(tmp_path / "b", findings=("Hernia",), source="there", seed=1),
    )
    said = told(tmp_path / "out", *stores)
    assert [column["name"] for column in said["columns"]] == ["here", "there", "together"]
    assert [column["films"] for column in said["columns"]] == [12, 12, 24]
    together = said["columns"][2]["labels"]
    assert (together["Edema"]["present"], together["Edema"]["not_labelled"]) == (3, 12)
    assert "Edema" not in said["columns"][1]["labels"]
    assert together["Hernia"]["prevalence"]["zeros"] == 4 / 24
    assert [found["name"] for found in said["shortcuts"]] == ["here", "there", "together"]
    both = said["columns"][2]["together"]
    assert (both["findings"], both["films"]) == (["Edema", "Hernia"], [[3, 2], [2, 4]])
    assert both["of"] == [
        [3, 3],
        [2, 4],
    ]  # two films with Hernia come from a store that says nothing of Edema
    assert "Hernia, Edema: 100.0%" in str(
        co_occurrence(CardRecord.from_json(said).columns[2])["chart"]
    )


def test_the_pairs_of_a_stores_own_file_are_told_and_a_wrong_file_is_refused(tmp_path):
    store = Store.open(made(tmp_path / "store"))
    pair = pair_table([(2, 9, "near", 0.94)], np.arange(len(store)))
    path = write_duplicates(store, Copies(len(store), pair), CopyOptions())
    found = known_and_found(Films([store])).pairs
    assert (2, 9, "near") in set(
        found[["first", "second", "kind"]].itertuples(index=False, name=None)
    )
    assert told(tmp_path / "out", store.folder)["copies"]["films"] >= 2
    path.write_bytes(b"noise")
    with pytest.raises(DataError, match="delete it, or prepare the store again"):
        told(tmp_path / "other", store.folder)
    assert not (tmp_path / "other").exists()


def test_a_copy_between_stores_is_told(tmp_path):
    stores = made(tmp_path / "a"), made(tmp_path / "b", source="there")
    copies = told(tmp_path / "out", *stores)["copies"]
    between = [pair for pair in copies["pairs"] if pair["stores"] == ["here", "there"]]
    assert (
        sum(pair["exact"] for pair in between) + sum(p["exact"] for p in copies["pairs"][:1]) >= 12
    )
    assert copies["films"] == 24


def test_films_without_labels_are_not_probed(tmp_path):
    said = told(tmp_path / "out", made(tmp_path / "store", findings=()))
    reason = "no training film of another patient has a label that counts"
    assert said["shortcuts"] == [{"name": "here", "reason": reason, "seen": 0}]
    assert said["columns"][0]["labels"] == {}


def test_films_of_uncertain_labels_alone_are_not_probed(tmp_path):
    said = told(tmp_path / "out", made(tmp_path / "store", findings=("Edema",), Edema=[-1] * 12))
    assert (
        said["shortcuts"][0]["reason"]
        == "no training film of another patient has a label that counts"
    )


def test_a_part_without_films_is_not_probed(tmp_path):
    said = told(tmp_path / "out", made(tmp_path / "store"), split="official-test")
    assert said["shortcuts"][0]["reason"] == "no film is in the official-test split"


def test_equal_inputs_give_equal_bytes(tmp_path):
    made(tmp_path / "store")
    for name in ("a", "b"):
        told(tmp_path / name, tmp_path / "store")
    assert (tmp_path / "a" / CARD).read_bytes() == (tmp_path / "b" / CARD).read_bytes()


def test_a_card_is_made_once_and_another_is_refused(tmp_path):
    options = CardOptions(out=tmp_path / "out", resamples=20)
    store = made(tmp_path / "store")
    assert not card([store], options).already_done
    assert card([store], options).already_done
    with pytest.raises(RunError, match="options not the same"):
        card([store], replace(options, seed=1))


def test_no_work_list_is_left_of_a_card_that_was_not_finished(tmp_path):
    (tmp_path / "out" / "lists").mkdir(parents=True)
    (tmp_path / "out" / "lists" / "label-hints.csv").write_text("store,row\nother,1\n")
    told(tmp_path / "out", made(tmp_path / "store"))
    assert {path.name for path in (tmp_path / "out" / "lists").iterdir()} == {
        "copies.csv",
        "strangers.csv",
    }


def test_nothing_is_left_of_a_card_that_was_not_finished_but_what_the_new_one_says(tmp_path):
    store, out = made(tmp_path / "store"), tmp_path / "out"
    for name in (
        "lists/.copies.csv.1.part",
        "pictures/.mean-0.png.1.part",
        "pictures/hint-11.png",
        "pictures/mine.png",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("of another store")
    told(out, store)
    told(tmp_path / "fresh", store)
    left = {str(path.relative_to(out)) for path in out.rglob("*")}
    fresh = {str(path.relative_to(tmp_path / "fresh")) for path in (tmp_path / "fresh").rglob("*")}
    assert left - fresh == {"pictures/mine.png"}


def test_every_picture_is_cleared_by_its_name(small, tmp_path):
    card([small], CardOptions(out=tmp_path / "out", resamples=20, min_positives=2), "random")
    card(
        [made(tmp_path / "store")],
        CardOptions(out=tmp_path / "other", resamples=20, min_positives=2),
    )
    for out in (tmp_path / "out", tmp_path / "other"):
        assert {path.name.partition("-")[0] for path in (out / "pictures").iterdir()} <= set(
            SHOWN_AS
        )


def test_a_card_of_another_weights_file_of_that_name_is_another_card(tmp_path):
    store, weights, options = (
        made(tmp_path / "store"),
        tmp_path / "w.safetensors",
        CardOptions(out=tmp_path / "out"),
    )
    for seed, refused in ((0, False), (1, True)):
        save_file(new_backbone("resnet18", SIZE, seed).network.state_dict(), weights)
        with pytest.raises(RunError, match="from not the same") if refused else nullcontext():
            card([store], options, str(weights))


def test_weights_that_give_no_numbers_are_refused(tmp_path):
    state = {
        name: value * float("nan")
        for name, value in new_backbone("resnet18", SIZE, 0).network.state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        RunError,
        match=r"w\.safetensors has 3,136 values in conv1\.weight that are not finite",
    ):
        card(
            [made(tmp_path / "store")],
            CardOptions(out=tmp_path / "out"),
            str(tmp_path / "w.safetensors"),
        )


def test_a_folder_of_something_else_is_refused(tmp_path):
    store = made(tmp_path / "store")
    with pytest.raises(RunError, match="something else than a data card"):
        card([store], CardOptions(out=store))
    (tmp_path / "out" / "pictures").mkdir(parents=True)  # as a card that was broken off leaves it
    assert not card([store], CardOptions(out=tmp_path / "out", resamples=20)).already_done


def test_a_damaged_card_is_refused(tmp_path):
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(RunError, match="is damaged"):
        card([made(tmp_path / "store")], CardOptions(out=tmp_path))


def test_a_store_without_a_split_is_refused(tmp_path):
    store = made(tmp_path / "store")
    (store / "split.json").unlink()
    with pytest.raises(DataError, match="split"):
        card([store], CardOptions(out=tmp_path / "out"))


def test_values_that_cannot_work_are_refused():
    with pytest.raises(OptionError, match="--neighbours is 0"):
        CardOptions(out=Path("out"), neighbours=0)


def test_a_runs_features_give_a_work_list_and_an_auroc(small: Path, tmp_path: Path):
    options = CardOptions(
        out=tmp_path / "out", resamples=20, min_positives=2, label_issues=5, neighbours=10
    )
    card([small], options, "random")
    said = json.loads((tmp_path / "out" / CARD).read_bytes())
    assert (
        len(pd.read_csv(tmp_path / "out" / "lists" / "label-hints.csv"))
        == said["hints"]["labels"]
        <= 5
    )
    assert set(said["shortcuts"][0]["model"]) == {"Edema", "Mass"}
    assert said["shortcuts"][0]["seen"] == 0
    assert said["reader"]["kind"] == "random"


def test_a_linear_layer_learns_from_the_films_that_the_probes_learn_from(small: Path):
    films = Films.open([small])
    features = np.random.default_rng(0).normal(size=(len(films), 8)).astype(np.float32)
    reader = Reader("moco", "resnet18", features, None, (), np.zeros(len(films), np.bool_))
    rows, tested = np.arange(40), np.arange(40, 48)
    drawn = np.sort(np.random.default_rng(3).choice(rows, 20, replace=False))
    few, names = reader.scores(films, rows, tested, 3, learnt=20)
    np.testing.assert_array_equal(few, reader.scores(films, drawn, tested, 3)[0])
    assert not np.array_equal(few, reader.scores(films, rows, tested, 3)[0])
    assert names == ["Edema", "Mass"]


def test_films_that_a_run_learnt_from_do_not_speak_for_it(
    small: Path, finetuned: Path, tmp_path: Path
):
    options = CardOptions(out=tmp_path / "out", resamples=20, min_positives=2)
    card([small], options, str(finetuned))
    said = json.loads((tmp_path / "out" / CARD).read_bytes())
    assert said["reader"]["says"] == "the run's own classifier"
    assert said["shortcuts"][0]["model"] is not None
    swapped = Split.load(small)
    parts = {**swapped.parts, "train": swapped.parts["test"], "test": swapped.parts["train"]}
    store = tmp_path / "swapped"
    store.mkdir()
    for file in small.iterdir():
        (store / file.name).write_bytes(file.read_bytes())
    Split("patient", 0, parts).save(store)
    key = tmp_path / "hilum.key"  # the group's, under which the run knows its films
    key.write_bytes((small.parent / key.name).read_bytes())
    key.chmod(0o600)
    card([store], replace(options, out=tmp_path / "other"), str(finetuned))
    said = json.loads((tmp_path / "other" / CARD).read_bytes())
    assert said["shortcuts"][0]["seen"] > 0
    assert said["shortcuts"][0]["model"] is None


@pytest.fixture(scope="module")
def small(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("small") / "store", films=48, size=16)


@pytest.fixture(scope="module")
def finetuned(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hilum.workflows.train.finetune import finetune
    from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

    run = tmp_path_factory.mktemp("run") / "run"
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16)
    finetune(
        FinetuneOptions(data=(small,), out=run, backbone="test_resnet", patience=0, train=train)
    )
    return run


def test_films_before_enhancement_come_from_where_they_lie(
    tmp_path: Path, write_films: Callable[..., Store]
):
    store = write_films(tmp_path, Preparation(SIZE, "clahe", "pad"))
    ((before, after), *_) = before_and_after(store, np.array([0]), [tmp_path / "nowhere", tmp_path])
    assert (before[1], after[1]) == ("none", "clahe")
    assert before[0].shape == after[0].shape == (SIZE, SIZE)  # never at the size that it came in
    assert np.array_equal(after[0], store.read(np.array([0]))[0])
    assert not np.array_equal(before[0], after[0])
    assert before_and_after(store, np.array([0]), [tmp_path / "nowhere"]) == []


def test_films_that_are_not_enhanced_show_what_enhancing_would_do(
    tmp_path: Path, write_films: Callable[..., Store]
):
    store = write_films(tmp_path, Preparation(SIZE))
    (steps,) = before_and_after(store, np.array([0]), [])
    assert [name for _, name in steps] == ["none", "paper", "clahe"]


@pytest.fixture
def write_films() -> Callable[..., Store]:
    import cv2

    def write(root: Path, steps: Preparation) -> Store:
        film = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)
        cv2.imwrite(str(root / "a.png"), film)
        table = film_table(pd.DataFrame({"path": ["a.png"], "patient": ["p"]}), ())
        return write_store(
            root / "store", Catalog("here", root, (), table, 1), steps.apply(film)[None], steps
        )

    return write


def test_a_folder_of_originals_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--annotations is .*nothere, no folder: give"):
        told(tmp_path / "card", made(tmp_path / "store"), annotations=(tmp_path / "nothere",))
    assert not (tmp_path / "card").exists()
