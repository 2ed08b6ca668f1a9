"""Each step of a recipe alone: it does what its option says, as strongly and as often as it says, and nothing else."""

import math
from dataclasses import fields, replace

import pytest
import torch

from hilum.augment import ops
from hilum.augment.crops import CropRecipe, Op, augment
from hilum.augment.draws import uniforms

COUNT, SIDE = 400, 40
INDEX = torch.arange(COUNT)
STEPS = {
    "min_scale": 0.5,
    "aspect": 1.3,
    "flip": 0.5,
    "rotation": 10.0,
    "brightness": 0.8,
    "contrast": 0.8,
    "gamma": 0.5,
    "blur": 0.5,
    "noise": 0.1,
    "cutout": 0.5,
}
REFINE = {
    "max_scale": "min_scale",
    "blur_sigma_min": "blur",
    "blur_sigma_max": "blur",
    "cutout_side": "cutout",
}


def crops(film: torch.Tensor, **recipe: float) -> torch.Tensor:
    """Crops [COUNT, SIDE, SIDE] of one grey film [SIDE, SIDE], from 0 to 1."""
    return augment(film.expand(COUNT, 1, SIDE, SIDE), INDEX, CropRecipe(**recipe), SIDE, 0, 0, 0)[
        :, 0
    ]


def texture() -> torch.Tensor:
    return torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def halves(dark: float, bright: float) -> torch.Tensor:
    film = torch.full((SIDE, SIDE), dark)
    film[:, SIDE // 2 :] = bright
    return film


def test_every_option_of_a_recipe_is_a_step_or_refines_one():
    assert {field.name for field in fields(CropRecipe)} == STEPS.keys() | REFINE.keys()


@pytest.mark.parametrize(("name", "value"), STEPS.items())
def test_a_step_alone_changes_as_many_crops_as_it_says_and_0_none(name, value):
    plain = crops(texture())
    more = (
        {"blur_sigma_min": 6.0, "blur_sigma_max": 12.0} if name == "blur" else {}
    )  # else too narrow to see at 40 px
    changed = crops(texture(), **{name: value, **more})
    assert (plain == ops.standardise(texture()[None, None])[0, 0]).all()
    differs = (changed - plain).abs().amax(dim=(1, 2)) > 1e-3
    # Half of the draws darken or flatten, which standardising undoes.
    expected = 0.5 if name in ("flip", "blur", "cutout", "brightness", "contrast") else 1.0
    assert differs.float().mean() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("name", "step"), REFINE.items())
def test_what_refines_a_step_changes_it_and_nothing_without_it(name, step):
    value = {"max_scale": 0.7, "blur_sigma_min": 1.5, "blur_sigma_max": 9.0, "cutout_side": 0.9}[
        name
    ]
    assert not torch.equal(
        crops(texture(), **{step: STEPS[step], name: value}),
        crops(texture(), **{step: STEPS[step]}),
    )
    if name != "max_scale":  # which also holds a crop of fixed share
        assert torch.equal(crops(texture(), **{name: value}), crops(texture()))


def test_turns_reach_the_angle_to_both_sides_and_no_further():
    bar = torch.zeros(SIDE, SIDE)
    bar[4:36, 18:22] = 1.0
    seen = crops(bar, rotation=10.0)
    weight = (seen - seen.amin(dim=(1, 2), keepdim=True)).double()
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    place = (torch.arange(SIDE) + 0.5 - SIDE / 2).double()
    down, across = place[:, None], place[None, :]
    mixed, tall, wide = (
        (weight * part).sum(dim=(1, 2)) for part in (down * across, down**2, across**2)
    )
    angle = torch.rad2deg(0.5 * torch.atan2(2 * mixed, tall - wide))
    assert angle.abs().max() < 10.2
    assert angle.min() < -9.5
    assert angle.max() > 9.5
    assert angle.mean().abs() < 1.0


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_tones_cut_off_what_is_too_bright_or_too_dark_and_leave_a_grey_film(name):
    grey = 0.45 + 0.1 * texture()
    torch.testing.assert_close(
        crops(grey, **{name: 0.5}), crops(grey), atol=1e-3, rtol=0
    )  # standardising undoes it
    top = crops(texture(), **{name: 0.8}).amax(dim=(1, 2), keepdim=True)
    cut = (crops(texture(), **{name: 0.8}) == top).float().mean(dim=(1, 2))
    strongest = {"brightness": 1 - 1 / 1.8, "contrast": 0.5 * (1 - 1 / 1.8)}[
        name
    ]  # of evenly spread grey
    assert cut.max() == pytest.approx(strongest, abs=0.05)
    assert (cut < 0.01).float().mean() > 0.4


