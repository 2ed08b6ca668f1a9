"""Rounds of pseudo-labels: who is labelled and how right, what is kept and said, and what may be done with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from heard import Heard
from rehash import rehash

from hilum.bundle.model_folder import load_model
from hilum.bundle.training_manifest import were_seen
from hilum.errors import DataError, HilumError, OptionError, RunError
from hilum.group_key import made_key
from hilum.images.films import Films
from hilum.images.store_writing import write_manifest
from hilum.labels import LabelOptions
from hilum.pages.pages import run_page
from hilum.training.run_folder import PSEUDO_LABELS, read_log, read_metrics
from hilum.workflows.data.pseudo_label_table import read_pseudo_labels
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.inference.explain import explain
from hilum.workflows.inference.options import ExplainOptions
from hilum.workflows.inference.predict import predict
from hilum.workflows.pseudo_label.options import RoundTrainOptions
from hilum.workflows.pseudo_label.pseudo_label import (
    PseudoLabelOptions,
    PseudoLabelResult,
    pseudo_label,
)
from hilum.workflows.pseudo_label.record import ROUNDS, read_rounds, write_rounds
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

FINDINGS = ("Edema", "Mass")


def trained(store: Path, out: Path, epochs: int = 3, **options: Any) -> Path:
    train = FinetuneTrainOptions(
        min_steps=0, epochs=epochs, batch_size=8, lr=3e-3, accelerator="cpu"
    )
    given = {
        "data": (store,),
        "out": out,
        "backbone": "test_resnet",
        "fraction": 0.1,
        "train": train,
        **options,
    }
    finetune(FinetuneOptions(**given))
    return out


def self_trained(
    start: Path,
    stores: Path | tuple[Path, ...],
    out: Path,
    heard: Heard | None = None,
    **options: Any,
) -> PseudoLabelResult:
    data = stores if isinstance(stores, tuple) else (stores,)
    usual = {"rounds": 2, "precision": 0.8, "absent_precision": 0.8, "level": 0.8, "device": "cpu"}
    return pseudo_label(
        start, PseudoLabelOptions(data=data, out=out, **{**usual, **options}), heard or Heard()
    )


@pytest.fixture(scope="module")
def store(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 films of 160 patients, 32 px, 80 of them to validate on."""
    return make_store(tmp_path_factory.mktemp("few") / "store", films=320, seed=3)


@pytest.fixture(scope="module")
def start(store: Path) -> Path:
    return trained(store, store.parent / "start")


@pytest.fixture(scope="module")
def good(store: Path) -> Path:
    """A run that a round of one epoch does not better."""
    return trained(store, store.parent / "good", epochs=12, fraction=0.5)


@pytest.fixture(scope="module")
def told() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def done(store: Path, start: Path, told: Heard) -> PseudoLabelResult:
    return self_trained(start, store, store.parent / "more", told)


def table(run: Path) -> pd.DataFrame:
    return read_pseudo_labels(run / PSEUDO_LABELS).cells


def test_a_round_with_more_labels_is_better_and_becomes_the_model(
    done: PseudoLabelResult, told: Heard
) -> None:
    rounds = done.rounds
    assert rounds.kept >= 1
    assert rounds.best > rounds.start_auroc
    first = rounds.rounds[0]
    assert first.films > 100
    assert any(line.startswith(f"round 1: labels {first.films} films") for line in told.notes)
    assert any(
        line.startswith("round 1: mean AUROC") and line.endswith("kept") for line in told.notes
    )
    kept = done.run / rounds.rounds[rounds.kept - 1].run
    weights = "model/model.safetensors"
    assert (done.run / weights).read_bytes() == (kept / weights).read_bytes()
    assert read_metrics(done.run)["training"]["best"] == rounds.best


def test_the_kept_score_never_falls(done: PseudoLabelResult) -> None:
    best = done.rounds.start_auroc
    for one in done.rounds.rounds:
        assert one.validation_auroc is not None
        assert one.kept == (one.validation_auroc > best)
        best = max(best, one.validation_auroc)
    assert done.rounds.best == best


