"""Annotations of a store's films: the masks of phantoms, or boxes that radiologists drew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.annotations.mask_files import read_masks
from hilum.annotations.nih14_boxes import OPACITIES, OWN, Box, read_boxes
from hilum.annotations.reader_boxes import reader_boxes
from hilum.arrays import BoolArray, Rows
from hilum.errors import DataError
from hilum.images.enhance import padded_size, pixel_hash
from hilum.images.read import read_grey
from hilum.images.store import Store

MASKS, PHANTOMS = "masks", "phantoms"
PAD = "pad"
"""Name of the fit that adds black margins to a film; every other one stretches film and
annotation alike."""
MOST_SIDE = 256
"""Largest side of a mask in pixels: larger ones are shrunk, boxes are drawn at it."""
STAND_INS = {"Lung Opacity": ("Consolidation", "Infiltration", "Pneumonia")}
"""Findings in place of one that a model does not call: the map of the most probable is scored."""
_NONE = "no masks or boxes of these films are at hand: name the data set's folder as --annotations."

Mask = BoolArray
Film = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """An annotated finding of a film; ``mask`` is in the stored film's frame, true somewhere."""

    row: int
    finding: str
    mask: Mask


class Annotations(Protocol):
    """Annotations of films by path."""

    @property
    def kind(self) -> str:
        """``masks`` or ``boxes``."""

    @property
    def description(self) -> str:
        """What they are, in words."""

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the masks of a film's findings in the store's frame, each true somewhere."""


@dataclass(frozen=True)
class MaskAnnotations:
    """The masks of phantoms: the pixels that a finding changed."""

    root: Path
    fit: str = "squash"
    """How the store's films became square, a name of ``enhance.FITS``."""
    kind = "masks"
    description = "masks of what was drawn"

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the masks of the findings that a film shows.

        Raises:
            DataError: The file is missing or is no mask.
        """
        masks = read_masks((self.root / MASKS / path).with_suffix(".png"))
        return {name: _shrunk(self._in_frame(mask)) for name, mask in masks.items() if mask.any()}

    def _in_frame(self, mask: Mask) -> Mask:
        return _centred(mask, max(mask.shape)) if self.fit == PAD else mask


@dataclass(frozen=True)
class BoxAnnotations:
    """Boxes by a film's file name, of the data set's folder."""

    root: Path
    boxes: Mapping[str, Sequence[Box]]
    description: str
    fit: str = "squash"
    """As of ``MaskAnnotations``."""
    kind = "boxes"

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the boxes of a film, those of one finding together.

        Raises:
            DataError: The films are padded and this one cannot be read.
        """
        masks: dict[str, Mask] = {}
        boxes = self.boxes.get(path.rpartition("/")[2], ())
        shape = self._shape(path) if boxes else (0, 0)
        for box in boxes:
            _fill(masks.setdefault(box.finding, np.zeros(shape, np.bool_)), box)
        return {name: _centred(mask, MOST_SIDE) for name, mask in masks.items() if mask.any()}

    def _shape(self, path: str) -> tuple[int, int]:
        """Return [H, W] of the film within a square of MOST_SIDE; boxes are fractions of it."""
        if self.fit != PAD:
            return MOST_SIDE, MOST_SIDE
        height, width = read_grey(self.root / path).shape
        return padded_size(height, width, MOST_SIDE)


def likely_roots(study: Path, store: Path, plan: Mapping[str, Any]) -> list[Path]:
    """Return folders that may hold the films of a study's store, which does not record its source.

    ``original_film`` finds the right one by the films' pixels.

    Args:
        study: Its folder.
        store: The store's folder.
        plan: Of the study; what it names as ``annotations`` comes first, then the folder of a
            demo's phantoms.
    """
    named: Iterable[object] = plan.get("annotations") or ()
    usual = [study / PHANTOMS, store.parent / PHANTOMS]
    return [*(Path(str(root)) for root in named), *(root for root in usual if root.is_dir())]


