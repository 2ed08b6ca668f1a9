"""The table of pseudo-labels, how cells are called and capped, and what a fine-tuning makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rehash import rehash

from hilum.bundle.model_folder import load_model
from hilum.bundle.predictor import Predictor
from hilum.bundle.training_manifest import were_seen
from hilum.errors import DataError, HilumError, OptionError, RunError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.labels import LabelOptions
from hilum.listener import SILENT, Listener
from hilum.metrics.precision_thresholds import Cut, Side
from hilum.metrics.results import Estimate
from hilum.splits import Split
from hilum.training.run_folder import PSEUDO_LABELS, read_log
from hilum.workflows.data.pseudo_label_table import PseudoLabels, once, read_pseudo_labels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.labelling import called, capped, class_counts_of, cuts_of, label_films
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions
from hilum.workflows.train.run import TrainingResult
from hilum.workflows.train.training_set import TrainingSet

FINDINGS = ("Edema", "Mass")


def cells(
    films: Films, rows: Any, finding: str = "Edema", value: float = 1.0, weight: float = 1.0
) -> pd.DataFrame:
    named = films.catalog[["source", "path"]].iloc[rows].reset_index(drop=True)
    return named.assign(
        finding=finding, value=value, weight=weight, probability=0.9, provenance="pseudo"
    )


def options(store: Path, out: Path, **more: Any) -> FinetuneOptions:
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=8, lr=3e-3, accelerator="cpu")
    given = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "fraction": 0.4,
        "train": train,
    }
    return FinetuneOptions(**{**given, **more})


def run(store: Path, out: Path, listener: Listener = SILENT, **more: Any) -> TrainingResult:
    return finetune(options(store, out, **more), listener)


def cut(present: float | None, absent: float | None) -> Cut:
    sides = (Side(value, 0.9, Estimate(0.95)) for value in (present, absent))
    return Cut(*sides)


@pytest.fixture(scope="module")
def films(tiny_store: Path) -> Films:
    return Films.open([tiny_store])


@pytest.fixture(scope="module")
def held_back(films: Films) -> np.ndarray:
    """Training films outside the first 0.4 of the patients."""
    subsets = Subsets.of(films)
    return np.setdiff1d(subsets.rows("train"), subsets.rows("train", 0.4))


def test_a_table_is_read_as_it_was_written(
    films: Films, held_back: np.ndarray, tmp_path: Path
) -> None:
    written = PseudoLabels(cells(films, held_back, weight=0.5), {"teacher": "ab", "round": 2})
    written.write(tmp_path / "deep" / PSEUDO_LABELS)
    read = read_pseudo_labels(tmp_path / "deep" / PSEUDO_LABELS)
    pd.testing.assert_frame_equal(read.cells, written.cells.astype(read.cells.dtypes))
    assert read.record == {"format": 1, "teacher": "ab", "round": 2}
    targets, weights = read.on(films, films.findings)
    assert (targets[held_back, 0] == 1).all()
    assert (weights[held_back, 0] == 0.5).all()
    assert np.isnan(targets).sum() == targets.size - len(held_back)
    assert (weights > 0).sum() == len(held_back)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda table: table.assign(value=1.5), "a value or probability outside 0 to 1"),
        (lambda table: table.assign(value=np.nan), "a null"),
        (lambda table: table.assign(weight=0.0), "a weight that is not above 0"),
        (lambda table: table.assign(weight=np.inf), "a weight that is not above 0"),
        (lambda table: table.assign(provenance="mine"), "an unknown provenance"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "a cell twice"),
    ],
)
def test_a_table_with_wrong_cells_is_refused(
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    line: str,
    films: Films,
    held_back: np.ndarray,
    tmp_path: Path,
) -> None:
    PseudoLabels(spoil(cells(films, held_back))).write(tmp_path / PSEUDO_LABELS)
    with pytest.raises(DataError, match=f"{PSEUDO_LABELS} holds {line}: make it again"):
        read_pseudo_labels(tmp_path / PSEUDO_LABELS)


def spoil_text(table: pd.DataFrame, path: Path) -> None:
    PseudoLabels(table).write(path)
    path.write_bytes(path.read_bytes().replace(b"Edema", b"Ede\xffa"))


def test_what_is_no_table_is_refused_in_one_line(
    films: Films, held_back: np.ndarray, tmp_path: Path
) -> None:
    table, path = cells(films, held_back), tmp_path / "table.parquet"
    for spoil, line in (
        (lambda: None, "is not there"),
        (lambda: path.write_bytes(b"PAR1 no"), "is no table of pseudo-labels"),
        (
            lambda: table.to_parquet(path),
            "has no record of how its labels were made: give a table as",
        ),
        (lambda: PseudoLabels(table, {"format": 2}).write(path), "written by a later Hilum"),
        (lambda: spoil_text(table, path), "is no table of pseudo-labels"),
    ):
        spoil()
        with pytest.raises(DataError, match=line) as caught:
            read_pseudo_labels(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["val", "test"])
def test_pseudo_labels_of_validation_and_test_films_are_refused(films: Films, part: str) -> None:
    rows = Subsets.of(films).rows(part)
    with pytest.raises(
        DataError,
        match=rf"^{len(rows)} pseudo-labels, first tiny/.*, are of no training film of the",
    ):
        PseudoLabels(cells(films, rows)).on(films, films.findings)


def test_pseudo_labels_of_other_films_and_findings_are_refused(
    films: Films, held_back: np.ndarray
) -> None:
    strange = cells(films, held_back).assign(path="nowhere.png").iloc[:1]
    with pytest.raises(DataError, match=r"first tiny/nowhere.png, are of no film of the stores"):
        PseudoLabels(strange).on(films, films.findings)
    with pytest.raises(DataError, match="name 'Hernia', which the stores lack"):
        PseudoLabels(cells(films, held_back, "Hernia")).on(films, films.findings)


def of_the_same_films(store: Path, folder: Path) -> Path:
    """Write another store of these films, with other labels: the same one is not opened twice."""
    shutil.copytree(store, folder)
    catalog = pd.read_parquet(folder / "catalog.parquet")
    catalog["Mass"] = 1 - catalog["Mass"]
    catalog.to_parquet(folder / "catalog.parquet", index=False)
    rehash(folder)
    return folder


def test_a_film_that_one_of_two_stores_leaves_out_is_labelled_where_it_trains(
    tiny_store: Path, films: Films, held_back: np.ndarray, tmp_path: Path
) -> None:
    """A store's split may leave out a film, as a copy of another, that trains in another store of the same source."""
    other = of_the_same_films(tiny_store, tmp_path / "other")
    split = Split.load(other)
    paths = films.catalog["path"].iloc[held_back]
    replace(split, left_out=(*split.left_out, *paths)).save(other)
    both = Films.open([other, tiny_store])
    targets, weights = PseudoLabels(cells(films, held_back)).on(both, both.findings)
    expected = np.full((2 * len(films), len(FINDINGS)), np.nan, np.float32)
    expected[len(films) + held_back, both.findings.index("Edema")] = 1
    np.testing.assert_array_equal(targets, expected)
    np.testing.assert_array_equal(weights, ~np.isnan(expected))


