from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, OptionError
from hilum.files import canonical_json
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store_writing import write_store
from hilum.listener import Listener
from hilum.metrics.results import Estimate
from hilum.splits import Split, patient_split
from hilum.workflows.card.shortcut_probes import PROBES, border_only, metadata
from hilum.workflows.card.shortcuts import Flag, Shortcuts, shortcut_probes
from hilum.workflows.data.subsets import Subsets

SIZE = 32


def draw(films: int, seed: int, token: bool, view: bool) -> tuple[np.ndarray, pd.DataFrame]:
    """Noise with a dim square in the middle for Mass; a token in a corner or the view for Edema, if wanted."""
    rng = np.random.default_rng(seed)
    edema, mass = rng.integers(0, 2, (2, films)).astype(np.float32)
    images = rng.integers(0, 60, (films, SIZE, SIZE))
    images[:, 12:20, 12:20] += (40 * mass[:, None, None]).astype(int)
    images[:, 12:20, 20:24] += (3 * edema[:, None, None]).astype(int)
    if token:
        images[edema == 1, 1:3, 1:3] = 220
    views = np.where(edema == 1, "AP", "PA") if view else rng.choice(["AP", "PA"], films)
    table = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(films)],
            "patient": [f"p{number // 2}" for number in range(films)],
            "study": [f"s{number}" for number in range(films)],
            "view_position": views,
            "sex": rng.choice(["F", "M"], films),
            "age": np.where(rng.random(films) < 0.1, np.nan, rng.integers(20, 90, films)),
            "Edema": edema,
            "Mass": mass,
        }
    )
    return images.astype(np.uint8), table


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Films]:
    def made(
        films: int = 600, seed: int = 0, token: bool = False, view: bool = False, above: str = ""
    ) -> Films:
        images, table = draw(films, seed, token, view)
        table["path"] = above + table["path"]
        findings = ("Edema", "Mass")
        catalog = Catalog("drawn", Path("/nowhere"), findings, film_table(table, findings), films)
        folder = tmp_path / f"{films}-{seed}-{token}-{view}{above.strip('/')}"
        store = write_store(folder, catalog, images, Preparation(SIZE))
        patient_split(store.catalog, store.findings, 0, test=0.4, val=0.1).save(folder)
        return Films.open([folder])

    return made


def probed(films: Films, **asked: object) -> Shortcuts:
    return shortcut_probes(films, Subsets.of(films), resamples=100, **asked)  # type: ignore[arg-type]


def flagged(found: Shortcuts) -> set[tuple[str, str]]:
    return {(flag.finding, flag.probe) for flag in found.flags}


def test_clean_films_are_not_flagged_and_the_whole_film_reads_them(
    make: Callable[..., Films],
) -> None:
    found = probed(make())
    assert not found.flags
    assert tuple(found.auroc) == tuple(PROBES)
    assert found.auroc["whole"]["Mass"].value > 0.9  # type: ignore[operator]
    for blind in ("border", "metadata"):
        assert all(abs(area.value - 0.5) < 0.12 for area in found.auroc[blind].values()), blind  # type: ignore[operator]


def test_a_token_is_flagged_by_the_border_and_a_view_by_the_table(
    make: Callable[..., Films],
) -> None:
    assert flagged(probed(make(token=True))) == {("Edema", "border")}
    found = probed(make(view=True))
    assert flagged(found) == {("Edema", "metadata")}
    (flag,) = found.flags
    assert flag.share > 0.7
    assert flag.p_holm < 0.05
    assert flag.words.startswith("Edema: AUROC 1.000 from no film: age, sex, view position")


def test_a_model_that_knows_much_more_lifts_the_flag(make: Callable[..., Films]) -> None:
    films = make(view=True)
    subsets = Subsets.of(films)
    rows = subsets.rows("test")
    rng = np.random.default_rng(0)
    edema, mass = films.labels[rows].T
    half_blind = films.catalog["view_position"].eq("AP").to_numpy()[rows] != (
        rng.random(len(rows)) < 0.33
    )
    catalog = films.catalog.copy()
    catalog.loc[rows, "view_position"] = np.where(half_blind, "AP", "PA")
    films.catalog = catalog
    without = shortcut_probes(films, subsets, resamples=100)
    assert ("Edema", "metadata") in flagged(without)
    scores = np.stack([mass + rng.normal(size=len(rows)), edema], axis=1)
    found = shortcut_probes(films, subsets, resamples=100, model_scores=(scores, ["Mass", "Edema"]))
    assert found.model is not None
    assert found.model["Edema"].value == 1.0
    assert 0.6 < found.model["Mass"].value < 0.9  # type: ignore[operator]
    assert not found.flags