def test_gamma_reaches_from_its_inverse_to_itself():
    steps = texture().mul(3).floor() / 2  # black, middle, white
    seen = crops(steps, gamma=0.5)
    black, middle, white = (seen[:, steps == level].mean(dim=1) for level in (0.0, 0.5, 1.0))
    exponent = torch.log((middle - black) / (white - black)) / math.log(0.5)
    assert exponent.min() == pytest.approx(1 / 1.5, abs=0.02)
    assert exponent.max() == pytest.approx(1.5, abs=0.02)
    assert exponent.log().mean().abs() < 0.05


def test_blur_has_the_width_asked_for_in_pixels_of_a_large_film():
    edge = halves(0.0, 1.0)
    seen = crops(edge, blur=1.0, blur_sigma_min=5.6, blur_sigma_max=11.2)  # 1 to 2 px at 40 px
    profile = (seen - seen.amin(dim=(1, 2), keepdim=True)).mean(dim=1)
    profile = profile / profile[:, -1:]
    rise = profile.diff(dim=1)  # of a blurred edge: the bell itself
    place = torch.arange(SIDE - 1) - (SIDE / 2 - 1)
    sigma = (rise * place**2).sum(dim=1).sqrt()
    assert sigma.min() == pytest.approx(1.0, abs=0.06)
    assert sigma.max() == pytest.approx(2.0, abs=0.06)


def test_noise_is_as_strong_as_asked_for_at_most():
    dark, bright = (
        crops(halves(0.25, 0.75), noise=0.1).split(SIDE // 2, dim=2)[side].flatten(1)
        for side in (0, 1)
    )
    std = (dark.std(dim=1) + bright.std(dim=1)) / 2 * 0.5 / (bright.mean(dim=1) - dark.mean(dim=1))
    draw = uniforms(0, 0, INDEX, 0, tuple(Op))[Op.NOISE]
    torch.testing.assert_close(std, 0.1 * draw, atol=0.005, rtol=0)
    assert std.max() > 0.09
    self_trained = (dark - dark.mean(dim=1, keepdim=True)).flatten()
    assert (self_trained**3).mean().abs() < 0.05 * (self_trained**2).mean() ** 1.5  # no skew


def test_cutout_blanks_one_square_of_the_share_asked_for():
    blank = (crops(texture(), cutout=0.5, cutout_side=0.4) == 0).flatten(1).sum(dim=1)
    assert (blank > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert blank.max() <= (0.4 * SIDE + 1) ** 2
    assert blank.max() > (0.35 * SIDE) ** 2


def test_a_step_leaves_the_draws_of_the_others_alone():
    """A recipe with and without flips shows the same box of the same film, mirrored or not."""
    recipe = CropRecipe(min_scale=0.3, rotation=10.0, gamma=0.3)
    film = texture().expand(COUNT, 1, SIDE, SIDE)
    plain = augment(film, INDEX, recipe, SIDE, 0, 0, 0)
    flipped = augment(film, INDEX, replace(recipe, flip=1.0), SIDE, 0, 0, 0)
    torch.testing.assert_close(flipped, plain.flip(-1), atol=1e-4, rtol=0)