def test_a_film_that_trains_in_two_stores_is_labelled_once(
    tiny_store: Path, films: Films, held_back: np.ndarray, tmp_path: Path
) -> None:
    other = of_the_same_films(tiny_store, tmp_path / "other")
    both = Films.open([tiny_store, other])
    targets, _ = PseudoLabels(cells(films, held_back)).on(both, both.findings)
    assert np.flatnonzero(~np.isnan(targets).all(axis=1)).tolist() == sorted(held_back)
    training = Subsets.of(both).rows("train")
    assert once(both, training[::-1]).tolist() == [
        row for row in sorted(training) if row < len(films)
    ]


def test_labels_of_films_that_another_store_has_others_of_that_name_are_refused(
    tiny_store: Path,
    films: Films,
    held_back: np.ndarray,
    make_store: Callable[..., Path],
    tmp_path: Path,
) -> None:
    both = Films.open([tiny_store, make_store(tmp_path / "other", seed=9)])
    with pytest.raises(
        DataError, match=rf"^{len(held_back)} films, first .*png, are others in two stores"
    ):
        PseudoLabels(cells(films, held_back)).on(both, both.findings)


def test_where_every_film_is_labelled_the_thresholds_are_one_half(
    films: Films, classifier: Path
) -> None:
    rows, teacher = Subsets.of(films).rows("val"), Predictor.load(classifier, "cpu")
    cuts = cuts_of(teacher, films, rows, "absent", PseudoOptions(abstain=False))
    scores = teacher.score_films(films, rows)
    for name, one in cuts.items():
        above = scores[:, teacher.findings.index(name)] >= 0.5
        assert (one.present, one.absent) == (0.5, 0.5)
        assert (one.present_side.films, one.absent_side.films) == (above.sum(), (~above).sum())