def test_only_training_films_without_a_used_label_are_labelled(
    done: PseudoLabelResult, store: Path
) -> None:
    films = Films.open([store])
    subsets = Subsets.of(films)
    part = pd.Series("", index=films.catalog["path"].astype(str))
    for name in ("train", "val", "test"):
        part.iloc[subsets.rows(name)] = name
    used = set(films.catalog["path"].iloc[subsets.rows("train", 0.1)])
    for one in done.rounds.rounds:
        cells = table(done.run / one.run)
        assert set(part[cells["path"].astype(str)]) == {"train"}
        assert not used & set(cells["path"])
        assert set(cells["provenance"]) == {"pseudo"}
        assert one.films == cells["path"].nunique()


def test_what_is_told_of_labels_is_so(done: PseudoLabelResult, store: Path) -> None:
    films = Films.open([store])
    truth = films.catalog.assign(path=films.catalog["path"].astype(str)).set_index("path")
    for one in done.rounds.rounds:
        cells = table(done.run / one.run)
        for name, finding in one.findings.items():
            ours = cells[cells["finding"] == name]
            right = (
                truth.loc[ours["path"].astype(str), name].to_numpy(np.float32)
                == ours["value"].to_numpy()
            )
            for side, value in (("present", 1), ("absent", 0)):
                called = ours["value"].to_numpy() == value
                assert getattr(finding, side) == called.sum()
                assert getattr(finding.real_precision, side).value == pytest.approx(
                    right[called].mean()
                )
            assert finding.present + finding.absent + finding.abstained == len(
                Subsets.of(films).rows("train")
            ) - len(Subsets.of(films).rows("train", 0.1))
            assert finding.truth_films == len(ours)
    means = [
        finding.real_precision.present.value for finding in done.rounds.rounds[0].findings.values()
    ]
    assert done.rounds.rounds[0].real_precision_mean.present == pytest.approx(np.mean(means))
    assert done.rounds.truth == "held back labels"


def test_the_record_is_read_as_it_was_written(done: PseudoLabelResult, tmp_path: Path) -> None:
    found = read_rounds(done.run)
    assert found == done.rounds
    write_rounds(tmp_path, found)
    assert (tmp_path / ROUNDS).read_bytes() == (done.run / ROUNDS).read_bytes()
    whole = (tmp_path / ROUNDS).read_text()
    (tmp_path / ROUNDS).write_text(whole.replace('"format": 1', '"format": 0'))
    with pytest.raises(RunError, match="is damaged"):
        read_rounds(tmp_path)
    content = json.loads((done.run / ROUNDS).read_text())
    assert {"format", "from", "kept", "wanted", "truth", "rounds", "sha256"} == set(content)


def test_the_folder_is_a_run_like_any_other(
    done: PseudoLabelResult, store: Path, film_files: list[Path], tmp_path: Path
) -> None:
    how = EvaluateOptions(data=store, min_positives=1, resamples=20, device="cpu")
    for run in (done.run, done.run / "rounds" / "round-1"):
        assert evaluate(run, how).evaluation.auroc_macro.value > 0.9
    assert predict(done.run, film_files[:2], tmp_path / "p.csv", "cpu").films == 2
    explain(done.run, film_files[:1], ExplainOptions(out=tmp_path / "maps", device="cpu"))
    assert list((tmp_path / "maps").rglob("*.png"))


def test_the_model_knows_the_films_that_it_and_its_teachers_saw(
    done: PseudoLabelResult, start: Path, store: Path
) -> None:
    films, seen = Films.open([store]), load_model(done.run).seen
    key = made_key(store)
    labelled = {
        path for one in done.rounds.rounds if one.kept for path in table(done.run / one.run)["path"]
    }
    expected = films.catalog["path"].isin(labelled) | were_seen(
        films.catalog, load_model(start).seen, films.preparation.size, key
    )
    assert were_seen(films.catalog, seen, films.preparation.size, key).tolist() == expected.tolist()


