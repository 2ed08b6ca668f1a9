"""Where findings truly lie on a store's films: the masks of phantoms, or boxes that readers drew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError
from hilum.images.enhance import pixel_hash
from hilum.images.read import read_grey
from hilum.images.store import Store
from hilum.phantoms.masks import read_masks
from hilum.sources.nih14_boxes import OPACITIES, OWN, Box, read_boxes
from hilum.training.batches import Rows

MASKS = "masks"
MOST_SIDE = 256
"""Largest side of a mask in pixels: larger ones are shrunk, boxes are drawn at it."""
STAND_INS = {"Lung Opacity": ("Consolidation", "Infiltration", "Pneumonia")}
"""Findings that stand for one that a model does not call: the map of the most probable of them is scored."""
_NONE = "no masks or boxes of these films are at hand: name the data set's folder as --truth."

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """A finding that a film shows, and where: ``mask`` is [S, S], true somewhere."""

    row: int
    finding: str
    mask: Mask


class KnownPlaces(Protocol):
    """Knows where findings lie."""

    @property
    def kind(self) -> str:
        """``masks`` or ``boxes``."""

    @property
    def said(self) -> str:
        """What they are, in words."""

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the masks [S, S] of the findings that a film of the store shows, each true somewhere."""


@dataclass(frozen=True)
class DrawnMasks:
    """The masks beside phantoms: the very pixels that a finding changed."""

    root: Path
    kind = "masks"
    said = "masks of what was drawn"

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the masks of the findings that a film shows.

        Raises:
            DataError: The file is missing or is no mask.
        """
        found = read_masks((self.root / MASKS / path).with_suffix(".png"))
        return {name: _shrunk(mask) for name, mask in found.items() if mask.any()}


@dataclass(frozen=True)
class DrawnBoxes:
    """Boxes by a film's file name."""

    boxes: Mapping[str, Sequence[Box]]
    said: str
    kind = "boxes"

    def masks(self, path: str) -> dict[str, Mask]:
        """Return the boxes of a film, those of one finding together."""
        found: dict[str, Mask] = {}
        for box in self.boxes.get(path.rpartition("/")[2], ()):
            _fill(found.setdefault(box.finding, np.zeros((MOST_SIDE, MOST_SIDE), np.bool_)), box)
        return {name: mask for name, mask in found.items() if mask.any()}


def places_of(store: Store, roots: Sequence[Path]) -> KnownPlaces | str:
    """Return where findings lie on a store's films, or the reason why it is not known.

    A root counts if it holds the very film that the store does, by its pixels: every phantom set has the same paths.

    Args:
        store: The films.
        roots: Folders of data sets, as given to `hilum prepare`.

    Raises:
        DataError: A table of boxes is damaged.
    """
    reason = _NONE
    for root in roots:
        if not _holds(root, store):
            reason = f"{root.name or root} does not hold the films of {store.source} that the store was prepared from."
        elif (root / MASKS).is_dir():
            return DrawnMasks(root)
        elif boxes := read_boxes(root):
            return DrawnBoxes(boxes, _boxes_said(root))
        else:
            reason = f"{root.name or root} holds no masks and no boxes: looked for {MASKS}/, {OWN} and {OPACITIES}."
    return reason


def shown_findings(
    store: Store, rows: Rows, places: KnownPlaces, findings: Sequence[str], most_films: int, seed: int
) -> list[Shown]:
    """Return the findings shown on at most so many films, drawn by the seed among those that show any.

    Args:
        store: Of the films.
        rows: [n] rows of the store.
        places: Where findings lie on its films.
        findings: What the model calls; what it does not call and nothing stands in for is left out.
        most_films: Films at most.
        seed: Of the draw.
    """
    found: list[Shown] = []
    films = 0
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        here = list(_called(places.masks(str(store.catalog["path"].iloc[row])), findings, row))
        films += bool(here)
        found += here
        if films == most_films:
            break
    return sorted(found, key=lambda one: one.row)


def outputs_for(finding: str, findings: Sequence[str]) -> list[int]:
    """Return the places of the model's outputs that are asked about a finding: its own, else those that stand in."""
    names = (finding,) if finding in findings else STAND_INS.get(finding, ())
    return [findings.index(name) for name in names if name in findings]


def _called(masks: Mapping[str, Mask], findings: Sequence[str], row: int) -> Iterator[Shown]:
    return (Shown(row, name, mask) for name, mask in masks.items() if outputs_for(name, findings))


def _holds(root: Path, store: Store) -> bool:
    """Whether the first film of the store, prepared from the root, has the store's pixels."""
    if not len(store):
        return False
    try:
        film = store.preparation.apply(read_grey(root / str(store.catalog["path"].iloc[0])))
    except (DataError, OSError):
        return False
    return pixel_hash(film) == str(store.catalog["pixels"].iloc[0])


def _boxes_said(root: Path) -> str:
    named = {OWN: "the data set's own boxes", OPACITIES: "the RSNA challenge's boxes of Lung Opacity"}
    return " and ".join(words for name, words in named.items() if (root / name).is_file())


def _shrunk(mask: Mask) -> Mask:
    """Return the mask with at most MOST_SIDE pixels a side; a pixel that touches the mask belongs to it."""
    height, width = mask.shape
    if max(height, width) <= MOST_SIDE:
        return mask
    size = (min(width, MOST_SIDE), min(height, MOST_SIDE))
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0, np.bool_)


def _fill(mask: Mask, box: Box) -> None:
    """Set the pixels whose area a box touches."""
    left, top = (max(int(np.floor(share * MOST_SIDE)), 0) for share in (box.left, box.top))
    right, bottom = (int(np.ceil(share * MOST_SIDE)) for share in (box.right, box.bottom))
    mask[top : max(bottom, 0), left : max(right, 0)] = True