def test_cells_are_called_at_the_thresholds_and_only_where_wanted() -> None:
    told = np.float32([0.1, 0.2, 0.5, 0.8, 0.9])
    wanted = np.array([True, True, True, True, False])
    present, taken = called(told, wanted, cut(0.8, 0.2))
    assert present.tolist() == [False, False, False, True, True]  # float32's 0.8 lies above 0.8,
    assert taken.tolist() == [True, False, False, True, False]  # and its 0.2 above 0.2
    present, taken = called(told, wanted, cut(0.75, 0.25))
    assert present.tolist() == [False, False, False, True, True]
    assert taken.tolist() == [True, True, False, True, False]
    assert called(told, wanted, cut(None, 0.25))[1].tolist() == [True, True, False, False, False]
    assert not called(told, wanted, cut(None, None))[1].any()
    present, taken = called(told, wanted, cut(0.5, 0.5))
    assert present.tolist() == [False, False, True, True, True]
    assert taken.tolist() == wanted.tolist()


def test_the_cap_keeps_the_ratio_of_the_labels_and_as_many_of_the_surest_as_of_the_others() -> None:
    rng = np.random.default_rng(0)
    told = rng.random(1000).astype(np.float32)
    present, taken = told >= 0.9, (told >= 0.9) | (told <= 0.8)
    kept = capped(told, present, taken, had=30, lacked=60, cap=2)
    found, absent = (kept & present).sum(), (kept & ~present).sum()
    assert found == (taken & present).sum()
    assert absent == int(2 * 60 / 30 * (30 + found) - 60)
    halves = told[kept & ~present] < np.median(told[taken & ~present])
    assert halves.sum() == pytest.approx(absent / 2, abs=1)
    more = capped(told, ~present, taken, had=30, lacked=60, cap=2)
    assert (more & ~present).sum() <= int(2 * 30 / 60 * (60 + (taken & present).sum()) - 30) * 2
    assert capped(told, present, taken, had=0, lacked=60, cap=2).sum() == taken.sum()


def test_soft_targets_count_in_parts_and_a_third_class_not_at_all() -> None:
    targets, weights = np.float32([[0.7, 2], [1, 1], [0, 0]]), np.float32([[1, 1], [2, 1], [0, 1]])
    assert class_counts_of(targets, weights, FINDINGS) == {
        "Edema": (pytest.approx(1.7), pytest.approx(0.3)),
        "Mass": (1.0, 1.0),
    }


def test_a_model_labels_what_it_is_sure_of(
    classifier: Path, films: Films, held_back: np.ndarray
) -> None:
    predictor = Predictor.load(classifier, "cpu")
    scores = predictor.score_films(films, held_back)
    wanted = np.ones(scores.shape, np.bool_)
    wanted[:, 1] = False
    thresholds = {"Edema": cut(float(np.quantile(scores[:, 0], 0.7)), None), "Mass": cut(0.0, None)}
    made = label_films(
        predictor, films, held_back, wanted, thresholds, PseudoOptions(), record={"round": 1}
    )
    chosen = held_back[scores[:, 0].astype(float) >= thresholds["Edema"].present]
    assert made.cells["path"].tolist() == films.catalog["path"].iloc[chosen].tolist()
    assert set(made.cells["finding"]) == {"Edema"}
    assert set(made.cells["value"]) == {1.0}
    assert made.record["round"] == 1
    soft = label_films(
        predictor, films, held_back, wanted, thresholds, PseudoOptions(soft=True, weight=0.5)
    )
    assert (soft.cells["value"] == made.cells["probability"]).all()
    assert set(soft.cells["weight"]) == {0.5}
    nothing = label_films(predictor, films, held_back[:0], wanted[:0], thresholds, PseudoOptions())
    assert len(nothing.cells) == 0
    nobody = cuts_of(predictor, films, held_back[:0], "absent", PseudoOptions())
    assert {name: (one.present, one.absent) for name, one in nobody.items()} == dict.fromkeys(
        FINDINGS, (None, None)
    )