def original_film(root: Path, store: Store, row: int) -> Film | None:
    """Return a film [H, W] below a root, None where it is not the film of the store.

    A path is not enough: every phantom set has the same paths. The film is prepared as the store's
    and compared by its pixels.
    """
    path = Path(str(store.catalog["path"].iloc[row]))
    if path.is_absolute() or ".." in path.parts:
        return None
    try:
        grey = read_grey(root / path, rendering=store.preparation.dicom)
        film = np.asarray(grey, np.uint8)
    except (DataError, OSError):
        return None
    known = str(store.catalog["pixels"].iloc[row])
    return film if pixel_hash(store.preparation.apply(film)) == known else None


def annotations_of(store: Store, roots: Sequence[Path]) -> Annotations | str:
    """Return the annotations of a store's films, or the reason why there are none.

    A root counts if its first film has the pixels of the store's.

    Args:
        store: The films.
        roots: Folders of data sets, as given to `hilum prepare`.

    Raises:
        DataError: A table of boxes is damaged.
    """
    reason = _NONE
    for root in roots:
        if not len(store) or original_film(root, store, 0) is None:
            reason = (
                f"{root.name or root} does not hold the films of {store.source} "
                "that the store was prepared from."
            )
        elif (root / MASKS).is_dir():
            return MaskAnnotations(root, store.preparation.fit)
        elif boxes := read_boxes(root):
            return BoxAnnotations(root, boxes, _description_of_boxes(root), store.preparation.fit)
        elif boxes := reader_boxes(root, _sizes(store)):
            return BoxAnnotations(root, boxes, "the data set's own boxes", store.preparation.fit)
        else:
            reason = (
                f"{root.name or root} holds no masks and no boxes: "
                f"looked for {MASKS}/, {OWN} and {OPACITIES}."
            )
    return reason


def _sizes(store: Store) -> dict[str, tuple[int, int]]:
    """Return height and width of the films by their file names, of those whose size is known."""
    known = store.columns(["path", "height", "width"]).dropna()
    names = known["path"].str.rpartition("/")[2]
    return dict(zip(names, zip(known["height"], known["width"], strict=True), strict=True))


def shown_findings(
    store: Store,
    rows: Rows,
    annotations: Annotations,
    findings: Sequence[str],
    most_films: int,
    seed: int,
) -> list[Shown]:
    """Return the annotated findings of at most so many films, drawn by the seed.

    Args:
        store: Of the films.
        rows: [n] rows of the store.
        annotations: Of its films.
        findings: The model's; annotations of others are left out, but for STAND_INS.
        most_films: Films at most.
        seed: Of the draw.
    """
    shown: list[Shown] = []
    films = 0
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        masks = annotations.masks(str(store.catalog["path"].iloc[row]))
        of_film = [
            Shown(row, name, mask) for name, mask in masks.items() if outputs_for(name, findings)
        ]
        films += bool(of_film)
        shown += of_film
        if films == most_films:
            break
    return sorted(shown, key=lambda each: each.row)


def outputs_for(finding: str, findings: Sequence[str]) -> list[int]:
    """Return the model's outputs for a finding: its own, else its stand-ins."""
    names = (finding,) if finding in findings else STAND_INS.get(finding, ())
    return [findings.index(name) for name in names if name in findings]


def _description_of_boxes(root: Path) -> str:
    named = {
        OWN: "the data set's own boxes",
        OPACITIES: "the RSNA challenge's boxes of Lung Opacity",
    }
    return " and ".join(words for name, words in named.items() if (root / name).is_file())


def _shrunk(mask: Mask) -> Mask:
    """Return the mask with at most MOST_SIDE pixels a side; a pixel counts if any of it does."""
    height, width = mask.shape
    if max(height, width) <= MOST_SIDE:
        return mask
    size = (min(width, MOST_SIDE), min(height, MOST_SIDE))
    return np.asarray(
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0, np.bool_
    )


def _centred(mask: Mask, side: int) -> Mask:
    """Return the mask [H, W] centred in a square, as padding centres a film."""
    height, width = mask.shape
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), np.bool_)
    square[top : top + height, left : left + width] = mask
    return square


def _fill(mask: Mask, box: Box) -> None:
    """Set the pixels whose area a box touches."""
    height, width = mask.shape
    rows = slice(max(int(np.floor(box.top * height)), 0), max(int(np.ceil(box.bottom * height)), 0))
    columns = slice(
        max(int(np.floor(box.left * width)), 0), max(int(np.ceil(box.right * width)), 0)
    )
    mask[rows, columns] = True
