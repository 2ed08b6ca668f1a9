from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.augment import ops
from hilum.augment.crops import (
    CropRecipe,
    Op,
    augment,
    multi_crop,
    random_boxes,
    two_crops,
    whole_film,
)
from hilum.augment.draws import uniforms
from hilum.augment.presets import FINETUNE, MOCO, SWAV, SWAV_LOCAL
from hilum.errors import OptionError

EVERYTHING = replace(MOCO, cutout=0.5)


def films(count: int = 12, side: int = 40) -> torch.Tensor:
    return torch.randint(
        0,
        256,
        (count, 1, side, side),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(1),
    )


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.integers(0, 11), min_size=1, max_size=12), side=st.sampled_from([40, 97]))
def test_a_films_crop_does_not_depend_on_its_batch(rows, side):
    images, index = films(side=side), torch.arange(12) * 1_000_003
    whole = augment(images, index, EVERYTHING, 33, seed=1, epoch=2, crop=1)
    part = augment(images[rows], index[rows], EVERYTHING, 33, seed=1, epoch=2, crop=1)
    assert torch.equal(part, whole[rows])


def test_nor_on_a_batch_of_many_films():
    images, index = films(48, side=224), torch.arange(48)
    whole = augment(images, index, EVERYTHING, 224, 0, 0, 0)
    parts = [
        augment(images[rows], index[rows], EVERYTHING, 224, 0, 0, 0)
        for rows in torch.arange(48).split(16)
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_nor_on_the_threads(threads, count):
    images, index = films(side=224), torch.arange(12)
    threads(1)
    expected = augment(images, index, EVERYTHING, 224, 0, 0, 0)
    threads(count)
    assert torch.equal(augment(images, index, EVERYTHING, 224, 0, 0, 0), expected)
    assert torch.equal(augment(images[3:4], index[3:4], EVERYTHING, 224, 0, 0, 0), expected[3:4])


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}, {"crop": 1}])
def test_another_key_gives_another_crop(changed):
    key = {"seed": 0, "epoch": 0, "crop": 0}
    same = augment(films(), torch.arange(12), MOCO, 32, **key)
    other = augment(films(), torch.arange(12), MOCO, 32, **{**key, **changed})
    assert ((same - other).abs().amax(dim=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("recipe", [MOCO, FINETUNE, CropRecipe()], ids=["moco", "finetune", "none"])
@pytest.mark.parametrize("size", [24, 40, 64])
def test_every_preset_gives_standardised_films(recipe, size):
    crop = augment(films(), torch.arange(12), recipe, size, 0, 0, 0)
    assert crop.shape == (12, 1, size, size)
    assert crop.dtype == torch.float32
    torch.testing.assert_close(crop.mean(dim=(1, 2, 3)), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        crop.std(dim=(1, 2, 3), correction=0), torch.ones(12), atol=1e-4, rtol=0
    )


def test_no_augmentation_is_the_whole_film():
    assert torch.equal(
        augment(films(), torch.arange(12), CropRecipe(), 40, 0, 0, 0), ops.standardise(films())
    )
    assert torch.equal(
        augment(films(), torch.arange(12), CropRecipe(), 24, 0, 0, 0), whole_film(films(), 24)
    )


def test_flip_alone_mirrors_exactly_half_of_the_films():
    index = torch.arange(400)
    images = films(400, 8)
    flipped = augment(images, index, CropRecipe(flip=0.5), 8, 0, 0, 0)
    mirrored = (flipped == ops.standardise(images.flip(-1))).flatten(1).all(dim=1)
    plain = (flipped == ops.standardise(images)).flatten(1).all(dim=1)
    assert (mirrored ^ plain).all()
    assert 160 < mirrored.sum() < 240


def test_two_crops_are_crops_0_and_1():
    first, second = two_crops(films(), torch.arange(12), MOCO, 32, 3, 4)
    assert torch.equal(first, augment(films(), torch.arange(12), MOCO, 32, 3, 4, crop=0))
    assert torch.equal(second, augment(films(), torch.arange(12), MOCO, 32, 3, 4, crop=1))


@pytest.mark.parametrize(
    "positives",
    [None, (films(12, 40).flip(0), torch.arange(12).flip(0))],
    ids=["alone", "positives"],
)
def test_multi_crop_is_two_crops_and_then_the_films_own_local_crops(positives):
    images, index = films(), torch.arange(12)
    crops = multi_crop(
        images,
        index,
        SWAV,
        32,
        3,
        4,
        local=SWAV_LOCAL,
        local_crops=3,
        local_size=16,
        positives=positives,
    )
    pair = two_crops(images, index, SWAV, 32, 3, 4, positives=positives)
    local = [augment(images, index, SWAV_LOCAL, 16, 3, 4, crop=number) for number in (2, 3, 4)]
    assert len(crops) == 5
    assert all(torch.equal(one, other) for one, other in zip(crops, (*pair, *local), strict=True))
    assert not torch.equal(crops[2], crops[3])


def test_multi_crop_without_local_crops_is_two_crops():
    crops = multi_crop(
        films(), torch.arange(12), SWAV, 32, 3, 4, local=SWAV_LOCAL, local_crops=0, local_size=16
    )
    pair = two_crops(films(), torch.arange(12), SWAV, 32, 3, 4)
    assert all(torch.equal(one, other) for one, other in zip(crops, pair, strict=True))


def test_local_crops_show_less_than_global_ones_and_not_below_a_seventh():
    assert SWAV_LOCAL.min_scale >= 0.15
    draws = uniforms(0, 0, torch.arange(5000), 2, tuple(Op))
    local, whole = random_boxes(draws, SWAV_LOCAL), random_boxes(draws, SWAV)
    assert (local.width * local.height).mean() < 0.6 * (whole.width * whole.height).mean()


def test_boxes_lie_in_the_film_and_fill_the_ranges():
    recipe = CropRecipe(min_scale=0.3, max_scale=0.9, aspect=1.5)
    left, top, width, height = random_boxes(
        uniforms(0, 0, torch.arange(20_000), 0, tuple(Op)), recipe
    )
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6
    area, aspect = width * height, width / height
    assert area.min() < 0.31
    assert 0.85 < area.max() <= 0.9 + 1e-6
    assert aspect.min() < 0.68
    assert aspect.max() > 1.47
    assert abs(aspect.log().mean()) < 0.01
    uncut = (width < 1) & (height < 1)
    assert uncut.float().mean() > 0.8
    assert abs((left / (1 - width))[uncut].mean() - 0.5) < 0.01


def test_strong_shrinking_does_not_alias():
    film = torch.full((320, 320), 128, dtype=torch.uint8)
    film[:, ::2], film[:, 1::2] = 0, 255
    flat = torch.full_like(film, 128)
    film[80:240, 80:240] = flat[80:240, 80:240] = 255
    pair = torch.stack((film, flat))[:, None]
    fine, smooth = augment(pair, torch.tensor([5, 5]), CropRecipe(min_scale=0.8), 40, 0, 0, 0)
    assert (fine - smooth).abs().mean() < 0.15
    assert (fine - smooth).abs().max() < 0.5  # stripes read without a filter swing by 2


def test_a_store_larger_than_the_crop_keeps_the_geometry():
    ramp = torch.linspace(0, 255, 160).round().to(torch.uint8).expand(1, 1, 160, 160).contiguous()
    coarse = augment(ramp[..., ::4, ::4].contiguous(), torch.tensor([7]), FINETUNE, 32, 0, 0, 0)
    fine = augment(ramp, torch.tensor([7]), FINETUNE, 32, 0, 0, 0)
    assert (coarse - fine).abs().max() < 0.1


def test_an_identical_film_under_another_index_gets_another_crop():
    same = films(1).expand(4, -1, -1, -1)
    crops = augment(same, torch.arange(4), FINETUNE, 40, 0, 0, 0)
    assert torch.pdist(crops.flatten(1)).min() > 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("flip", 1.5),
        ("min_scale", 0.0),
        ("max_scale", 1.2),
        ("aspect", 0.5),
        ("noise", -1),
        ("blur_sigma_min", 3.0),
    ],
)
def test_a_value_out_of_range_is_named(option, value):
    with pytest.raises(
        OptionError, match=f"crop option {option} is {value}: allowed are values from"
    ):
        replace(MOCO, **{option: value})


def test_classifiers_never_see_a_mirrored_heart():
    assert FINETUNE.flip == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_the_same_crops():
    images, index = films(side=64), torch.arange(12)
    on_cpu = augment(images, index, EVERYTHING, 64, 0, 0, 0)
    on_gpu = augment(images.cuda(), index.cuda(), EVERYTHING, 64, 0, 0, 0).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-3, rtol=0)
