"""One film: each finding changes it where its mask says, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from hilum.annotations.mask_files import unpack
from hilum.findings import CHEXPERT
from hilum.phantoms.cohort import Film
from hilum.phantoms.film import PLANTERS, draw

CLEAR = Film(3, 1, 1, "AP", "Female", 60, (1.0, *[0.0] * 13), (1.0, *[0.0] * 13))


def with_finding(film: Film, finding: str) -> Film:
    return replace(film, truth=tuple(float(name == finding) for name in CHEXPERT))


@pytest.mark.parametrize("position", ["AP", "PA", "LATERAL"])
@pytest.mark.parametrize("finding", CHEXPERT[1:])
def test_a_finding_changes_the_film_inside_its_mask(finding: str, position: str) -> None:
    ratios = []
    for patient in range(1, 7):
        clear = replace(CLEAR, patient=patient, position=position)
        before, _ = draw(clear, 128, seed=0)
        after, packed = draw(with_finding(clear, finding), 128, seed=0)
        mask = unpack(packed)[finding]
        # Exposure differs, by a straight line but for clipped pixels: take it out before comparing.
        use = ~mask & (before > 5) & (before < 250) & (after > 5) & (after < 250)
        slope, offset = np.polyfit(after[use].astype(float), before[use], 1)
        change = np.abs(before - (slope * after + offset))
        ratios.append(change[mask].mean() / max(float(np.median(change[use])), 0.5))
    assert np.median(ratios) > 3


def test_a_clear_film_has_no_mask() -> None:
    assert not draw(CLEAR, 64, seed=0)[1].any()


def test_every_finding_but_no_finding_can_be_drawn() -> None:
    assert tuple(PLANTERS) == CHEXPERT[1:]


@pytest.mark.parametrize("size", [32, 65, 128, 129, 320])
def test_film_and_masks_have_the_size_asked(size: int) -> None:
    grey, packed = draw(with_finding(CLEAR, "Pneumothorax"), size, seed=1)
    assert grey.shape == packed.shape == (size, size)
    assert (grey.dtype, packed.dtype) == (np.uint8, np.uint16)
    assert grey.std() > 40


@pytest.mark.parametrize("finding", CHEXPERT[1:])
def test_no_mask_is_empty_even_on_the_smallest_film(finding: str) -> None:
    for patient in range(1, 60):
        film = replace(CLEAR, patient=patient, position=("AP", "PA", "LATERAL")[patient % 3])
        _, packed = draw(with_finding(film, finding), 32, seed=2)
        assert packed.any()
        assert set(np.flatnonzero([mask.any() for mask in unpack(packed).values()])) == {
            CHEXPERT.index(finding)
        }


def test_films_of_a_patient_resemble_each_other() -> None:
    seen = [(patient, study) for patient in range(1, 25) for study in (1, 2, 3)]
    films = [
        draw(replace(CLEAR, patient=patient, study=study), 64, seed=0)[0] for patient, study in seen
    ]
    alike = np.corrcoef(np.stack([film.ravel().astype(float) for film in films]))
    patient = np.array([who for who, _ in seen])
    same = (patient[:, None] == patient) & ~np.eye(len(seen), dtype=bool)
    assert alike[same].mean() > alike[patient[:, None] != patient].mean() + 0.01


def test_findings_stay_on_their_side_within_a_study() -> None:
    film = with_finding(replace(CLEAR, patient=9), "Pleural Other")
    masks = [
        unpack(draw(replace(film, view=view), 64, seed=4)[1])["Pleural Other"] for view in (1, 2, 3)
    ]
    assert len({bool(np.flatnonzero(mask.any(0)).mean() > 32) for mask in masks}) == 1
