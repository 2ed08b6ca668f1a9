"""What a trained model takes from Python: paths, arrays, PIL images, tensors, read as grey uint8.

Every other kind is refused at once, before anything is iterated: a torch Dataset would be read to
its end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from hilum.errors import DataError
from hilum.images.read import to_eight_bits
from hilum.options import kind_of
from hilum.sources.archive.tree import dicom_files
from hilum.sources.paths import find_films

ALLOWED = (
    "a path, a folder, a list or pandas column of paths, a grey NumPy array [H, W] or [B, H, W] "
    "(uint8 from 0 to 255, uint16 from 0 to 65535 or with bits=, float from 0 to 1), a grey PIL image, "
    "a list of these, or a torch tensor [B, 1, H, W]"
)
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageInputs:
    """Images as they were given; files are not read yet."""

    images: Sequence[Any]
    """[B]: a path each, or a checked array [H, W]."""
    index: pd.Index
    """[B] paths as text, or positions from 0."""
    single: bool
    """Whether one image was given, and neither a list nor a batch."""
    bits: int | None
    """Bits that hold a value of a uint16 image; None for those that the bulk of it uses."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def name(self, position: int) -> str:
        """Return how an error line names an image: by its path or position."""
        image = self.images[position]
        return str(image) if isinstance(image, Path) else f"image {position}"

    def file(self, position: int) -> Path | None:
        """Return an image's file, None if it is an array."""
        image = self.images[position]
        return image if isinstance(image, Path) else None

    def grey(self, position: int) -> NDArray[np.uint8]:
        """Return an array given as an image as grey, uint8 [H, W]."""
        image = self.images[position]
        if image.dtype.kind == "f":
            levels: NDArray[np.uint8] = np.rint(image * image.dtype.type(255)).astype(np.uint8)
            return levels
        return np.asarray(to_eight_bits(image, self.bits))


def image_inputs(images: object, bits: int | None = None) -> ImageInputs:
    """Return what a caller gave as images, checked in kind, shape and range.

    Args:
        images: See ``ALLOWED``. Arrays are in radiographs' usual sense: 0 is black.
        bits: Bits that hold a value of a uint16 image, such as 12; None for those that the bulk of it uses.

    Raises:
        TypeError: It is of another kind.
        DataError: A shape or a value is not allowed, a folder has no image, or nothing was given.
    """
    if bits is not None and not 1 <= bits <= 16:
        raise DataError(f"bits is {bits}: allowed is 1 to 16.")
    if isinstance(images, (str, Path)):
        path = Path(images)
        is_folder = os.path.isdir(path)  # noqa: PTH112 - False for a name of any length
        return _files(path) if is_folder else ImageInputs([path], _paths([path]), True, bits)
    if isinstance(images, Tensor):
        images = _of_tensor(images)
    if isinstance(images, pd.DataFrame):
        raise TypeError(
            "images is a pandas DataFrame: give its column of paths, such as table['path']."
        )
    if isinstance(images, (list, tuple, pd.Series, pd.Index)) or _holds_paths(images):
        return _several(list(images), bits)  # type: ignore[call-overload]
    if isinstance(images, np.ndarray) and images.ndim == 3:
        checked = _checked(images, "images", 3, bits)
        return ImageInputs(list(checked), pd.RangeIndex(len(checked)), False, bits)
    return ImageInputs([_one(images, "images", bits)], pd.RangeIndex(1), True, bits)


def _several(images: list[Any], bits: int | None) -> ImageInputs:
    if not images:
        raise DataError(f"no image was given: allowed is {ALLOWED}.")
    taken = [_one(image, f"images[{position}]", bits) for position, image in enumerate(images)]
    if all(isinstance(image, Path) for image in taken):
        return ImageInputs(taken, _paths(taken), False, bits)
    return ImageInputs(taken, pd.RangeIndex(len(taken)), False, bits)


def _one(image: object, name: str, bits: int | None) -> Any:
    """Return one image as a path or a checked array [H, W]."""
    if isinstance(image, (str, Path)):
        return Path(image)
    # Pillow is no dependency: an image of it can only be here if the caller imported it.
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _checked(_of_pillow(image, name), name, 2, bits)
    if isinstance(image, np.ndarray):
        return _checked(image, name, 2, bits)
    raise TypeError(f"{name} is {kind_of(image)}: allowed is {ALLOWED}.")


def _checked(array: NDArray[Any], name: str, axes: int, bits: int | None) -> NDArray[Any]:
    """Return an array of grey images if its type, shape and range are allowed."""
    kind = array.dtype
    if kind not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise TypeError(
            f"{name} is an array of {kind}: allowed are uint8 from 0 to 255, uint16 from 0 to 65535 "
            "or with bits=, and float from 0 to 1."
        )
    colour = array.ndim > 2 and array.shape[-1] in (3, 4)  # [H, W, 3] has the axes of [B, H, W]
    if array.ndim != axes or 0 in array.shape or colour:
        raise DataError(
            f"{name} has shape {list(array.shape)}{': give grey images' if colour else ''}; allowed are "
            "[H, W] for one image and [B, H, W] for several, of at least one pixel."
        )
    low, high = array.min(), array.max()
    largest = 1.0 if kind.kind == "f" else 255 if kind == np.uint8 else 2 ** (bits or 16) - 1
    if not (low >= 0 and high <= largest):  # NaN compares false and is refused with them
        held = "holds NaN" if np.isnan(low) else f"has values from {low:g} to {high:g}"
        raise DataError(f"{name} ({kind}) {held}: allowed is 0 (black) to {largest:g} (white).")
    return array


def _of_tensor(images: Tensor) -> NDArray[Any]:
    """Return a tensor's images as an array [B, H, W]."""
    if images.ndim != 4 or images.shape[1] != 1 or not images.numel():
        raise DataError(
            f"images is a tensor of shape {list(images.shape)}: allowed is [B, 1, H, W], grey, of at least one pixel."
        )
    if str(images.dtype) in ("torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"):
        raise TypeError(f"images is a tensor of {images.dtype}: give images.float(), from 0 to 1.")
    array: NDArray[Any] = images.detach()[:, 0].cpu().numpy()
    return array


def _of_pillow(image: Any, name: str) -> NDArray[Any]:
    """Return a PIL image as an array [H, W], turned upright by its EXIF orientation as files are."""
    array = np.asarray(image)
    if image.mode == "I" and array.min() >= 0 and array.max() <= 65535:
        array = array.astype(np.uint16)  # what older versions of Pillow make of a 16-bit PNG
    elif image.mode not in ("L", "F", "I;16", "I;16L", "I;16B", "I;16N"):
        raise DataError(f"{name} is a PIL image of mode {image.mode}: give image.convert('L').")
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):  # the picture lies on its side
        array = array.T
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _files(folder: Path) -> ImageInputs:
    """Return a folder's films at any depth: PNG and JPEG files by their names, then DICOM files by their content."""
    names = dict.fromkeys([*find_films(folder), *dicom_files(folder)])
    files = [folder / name for name in names]
    if not files:
        raise DataError(f"{folder} holds no PNG, JPEG or DICOM file: give a folder that does.")
    return ImageInputs(files, _paths(files), False, None)


def _paths(files: Sequence[Path]) -> pd.Index:
    return pd.Index([str(file) for file in files], dtype="object", name="path")


def _holds_paths(images: object) -> bool:
    """Whether an array is a column of texts or objects, as ``table['path'].to_numpy()`` gives."""
    return isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "OU"