def test_a_training_set_joins_pseudo_labels_where_no_label_is_used(
    films: Films, held_back: np.ndarray, tiny_store: Path
) -> None:
    subsets = Subsets.of(films)
    own = subsets.rows("train", 0.4)
    table = pd.concat(
        [cells(films, held_back[:5], value=0.25, weight=0.5), cells(films, own, value=0.25)]
    )
    training_set = TrainingSet.of(
        films, subsets, options(tiny_store, Path("out")), PseudoLabels(table)
    )
    assert training_set.labelled == len(own)
    assert training_set.rows.tolist() == sorted([*own, *held_back[:5]])
    assert (training_set.labels.targets[own] == films.labels[own]).all()  # real labels always win
    assert (training_set.labels.targets[held_back[:5], 0] == 0.25).all()
    assert (
        training_set.labels.weights[held_back[:5]] == [0.5, 0]
    ).all()  # and labels that were held back stay so
    assert training_set.pseudo is not None
    assert training_set.pseudo.sum() == 5


def test_a_training_set_draws_pseudo_labelled_films_by_their_findings_too(
    films: Films, held_back: np.ndarray, tiny_store: Path
) -> None:
    how = options(tiny_store, Path("out"), sampler="weighted")
    plain = TrainingSet.of(films, Subsets.of(films), how)
    joined = TrainingSet.of(
        films, Subsets.of(films), how, PseudoLabels(cells(films, held_back, value=0.0))
    )
    assert joined.sampling is not None
    assert plain.sampling is not None
    assert joined.sampling.before[0] < plain.sampling.before[0]
    assert joined.class_counts()[0, 0] > plain.class_counts()[0, 0]


def test_fine_tuning_learns_from_the_table_and_says_so(
    films: Films, held_back: np.ndarray, tiny_store: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.parquet"
    PseudoLabels(cells(films, held_back)).write(table)
    done = run(tiny_store, tmp_path / "run", pseudo_labels=table)
    assert done.films == len(Subsets.of(films).rows("train"))
    (told,) = [event for event in read_log(done.run) if event.get("event") == "pseudo-labels"]
    assert told["films"] == len(held_back)
    assert told["findings"] == {
        "Edema": {"present": len(held_back), "absent": 0},
        "Mass": {"present": 0, "absent": 0},
    }
    assert f"pseudo_labels: {told['sha256']}" in (done.run / "options.yaml").read_text()
    assert were_seen(
        films.catalog, load_model(done.run).seen, films.preparation.size, made_key(tiny_store)
    )[held_back].all()
    again = run(tiny_store, tmp_path / "again", pseudo_labels=table)
    names = ("model.safetensors", "model.json")
    assert all(
        (done.run / "model" / n).read_bytes() == (again.run / "model" / n).read_bytes()
        for n in names
    )
    assert run(tiny_store, done.run, pseudo_labels=table).already_done
    PseudoLabels(cells(films, held_back, value=0.0)).write(table)
    with pytest.raises(RunError, match=r"other options .*record\.pseudo_labels"):
        run(tiny_store, done.run, pseudo_labels=table)


def test_a_finding_with_a_third_class_has_no_pseudo_labels(
    films: Films, held_back: np.ndarray, tiny_store: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.parquet"
    PseudoLabels(cells(films, held_back)).write(table)
    with pytest.raises(
        OptionError, match="Edema has pseudo-labels and the policy multiclass"
    ) as caught:
        run(
            tiny_store,
            tmp_path / "run",
            pseudo_labels=table,
            labels=LabelOptions(uncertain="multiclass"),
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"precision": 0.3}, "--precision is 0.3"),
        ({"absent_precision": 1.0}, "--absent-precision is 1.0"),
        ({"level": 1.0}, "--level is 1.0"),
        ({"cap": 0.5}, "--cap is 0.5"),
        ({"weight": 0.0}, "--weight is 0.0"),
        ({"weight": float("nan")}, "--weight is nan"),
    ],
)
def test_options_that_cannot_work_are_one_line(wrong: dict[str, float], line: str) -> None:
    with pytest.raises(HilumError, match=line) as caught:
        PseudoOptions(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_further_stores_without_a_table_or_an_average_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"--unlabelled is .*more, whose .* give --train.average, .*FILE"
    ):
        options(tmp_path / "store", tmp_path / "run", unlabelled=(tmp_path / "more",))
