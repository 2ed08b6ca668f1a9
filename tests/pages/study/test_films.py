"""Films on a study's page: the very films of the store, and no original of a patient."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.pages.pages import study_page
from hilum.pages.study.films import film_sections, original
from hilum.pages.study.read import read_study_folder
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of phantoms with the same paths, and a store of the first."""
    root = tmp_path_factory.mktemp("drawn")
    for seed in (1, 2):
        write_phantoms(
            root / str(seed), PhantomOptions(count=24, size=48, seed=seed, prevalence="even")
        )
    prepare(read_source("chexpert", root / "1"), root / "store", PrepareOptions(size=32))
    return root


@pytest.mark.parametrize(("seed", "shown"), [(1, True), (2, False)])
def test_films_of_another_set_are_not_taken_for_the_store_s(phantoms, write_study_of, seed, shown):
    folder = write_study_of(phantoms / "store", failed=None)
    shutil.copytree(phantoms / str(seed), folder / "phantoms")
    study = read_study_folder(folder)
    assert (original(study, 0) is not None) is shown
    sections = film_sections(study)
    assert (sections["outlined"], sections["before_shown"]) == (shown, shown)
    page = study_page(study)
    assert ("The film as it came" in page) is shown
    assert ("A film before and after preparation" in page) is shown


def test_no_original_of_a_film_that_is_no_phantom_is_shown(
    phantoms, write_study_of, tmp_path, plain
):
    root = shutil.copytree(phantoms / "1", tmp_path / "real")
    (root / "phantoms.json").unlink()  # read as films of patients from here on
    prepare(read_source("chexpert", root), tmp_path / "store", PrepareOptions(size=32))
    folder = write_study_of(tmp_path / "store", failed=None)
    shutil.copytree(root, folder / "phantoms")
    study = read_study_folder(folder)
    assert not study.is_drawn
    assert original(study, 0) is None
    text = plain(study_page(study))
    assert "no original is in this page" in text
    assert "Films after preparation" in text
    assert "The film as it came" not in text


def test_a_caption_begins_with_a_capital(study_folder, plain):
    text = plain(study_page(read_study_folder(study_folder)))
    assert "Lateral. Labels: " in text
    assert "lateral. Labels: " not in text


def test_a_damaged_mask_costs_the_outlines_alone(phantoms, write_study_of):
    folder = write_study_of(phantoms / "store", failed=None)
    shutil.copytree(phantoms / "1", folder / "phantoms")
    for mask in (folder / "phantoms" / "masks").rglob("*.png"):
        mask.write_bytes(b"no mask")
    sections = film_sections(read_study_folder(folder))
    assert sections["before_shown"]
    assert not sections["outlined"]