def test_the_second_time_it_is_already_done(
    done: PseudoLabelResult, store: Path, start: Path
) -> None:
    heard = Heard()
    again = self_trained(start, store, done.run, heard)
    assert again.already_done
    assert again.rounds == done.rounds
    assert heard.notes == [f"{done.run} is already done"]


def test_other_options_are_refused(done: PseudoLabelResult, store: Path, start: Path) -> None:
    with pytest.raises(RunError, match=r"pseudo-label\.precision: 0\.8 there, 0\.85 now"):
        self_trained(start, store, done.run, precision=0.85)


def test_rounds_begin_where_earlier_rounds_ended(
    done: PseudoLabelResult, store: Path, tmp_path: Path
) -> None:
    further = self_trained(done.run, store, tmp_path / "further", rounds=1)
    kept = done.run / done.rounds.rounds[done.rounds.kept - 1].run
    assert further.rounds.start == str(kept.resolve())
    assert further.rounds.start_auroc == done.rounds.best
    options = read_pseudo_labels(tmp_path / "further" / "rounds" / "round-1" / PSEUDO_LABELS).record
    assert options["round"] == 1


def test_a_round_that_is_no_better_is_said_and_not_kept(
    store: Path, good: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = self_trained(
        good, store, tmp_path / "out", heard, rounds=4, train=RoundTrainOptions(epochs=1)
    )
    assert result.rounds.kept == 0
    assert len(result.rounds.rounds) == 1  # patience is 1
    assert result.rounds.best == result.rounds.start_auroc
    assert any(
        "no better, not kept: the model stays the one that they began with" in line
        for line in heard.notes
    )
    weights = "model/model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (good / weights).read_bytes()
    assert (
        tmp_path / "out" / "rounds" / "round-1" / weights
    ).is_file()  # it can still be looked at


def test_after_a_round_in_vain_another_seed_is_tried(
    store: Path, good: Path, tmp_path: Path
) -> None:
    result = self_trained(
        good, store, tmp_path / "out", rounds=4, patience=2, train=RoundTrainOptions(epochs=1)
    )
    assert [one.kept for one in result.rounds.rounds] == [False, False]
    tables = [table(tmp_path / "out" / one.run) for one in result.rounds.rounds]
    pd.testing.assert_frame_equal(*tables)  # of the same model
    first, second = (one.validation_auroc for one in result.rounds.rounds)
    assert first != second


def test_a_finding_that_cannot_reach_the_precision_adds_none(
    store: Path, start: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = self_trained(
        start, store, tmp_path / "out", heard, precision=0.99, absent_precision=0.99, level=0.99
    )
    (only,) = result.rounds.rounds
    assert (only.films, only.validation_auroc, only.kept, only.on_pseudo_labels) == (
        0,
        None,
        False,
        None,
    )
    for finding in only.findings.values():
        assert (finding.present, finding.absent, finding.cut.present, finding.cut.absent) == (
            0,
            0,
            None,
            None,
        )
        assert "at no threshold" in str(finding.reason)
    assert any("no finding reaches the wanted precision" in line for line in heard.notes)
    assert read_metrics(tmp_path / "out")["pseudo_labels"]["kept"] == 0
    assert read_rounds(tmp_path / "out") == result.rounds


def test_further_stores_are_labelled_and_their_own_labels_never_used(
    make_store: Callable[..., Path], store: Path, start: Path, tmp_path: Path
) -> None:
    other = as_source(
        make_store(tmp_path / "other", films=160, seed=8), "elsewhere", upside_down=True
    )
    result = self_trained(start, (other, store), tmp_path / "out", rounds=1)
    cells = table(tmp_path / "out" / "rounds" / "round-1")
    theirs = cells[cells["source"] == "elsewhere"]
    films = Films.open([other])
    training = set(films.catalog["path"].iloc[Subsets.of(films).rows("train")])
    assert 0 < theirs["path"].nunique() <= len(training)
    assert set(theirs["path"]) <= training
    options = (tmp_path / "out" / "rounds" / "round-1" / "options.yaml").read_text()
    assert f"unlabelled:\n  - {other}" in options
    assert result.rounds.best > 0.95  # their labels say the opposite of the films
    assert result.rounds.start_auroc == read_metrics(start)["training"]["best"]


def as_source(folder: Path, name: str, *, upside_down: bool) -> Path:
    """Give a store another name for its source, and turn its labels around."""
    manifest = json.loads((folder / "manifest.json").read_text())
    catalog = pd.read_parquet(folder / "catalog.parquet")
    if upside_down:
        catalog[list(FINDINGS)] = 1 - catalog[list(FINDINGS)]
    catalog.to_parquet(folder / "catalog.parquet", index=False)
    write_manifest(folder, {**manifest, "source": name})
    return folder


def test_soft_labels_are_the_probabilities(
    done: PseudoLabelResult, store: Path, start: Path, tmp_path: Path
) -> None:
    soft = self_trained(start, store, tmp_path / "soft", rounds=1, soft=True)
    cells = table(tmp_path / "soft" / "rounds" / "round-1")
    assert cells["value"].tolist() == cells["probability"].tolist()
    for name, finding in soft.rounds.rounds[0].findings.items():
        assert finding == done.rounds.rounds[0].findings[name]  # of hard ones


def test_uncertain_cells_are_open_where_the_run_trained_itself_on_them(
    store: Path, tmp_path: Path
) -> None:
    doubtful = tmp_path / "doubtful"
    shutil.copytree(store, doubtful)
    catalog = pd.read_parquet(doubtful / "catalog.parquet")
    unsure = np.arange(len(catalog)) % 5 == 0
    catalog.loc[unsure, "Edema"] = -1.0
    catalog.to_parquet(doubtful / "catalog.parquet", index=False)
    rehash(doubtful)
    loose = PseudoOptions(precision=0.8, absent_precision=0.8, level=0.8)
    for policy in ("ignore", "self-train"):
        labels = LabelOptions(uncertain=policy)
        run = trained(doubtful, tmp_path / policy, fraction=0.3, labels=labels, self_train=loose)
        self_trained(run, doubtful, tmp_path / f"{policy}-more", rounds=1)
        cells = table(tmp_path / f"{policy}-more" / "rounds" / "round-1")
        films = Films.open([doubtful])
        own = set(films.catalog["path"].iloc[Subsets.of(films).rows("train", 0.3)])
        again = cells[cells["path"].isin(own)]
        assert (len(again) > 0) == (policy == "self-train")
        assert set(again["path"]) <= set(catalog["path"][unsure])
        assert set(again["finding"]) <= {"Edema"}
        assert ((cells["provenance"] == "uncertain") == cells["path"].isin(own)).all()


def test_log_and_options_say_what_was_done(done: PseudoLabelResult) -> None:
    events = [event for event in read_log(done.run) if event["event"] == "round"]
    assert [event["step"] for event in events] == list(range(1, len(done.rounds.rounds) + 1))
    assert events[0]["score"] == pytest.approx(done.rounds.rounds[0].validation_auroc, abs=1e-5)
    options = (done.run / "options.yaml").read_text()
    assert options.startswith("pseudo-label:\n  from: ")


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', '{"format": 9}', None])
def test_a_damaged_record_is_one_line(tmp_path: Path, damage: str | None) -> None:
    if damage is not None:
        (tmp_path / ROUNDS).write_text(damage)
    with pytest.raises(RunError) as caught:
        read_rounds(tmp_path)
    assert "\n" not in str(caught.value)
    assert ROUNDS in str(caught.value)


def test_a_damaged_record_is_mended_as_its_line_says(
    store: Path, start: Path, tmp_path: Path
) -> None:
    """Finished rounds are taken as they are: the record and the model come out equal to the bit."""
    run = self_trained(start, store, tmp_path / "again", rounds=1).run
    files = [run / ROUNDS, run / "model" / "model.safetensors"]
    before = [file.read_bytes() for file in files]
    (run / ROUNDS).write_text("{")
    with pytest.raises(
        RunError, match=r"rounds\.json is damaged .*: delete it and .*metrics\.json, and run"
    ):
        self_trained(start, store, run, rounds=1)
    (run / ROUNDS).unlink()
    (run / "metrics.json").unlink()
    self_trained(start, store, run, rounds=1)
    assert [file.read_bytes() for file in files] == before


def test_the_page_tells_of_every_round(done: PseudoLabelResult) -> None:
    text = run_page(done.run)
    assert "Rounds of pseudo-labels" in text
    assert f"that of round {done.rounds.kept}" in text
    for one in done.rounds.rounds:
        assert f'<td class="n">{one.films:,}</td>' in text
        assert f'<td class="n">{one.validation_auroc:.4f}</td>' in text
    assert "The course of training" not in text


def refused(
    kind: type[HilumError], start: Path, stores: Path | tuple[Path, ...], out: Path, **options: Any
) -> str:
    with pytest.raises(kind) as caught:
        self_trained(start, stores, out, **options)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_that_is_none_or_not_finished_is_refused(
    store: Path, start: Path, tmp_path: Path
) -> None:
    assert "holds no run" in refused(RunError, tmp_path / "nothing", store, tmp_path / "out")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(start, unfinished)
    (unfinished / "metrics.json").unlink()
    assert "is not finished" in refused(RunError, unfinished, store, tmp_path / "out")
    (unfinished / "options.yaml").write_text("pretrain: {moco: {}}\n")
    assert "is no fine-tuning" in refused(RunError, unfinished, store, tmp_path / "out")
    (unfinished / "options.yaml").write_text(
        "finetune: {data: [a], colour: red}\nrecord: {data: []}\n"
    )
    assert "unknown key colour" in refused(RunError, unfinished, store, tmp_path / "out")


def test_the_runs_own_stores_must_be_given_and_split_as_then(
    make_store: Callable[..., Path], store: Path, start: Path, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", films=96, seed=5)
    assert "is not among --data" in refused(DataError, start, other, tmp_path / "out")
    anew = tmp_path / "anew"
    shutil.copytree(store, anew)
    films = Films.open([anew])
    from hilum.splits import patient_split

    patient_split(films.stores[0].catalog, films.findings, 1, test=0.2, val=0.25).save(anew)
    assert "was split anew" in refused(DataError, start, anew, tmp_path / "out")


def test_with_every_label_used_there_is_nothing_to_label(store: Path, tmp_path: Path) -> None:
    full = trained(store, tmp_path / "full", epochs=1, fraction=1.0)
    assert "a --fraction below 1" in refused(DataError, full, store, tmp_path / "out")


def test_a_class_of_its_own_for_uncertain_labels_is_refused(store: Path, tmp_path: Path) -> None:
    run = trained(store, tmp_path / "run", epochs=1, labels=LabelOptions(uncertain="multiclass"))
    assert "multiclass" in refused(OptionError, run, store, tmp_path / "out")


def test_further_stores_prepared_otherwise_are_refused(
    make_store: Callable[..., Path], store: Path, start: Path, tmp_path: Path
) -> None:
    large = make_store(tmp_path / "large", size=40)
    assert "prepare" in refused(DataError, start, (store, large), tmp_path / "out")


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"patience": 0}, {"precision": 1.0}, {"cap": 0.5}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(wrong))} is"):
        PseudoLabelOptions(data=(Path("a"),), out=Path("b"), **wrong)
    with pytest.raises(OptionError, match=r"--train\.epochs is 0"):
        RoundTrainOptions(epochs=0)
