import cv2
import kornia
import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from hilum.augment import ops


def films(count: int = 3, side: int = 40) -> torch.Tensor:
    """Smooth blobs plus texture, grey from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (0.8 * smooth + 0.2 * torch.rand(count, 1, side, side, generator=generator)).clamp(0, 1)


def boxes(left: float, top: float, width: float, height: float, count: int = 3) -> ops.Boxes:
    return ops.Boxes(*(torch.full((count,), value) for value in (left, top, width, height)))


WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_the_whole_box_is_the_film():
    torch.testing.assert_close(
        ops.crop_and_resize(films(), boxes(*WHOLE), 40), films(), atol=2e-6, rtol=0
    )


def test_crop_and_resize_like_torchvision():
    ours = ops.crop_and_resize(films(), boxes(0.25, 0.1, 0.5, 0.6), 32)
    theirs = vision.resized_crop(
        films(), top=4, left=10, height=24, width=20, size=[32, 32], antialias=False
    )
    # torchvision cuts first and cannot look beyond the box, so the outermost pixels differ.
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_crop_at_the_films_own_edge_like_torchvision():
    ours = ops.crop_and_resize(films(), boxes(0.0, 0.0, 1.0, 1.0), 57)
    theirs = vision.resize(films(), [57, 57], antialias=False)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("angle", [-30.0, 7.0, 90.0])
def test_rotation_like_torchvision_and_kornia(angle):
    ours = ops.crop_and_resize(films(), boxes(*WHOLE), 40, degrees=torch.full((3,), angle))
    torchvisions = vision.rotate(films(), angle, interpolation=InterpolationMode.BILINEAR)
    kornias = kornia.geometry.transform.rotate(
        films(), torch.full((3,), angle), padding_mode="border"
    )
    middle = (..., slice(12, 28), slice(12, 28))  # torchvision fills the corners with black
    torch.testing.assert_close(ours[middle], torchvisions[middle], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, kornias, atol=1e-4, rtol=0)


def test_flip_is_the_mirrored_crop():
    flip = torch.tensor([True, False, True])
    box, degrees = boxes(0.2, 0.1, 0.5, 0.7), torch.tensor([5.0, -9.0, 3.0])
    plain = ops.crop_and_resize(films(), box, 24, degrees=degrees)
    both = ops.crop_and_resize(films(), box, 24, flip=flip, degrees=degrees)
    torch.testing.assert_close(both, ops.mirror(plain, flip), atol=2e-6, rtol=0)
    assert torch.equal(ops.mirror(plain, flip)[0], vision.horizontal_flip(plain[0]))


def test_crop_of_a_film_that_is_not_square():
    wide = films(1, 40)[..., :20, :]
    turned = ops.crop_and_resize(
        wide, boxes(0.25, 0.0, 0.5, 1.0, count=1), 20, degrees=torch.tensor([90.0])
    )
    torch.testing.assert_close(turned[0, 0], torch.rot90(wide[0, 0, :, 10:30]), atol=1e-5, rtol=0)


def test_resize_filters_against_aliasing_like_torchvision():
    torch.testing.assert_close(
        ops.resize(films(), 15), vision.resize(films(), [15, 15], antialias=True)
    )
    assert ops.resize(films(), 40).shape[-1] == 40


def test_shrink_is_the_mean_of_areas():
    small = ops.shrink(films(1), 4)[0, 0].numpy()
    np.testing.assert_allclose(
        small, cv2.resize(films(1)[0, 0].numpy(), (10, 10), interpolation=cv2.INTER_AREA), atol=1e-6
    )
    assert ops.shrink(films(), 1).shape[-1] == 40
    assert ops.shrink(films(), 3).shape[-1] == 14


@pytest.mark.parametrize(
    ("brightness", "contrast"), [(1.2, 1.0), (0.7, 1.0), (1.0, 0.6), (0.8, 0.9)]
)
def test_brightness_and_contrast_like_torchvision(brightness, contrast):
    dim = films() * 0.5 + 0.2  # nothing is cut off, so that the order of cutting does not matter
    ours = ops.brightness_contrast(dim, torch.full((3,), brightness), torch.full((3,), contrast))
    theirs = vision.adjust_contrast(vision.adjust_brightness(dim, brightness), contrast)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_brightness_is_cut_to_black_and_white():
    bright = ops.brightness_contrast(films(), torch.full((3,), 1.9), torch.full((3,), 1.9))
    assert bright.min() == 0.0
    assert bright.max() == 1.0


def test_gamma_like_torchvision():
    for exponent in (0.6, 1.0, 1.7):
        ours = ops.gamma(films(), torch.full((3,), exponent))
        torch.testing.assert_close(ours, vision.adjust_gamma(films(), exponent), atol=1e-6, rtol=0)


@pytest.mark.parametrize("radius", [1, 3, 6])
def test_blur_like_torchvision_with_a_sigma_a_film(radius):
    sigma = torch.tensor([0.3, 0.8, 2.0])
    ours = ops.gaussian_blur(films(), sigma, radius)
    for row in range(3):
        theirs = vision.gaussian_blur(films()[row], [2 * radius + 1] * 2, [sigma[row].item()] * 2)
        torch.testing.assert_close(ours[row], theirs, atol=1e-5, rtol=0)


def test_no_blur_is_exactly_the_film():
    assert torch.equal(ops.gaussian_blur(films(), torch.zeros(3), 4), films())
    assert torch.equal(ops.gaussian_blur(films(), torch.ones(3), 0), films())


def test_noise_is_added_with_each_films_strength():
    noise = torch.ones(3, 1, 40, 40)
    noisy = ops.add_noise(films(), noise, torch.tensor([0.0, 0.1, 0.5]))
    torch.testing.assert_close((noisy - films()).mean(dim=(1, 2, 3)), torch.tensor([0.0, 0.1, 0.5]))


def test_cutout_blanks_the_square_and_nothing_else():
    x, y, side = (
        torch.tensor([0.5, 0.25, 0.5]),
        torch.tensor([0.5, 0.5, 0.0]),
        torch.tensor([0.5, 0.2, 0.0]),
    )
    cut = ops.cutout(films() + 1, x, y, side)
    assert (cut == 0).sum(dim=(1, 2, 3)).tolist() == [400, 64, 0]
    assert (cut[0, 0, 10:30, 10:30] == 0).all()
    assert (cut[1, 0, 16:24, 6:14] == 0).all()
    assert torch.equal(cut[2], films()[2] + 1)


def test_standardise_uint8_and_float_alike():
    raw = (films() * 255).round().to(torch.uint8)
    ours = ops.standardise(raw)
    exact = raw.double()
    expected = (exact - exact.mean((2, 3), keepdim=True)) / exact.std(
        (2, 3), keepdim=True, correction=0
    )
    torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=0)
    assert (
        torch.equal(ours, ops.standardise(raw.float() / 255))
        or (ours - ops.standardise(raw.float() / 255)).abs().max() < 1e-5
    )
    assert ours.dtype == torch.float32


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_a_blank_film_becomes_zeros(level):
    blank = torch.full((2, 1, 64, 64), level, dtype=torch.uint8)
    assert ops.standardise(blank).abs().max() < 1e-3


def test_standardise_leaves_its_input_alone():
    raw = films()
    before = raw.clone()
    ops.standardise(raw)
    ops.gamma(raw, torch.full((3,), 2.0))
    ops.brightness_contrast(raw, torch.ones(3), torch.ones(3) * 2)
    ops.gaussian_blur(raw, torch.ones(3), 2)
    assert torch.equal(raw, before)