def test_a_model_may_call_some_findings_alone(make: Callable[..., Films]) -> None:
    films = make(token=True)
    edema = films.labels[Subsets.of(films).rows("test"), :1]
    found = probed(films, model_scores=(edema, ["Edema"]))
    assert found.model is not None
    assert list(found.model) == ["Edema"]
    assert found.flags[0].reference == "model"
    assert "the model has 1.000" in found.flags[0].words
    with pytest.raises(ValueError, match="scores are"):
        probed(films, model_scores=(edema[:5], ["Edema"]))


def test_too_few_positive_patients_are_shown_but_not_judged(make: Callable[..., Films]) -> None:
    found = probed(make(token=True), min_positives=500)
    assert found.findings_judged == ()
    assert not found.flags
    assert found.auroc["border"]["Edema"].value > 0.9  # type: ignore[operator]


def test_the_same_films_give_the_same_result_and_plain_values(make: Callable[..., Films]) -> None:
    films = make(token=True)
    heard: list[tuple[int, int]] = []

    class Ears(Listener):
        def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
            heard.append((done, total))

    first = probed(films, listener=Ears()).to_json()
    assert json.loads(json.dumps(first)) == json.loads(json.dumps(probed(films).to_json()))
    assert heard == [(done, 5) for done in range(6)]
    assert first["probes"]["border"]["blind"]
    assert first["flags"][0]["finding"] == "Edema"
    assert first["films"] == len(Subsets.of(films).rows("test"))


def test_a_share_of_many_training_films_is_enough(make: Callable[..., Films]) -> None:
    films = make(token=True)
    found = probed(films, learnt=150)
    assert found.training_films == 150
    assert flagged(found) == {("Edema", "border")}
    assert probed(films, learnt=10_000).training_films == len(Subsets.of(films).rows("train"))


@pytest.mark.parametrize("split", ["train", "all", "tset"])
def test_parts_that_the_probes_learn_from_are_refused(
    make: Callable[..., Films], split: str
) -> None:
    with pytest.raises(OptionError, match=split):
        probed(make(40), split=split)


def test_an_empty_part_is_refused(make: Callable[..., Films]) -> None:
    with pytest.raises(DataError, match="official-test"):
        probed(make(40), split="official-test")


def test_patients_who_are_measured_on_are_not_learnt_from(make: Callable[..., Films]) -> None:
    """Stores of one data set share their patients, and each has a split of its own."""
    learnt, tested = make(120), make(40, seed=1, above="more/")
    both = Films([*learnt.stores, *tested.stores])
    nobody = {"train": (), "val": (), "test": (), "official-test": ()}
    names = [tuple(store.catalog["patient"].unique()) for store in both.stores]
    splits = (
        Split("patient", 0, {**nobody, "train": names[0]}),
        Split("patient", 0, {**nobody, "test": names[1]}),
    )
    assert set(names[1]) < set(names[0])
    found = shortcut_probes(both, Subsets(both, splits), resamples=0)
    assert (found.training_films, found.films) == (80, 40)


def test_the_border_says_nothing_of_the_middle_and_the_table_nothing_of_the_film(
    make: Callable[..., Films],
) -> None:
    films = make(60)
    rows = np.arange(60)
    seen, told = border_only(films, rows), metadata(films, rows)
    assert np.isfinite(told).all()
    assert told.shape == (60, 3 + 2 + 2 + 1)  # age three ways, sexes, views, one store
    other = make(60, token=True)
    assert not np.array_equal(border_only(other, rows), seen)
    np.testing.assert_array_equal(metadata(other, rows), told)


def test_which_store_is_metadata_and_missing_values_are_values(make: Callable[..., Films]) -> None:
    both = Films([*make(40).stores, *make(40, seed=1).stores])
    both.catalog["sex"] = both.catalog["sex"].mask(np.arange(80) < 10)
    told = metadata(both, np.arange(80))
    assert told.shape == (80, 3 + 2 + 2 + 1)  # both are of one source
    assert not told[:10, 3:5].any()
    assert told[10:, 3:5].sum(axis=1).tolist() == [1] * 70


def test_a_flag_beside_readers_that_know_nothing_can_be_written() -> None:
    flag = Flag("Edema", "border", Estimate(0.7), "whole", 0.5, float("inf"), 0.001)
    assert b'"share": null' in canonical_json(flag.to_json())
