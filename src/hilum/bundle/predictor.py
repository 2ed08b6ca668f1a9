"""A trained model, ready to read films exactly as it was trained to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.arrays import FloatArray, Rows
from hilum.augment.crops import whole_film
from hilum.bundle.model_folder import Description, Model, load_model
from hilum.classifier.network import Classifier
from hilum.errors import OptionError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.npz import read_film
from hilum.images.read import UnreadableFilm
from hilum.training.inference import as_probabilities, over_films


@dataclass(frozen=True)
class Predictor:
    """Films in, probabilities out; the preparation that the model was trained with is part of it."""

    model: Model
    classifier: Classifier
    device: torch.device

    @staticmethod
    def load(path: Path, device: str = "auto") -> Predictor:
        """Load a run folder's or a bundle's model.

        Raises:
            RunError: There is none, it is damaged, or it was pretrained only.
            OptionError: The device is not there.
        """
        model = load_model(path)
        chosen = choose_device(device)
        return Predictor(model, model.classifier.to(chosen).eval(), chosen)

    @property
    def description(self) -> Description:
        """What model.json says."""
        return self.model.description

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in the order of the probabilities."""
        return self.description.findings

    @property
    def preparation(self) -> Preparation:
        """How a grey film is prepared."""
        return Preparation.from_json(self.description.preparation)

    def prepare(self, film: Path | str) -> NDArray[np.uint8]:
        """Return a film's prepared pixels, uint8 [size, size].

        Raises:
            DataError: It cannot be read.
        """
        try:
            return np.asarray(self.preparation.apply(read_film(Path(film))))
        except MemoryError as error:
            raise UnreadableFilm("unreadable", "not enough memory") from error
        except cv2.error as error:
            raise UnreadableFilm(
                "damaged", f"OpenCV's {error.func or 'function'} refuses it"
            ) from error

    def standardised(self, films: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return prepared films as the network sees them, float32 [B, 1, size, size] on the model's device."""
        images = torch.from_numpy(np.stack(films)).unsqueeze(1).to(self.device)
        return whole_film(images, self.description.size)

    def predict(self, film: Path | str) -> dict[str, float]:
        """Return the probability of every finding on one film file.

        Raises:
            DataError: It cannot be read.
        """
        return self.probabilities(self.standardised([self.prepare(film)]))[0]

    def probabilities(self, images: Tensor) -> list[dict[str, float]]:
        """Return the probability of every finding for standardised films [B, 1, size, size]."""
        with torch.inference_mode():
            rows = self.classifier(images).sigmoid().tolist()
        return [dict(zip(self.findings, row, strict=True)) for row in rows]

    def called(self, probabilities: dict[str, float]) -> list[str]:
        """Return the findings whose probability reaches the threshold chosen on validation films."""
        thresholds: dict[str, Any] = dict(self.description.thresholds)
        return [
            name
            for name, value in probabilities.items()
            if thresholds[name] is not None and value >= thresholds[name]
        ]

    def score_films(self, films: Films, rows: Rows, progress: Any = None) -> FloatArray:
        """Return the probabilities [n, F] of stored films.

        Raises:
            DataError: The store was prepared in another way than the model's.
        """
        self.refuse_other_preparation(films)
        logits = over_films(self.classifier, films, rows, self.description.size, progress)
        return as_probabilities(logits)

    def refuse_other_preparation(self, films: Films) -> None:
        """Raise a DataError, with the command that would fit, if the films were prepared in another way."""
        films.refuse_other_preparation(self.preparation)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        OptionError: There is no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device is cuda and no GPU is found: allowed here is cpu or auto.")
    return torch.device(
        "cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu"
    )
