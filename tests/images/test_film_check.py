"""The film check: the same answer on every machine and in every batch, and the right one for drawn films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from hilum.images.enhance import Preparation
from hilum.images.film_check import (
    FLAGS,
    NOT_DOUBTED,
    PATCHES,
    SIDE,
    SMALLEST,
    TURNS,
    WEIGHTS,
    film_flags,
    is_inverted,
    network,
    read_network,
    thumbnail,
)
from hilum.images.resize import resize
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    """60 drawn films, uint8 [96, 96]."""
    drawn = PhantomOptions(count=60, size=96, seed=99)
    return [draw(film, drawn.size, drawn.seed)[0] for film in cohort(drawn)]


def by_torch(thumbnails: np.ndarray) -> np.ndarray:
    """The network's outputs computed by torch in float64, [n, 9]."""
    tensors = load_file(WEIGHTS)
    equal = np.stack([cv2.equalizeHist(film) for film in thumbnails]).astype(np.float64)
    values = torch.from_numpy(equal - 128)[:, None]
    last = len(PATCHES) + 1
    for number in range(last + 1):
        weight, bias = (
            torch.from_numpy(tensors[f"{number}.{part}"]).double() for part in ("weight", "bias")
        )
        if number < len(PATCHES):
            side = PATCHES[number]
            kernel = weight.reshape(side, side, -1, weight.shape[1]).permute(3, 2, 0, 1)
            values = functional.conv2d(values, kernel, bias, side)
            factor = torch.from_numpy(tensors[f"{number}.factor"])[:, None, None]
        else:
            values = values.permute(0, 2, 3, 1).flatten(1) if number == len(PATCHES) else values
            values = values @ weight + bias
            factor = torch.from_numpy(tensors[f"{number}.factor"])
        if number < last:
            values = (values.float() * factor).clip(0, 127).round().double()
    return values.numpy()


def test_its_outputs_are_whole_numbers_and_torchs(films: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, SIDE, SIDE), dtype=np.uint8)
    thumbnails = np.concatenate([np.stack([thumbnail(film) for film in films]), noise])
    outputs = network().outputs(thumbnails)
    assert np.array_equal(outputs, np.rint(outputs))
    assert np.array_equal(outputs, by_torch(thumbnails))


def test_a_film_gets_the_same_answer_alone_and_among_others(films: list[np.ndarray]) -> None:
    thumbnails = np.stack([thumbnail(film) for film in films])
    together = network().outputs(thumbnails)
    for batch in (1, 7, 59):
        pieces = [network().outputs(thumbnails[at : at + batch]) for at in range(0, 60, batch)]
        assert np.array_equal(np.concatenate(pieces), together)


def test_drawn_films_are_told_in_every_turn_and_polarity(films: list[np.ndarray]) -> None:
    for negative in (False, True):
        for turn, name in enumerate(TURNS):
            shown = [np.rot90(255 - film if negative else film, turn) for film in films]
            flags = film_flags([thumbnail(np.ascontiguousarray(film)) for film in shown])
            right = [is_inverted(flag) == negative and name in flag for flag in flags]
            assert np.mean(right) >= (0.95 if turn or negative else 1)


@pytest.mark.parametrize("shape", [(48, 48), (64, 64), (63, 700), (130, 127), (1025, 1023)])
def test_films_of_any_shape_have_a_thumbnail(shape: tuple[int, int]) -> None:
    small = thumbnail(np.full(shape, 7, np.uint8))
    assert small.shape == (SIDE, SIDE)
    assert (small == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (5000, 2), (SMALLEST - 1, SMALLEST)])
def test_a_film_that_is_too_small_is_not_judged(shape: tuple[int, int]) -> None:
    ramp = np.linspace(0, 255, shape[0] * shape[1]).astype(np.uint8).reshape(shape)
    assert not thumbnail(ramp).any()


