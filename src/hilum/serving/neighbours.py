"""The films of a store that are most like a sent one, by a model's features, with their labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.counts import counted
from hilum.errors import OptionError
from hilum.images.enhance import pixel_hash
from hilum.images.films import Films
from hilum.serving.model import ServedModel
from hilum.serving.verdicts import WORDS

NEAREST = 6
"""Films that are shown, each of another patient."""
MOST_FILMS = 200_000
"""Films of an index, at most: at 512 features they take 400 MB."""
PICTURE_SIDE = 128
"""Pixels of a picture's side, at most: text that may be burnt in is hardly legible."""
BATCH = 64


class FilmIndex:
    """The features of a store's films, in memory. They are computed when it is made."""

    def __init__(
        self,
        folder: Path,
        model: ServedModel,
        pictures: bool = False,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Compute the features of all films of a store.

        Args:
            folder: A store, prepared as the model's films were.
            model: Gives the features.
            pictures: Whether films may be shown.
            progress: Called with films done and films in all.

        Raises:
            DataError: It is no store, or was prepared in another way.
            OptionError: It is too large, or the bundle gives no features.
        """
        self.films, self.pictures = Films.open([folder]), pictures
        self.films.refuse_other_preparation(model.facts.preparation)
        total = len(self.films)
        if total > MOST_FILMS:
            raise OptionError(
                f"--index {folder} has {counted(total, 'film')}: at most {MOST_FILMS:,} are compared; prepare "
                "a smaller store."
            )
        blocks = []
        for start in range(0, total, BATCH):
            rows = np.arange(start, min(start + BATCH, total), dtype=np.int64)
            blocks.append(_unit(model.features(self.films.read(rows))))
            progress(int(rows[-1]) + 1, total)
        self._features = np.concatenate(blocks)  # [N, D]
        self._labels, self._patients = self.films.labels, self.films.patient_codes
        self._words = {value: word for word, value in WORDS.items()}

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self._features)

    def facts(self) -> dict[str, Any]:
        """Return how many films it has, and whether they are shown."""
        return {"films": len(self), "pictures": self.pictures}

    def nearest(self, features: FloatArray, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Return the films most like one, the nearest first, at most one a patient.

        Args:
            features: [D], of the film.
            image: Its prepared pixels, uint8 [P, P].
        """
        cosines = self._features @ _unit(features[None])[0]  # [N]
        chosen: list[int] = []
        people = set()
        for row in np.argsort(-cosines, kind="stable").tolist():
            if self._patients[row] not in people:
                people.add(self._patients[row])
                chosen.append(row)
            if len(chosen) == NEAREST:
                break
        hashes = self.films.columns(["pixels"], np.array(chosen, np.int64))["pixels"].tolist()
        own = pixel_hash(image)
        return [
            {
                "row": row,
                "similarity": float(np.clip(cosines[row], -1, 1)),
                "labels": {
                    name: self._words[float(value)]
                    for name, value in zip(self.films.findings, self._labels[row], strict=True)
                    if not np.isnan(value)
                },
                "same_film": pixels == own,
            }
            for row, pixels in zip(chosen, hashes, strict=True)
        ]

    def picture(self, row: int) -> bytes:
        """Return one of the films as a small PNG.

        Raises:
            DataError: Its pixels are not what was written.
        """
        image = self.films.read(np.array([row], np.int64))[0]
        if image.shape[0] > PICTURE_SIDE:
            image = cv2.resize(image, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
        return cv2.imencode(".png", image)[1].tobytes()


def _unit(features: FloatArray) -> FloatArray:
    """Return features [B, D] of length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)