def test_the_size_of_the_film_decides_and_not_that_of_the_store(films: list[np.ndarray]) -> None:
    negatives = [255 - film for film in films]
    for side, least, most in ((SMALLEST - 1, 0, 0), (SMALLEST, 55, 60), (96, 55, 60)):
        small = [thumbnail(resize(film, side, side)) for film in negatives]
        assert least <= sum(map(is_inverted, film_flags(small))) <= most
    fixing = Preparation(SMALLEST // 2, fix_polarity=True)
    plain = Preparation(SMALLEST // 2)
    same = [np.array_equal(fixing.apply(255 - film), plain.apply(film)) for film in films]
    assert sum(same) >= 55


def test_a_second_look_does_not_depend_on_how_the_film_lies(films: list[np.ndarray]) -> None:
    doubting = replace(network(), doubts=(NOT_DOUBTED + 1, NOT_DOUBTED + 1))
    thumbnails = [thumbnail(film) for film in films]
    mirrored = [np.ascontiguousarray(small[:, ::-1]) for small in thumbnails]
    ahead, turn = doubting.ahead(thumbnails)
    other_ahead, other_turn = doubting.ahead(mirrored)
    assert (ahead > NOT_DOUBTED).all()
    assert np.array_equal(ahead, other_ahead)
    assert np.array_equal((4 - turn) % 4, other_turn)
    for turned in range(4):
        for negative in (False, True):
            shown = [
                np.ascontiguousarray(np.rot90(255 - small if negative else small, turned))
                for small in thumbnails
            ]
            flags = doubting.flags(shown)
            state = FLAGS[negative * 4 + turned]
            assert sum(flag == state for flag in flags) >= 57


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_blank_film_is_not_flagged(value: int) -> None:
    assert film_flags([np.full((SIDE, SIDE), value, np.uint8)]) == [""]


def test_no_film_is_no_flag() -> None:
    assert film_flags([]) == []


def test_what_is_no_chest_is_hardly_ever_flagged() -> None:
    rng = np.random.default_rng(1)
    cells = [2, 4, 8, 16, 32, 64]
    noise = [
        cv2.resize(rng.integers(0, 256, (side, side), dtype=np.uint8), (SIDE, SIDE))
        for side in cells
        for _ in range(20)
    ]
    assert np.mean([flag != "" for flag in film_flags(noise)]) < 0.2


def test_a_tone_curve_changes_nothing(films: list[np.ndarray]) -> None:
    """Equal ranks give equal thumbnails' ranks: brightness and contrast are not what is judged."""
    ramp = np.arange(256)
    darker = ((ramp / 255) ** 2 * 255).astype(np.uint8)
    flags = film_flags([thumbnail(darker[film]) for film in films])
    assert np.mean([flag == "" for flag in flags]) >= 0.95


def test_weights_that_could_overflow_are_refused(tmp_path: Path) -> None:
    tensors = dict(load_file(WEIGHTS))
    tensors["3.bias"] = np.full_like(tensors["3.bias"], 2**24)
    save_file(tensors, tmp_path / "large.safetensors")
    with pytest.raises(ValueError, match="not exact"):
        read_network(tmp_path / "large.safetensors")


def test_every_flag_has_its_words() -> None:
    assert FLAGS == (
        "", "turned to the left", "upside down", "turned to the right",
        "inverted", "inverted and turned to the left", "inverted and upside down",
        "inverted and turned to the right",
    )  # fmt: skip


def test_fixed_polarity_makes_a_negative_and_its_film_the_same(films: list[np.ndarray]) -> None:
    fixing, plain = Preparation(48, "clahe", fix_polarity=True), Preparation(48, "clahe")
    told = 0
    for film in films:
        assert np.array_equal(fixing.apply(film), plain.apply(film))
        told += np.array_equal(fixing.apply(255 - film), plain.apply(film))
    assert told >= 57


def test_a_step_that_is_not_taken_is_not_named() -> None:
    assert Preparation(64).to_json() == {"size": 64, "enhance": "none", "fit": "squash"}
    fixing = Preparation(64, fix_polarity=True)
    assert Preparation.from_json(fixing.to_json()) == fixing
    assert fixing.flags().endswith("--fix-polarity")
    assert Preparation.from_json(Preparation(64).to_json()) == Preparation(64)


def test_the_file_is_small() -> None:
    assert WEIGHTS.stat().st_size < 300_000
