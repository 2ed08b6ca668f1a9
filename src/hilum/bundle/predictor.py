"""A trained model, ready to read images exactly as it was trained to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.arrays import FloatArray, Rows
from hilum.augment.crops import whole_film
from hilum.bundle.description import Description
from hilum.bundle.film_reading import FilmReading
from hilum.bundle.image_inputs import image_inputs
from hilum.bundle.model_folder import Model, load_model
from hilum.classifier.network import Classifier
from hilum.errors import DataError, OptionError, did_you_mean
from hilum.findings import positions
from hilum.heatmaps.gradcam import explain as heatmaps
from hilum.heatmaps.overlay import over_original
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import MANIFEST
from hilum.options import Device, as_path
from hilum.sources.archive.entering import refuse_unknown
from hilum.training.inference import as_probabilities, over_films

Several = list[Any] | tuple[Any, ...] | pd.Series | pd.Index | Tensor
"""Kinds that are always several images, even with one entry."""


def load(
    run: str | Path, device: str = "auto", *, keep_damaged: bool = False, keep: Sequence[str] = ()
) -> Predictor:
    """Return the trained model of a run folder or bundle.

    A run that was only pretrained has features, and neither probabilities nor heatmaps.

    Args:
        run: Folder of a finished run, its bundle, or ``starter``, the small one in the package.
        device: auto, cpu or cuda; auto takes a GPU where there is one.
        keep_damaged: Read JPEGs whose decoder reports damaged data; they cannot be read otherwise.
        keep: Reasons for which a DICOM film is not left out, as of `hilum prepare dicom`.

    Raises:
        RunError: There is none, or it is damaged.
        OptionError: The device is not there, or a reason is none.
    """
    refuse_unknown(keep)
    model = load_model(as_path("run", run))
    chosen = choose_device(device)
    for module in (model.backbone, model.head):
        if module is not None:
            module.to(chosen).eval()
    return Predictor(model, chosen, keep_damaged, tuple(keep))


@dataclass(frozen=True)
class Predictor:
    """A trained model: images in, probabilities, features and heatmaps out.

    The preparation that the model was trained with is part of it. **Images** are one of

    - a path (str or Path) to a PNG, JPEG or DICOM file, a folder of them, or a list or pandas column of paths;
    - a store of ``hilum prepare`` that was prepared as the model's films were;
    - a grey NumPy array ``[H, W]``, or ``[B, H, W]`` for several: uint8 from 0 to 255, uint16 from 0
      to 65535 (or to ``2 ** bits - 1`` with ``bits=12``), or float from 0 to 1; 0 is black;
    - a grey PIL image (mode L, I;16 or F), in the same ranges;
    - a torch tensor ``[B, 1, H, W]``, in the same ranges;
    - a list of paths, arrays ``[H, W]`` and PIL images.

    Everything else is a TypeError at once; a wrong shape or a value out of range is a DataError.
    All are brought to 256 grey levels first, as files are, so the same 8-bit image gives the same
    result in every form. A 16-bit image, file or array, is scaled by its declared bits (PNG's sBIT chunk,
    ``bits=``), else by those that the bulk of it uses (`hilum.images.read.bulk_bits`).
    """

    model: Model
    device: torch.device
    keep_damaged: bool = False
    """Whether JPEGs whose decoder reports damaged data are read."""
    keep: tuple[str, ...] = ()
    """Reasons for which a DICOM film is not left out."""

    @staticmethod
    def load(
        path: Path, device: str = "auto", *, keep_damaged: bool = False, keep: Sequence[str] = ()
    ) -> Predictor:
        """Load a fine-tuned model.

        Raises:
            RunError: There is none, it is damaged, or it was pretrained only.
            OptionError: The device is not there, or a reason is none.
        """
        predictor = load(path, device, keep_damaged=keep_damaged, keep=keep)
        _ = predictor.classifier
        return predictor

    @cached_property
    def classifier(self) -> Classifier:
        """The network from standardised images to logits, in evaluation mode.

        Raises:
            RunError: The model was pretrained only.
        """
        return self.model.classifier.eval()

    @cached_property
    def reading(self) -> FilmReading:
        """How images are read and prepared."""
        return FilmReading(self.preparation, self.keep_damaged, self.keep)

    @property
    def description(self) -> Description:
        """The content of model.json."""
        return self.model.description

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in the order of the probabilities; none after pretraining."""
        return self.description.findings

    @property
    def preparation(self) -> Preparation:
        """How a grey image is prepared."""
        return Preparation.from_json(self.description.preparation)

    @overload
    def predict(
        self, images: Several, *, bits: int | None = ..., unreadable: Literal["raise", "nan"] = ...
    ) -> pd.DataFrame: ...

    @overload
    def predict(
        self, images: Any, *, bits: int | None = ..., unreadable: Literal["raise", "nan"] = ...
    ) -> Any: ...

    def predict(
        self,
        images: Any,
        *,
        bits: int | None = None,
        unreadable: Literal["raise", "nan"] = "raise",
    ) -> dict[str, float] | pd.DataFrame:
        """Return the probability of every finding.

        Args:
            images: See the class.
            bits: Bits that hold a value of a uint16 image; None for those that the bulk of it uses.
            unreadable: Among several files, "nan" gives those that cannot be read a row of NaN.

        Returns:
            A dict by finding for one image: a path to a file, an array [H, W], a PIL image. For
            everything else, also a list of one, a DataFrame float64 [N, F] with a column a finding and
            a row an image in the order given, indexed by the paths as text, or by positions where not
            all are paths. In a batch numbers may differ from those of single images by rounding (1e-6).

        Raises:
            RunError: The model was pretrained only.
            TypeError: The images are of a kind that is not allowed.
            DataError: An image cannot be read, or its shape or range is not allowed.
        """
        _ = self.classifier
        if (films := _store(images)) is not None:
            scores = self.score_films(films, np.arange(len(films), dtype=np.int64))
            index = pd.Index(films.catalog["path"], dtype="object", name="path")
            return pd.DataFrame(scores.astype(np.float64), index, list(self.findings))
        inputs = image_inputs(images, bits)
        table = np.full((len(inputs), len(self.findings)), np.nan)
        for rows, prepared in self.reading.batches(inputs, unreadable):
            probabilities = self.probabilities(self.standardised([film.image for film in prepared]))
            table[rows] = [list(row.values()) for row in probabilities]
        if inputs.single:
            return dict(zip(self.findings, table[0].tolist(), strict=True))
        return pd.DataFrame(table, inputs.index, list(self.findings))

    def looks_like(
        self,
        images: Any,
        *,
        bits: int | None = None,
        unreadable: Literal["raise", "nan"] = "raise",
    ) -> pd.Series:
        """Return what each image looks like: "" where nothing is odd.

        Else an entry of `hilum.images.film_check.FLAGS` (inverted, turned), "unlike a chest film", or
        "lateral" by the header of a DICOM file.

        Arguments, index and errors are those of ``predict``; of several files one that cannot be read
        has None under ``unreadable="nan"``.
        """
        if (films := _store(images)) is not None:
            index = pd.Index(films.catalog["path"], dtype="object", name="path")
            return pd.Series(films.stores[0].flags(), index, "string")
        inputs = image_inputs(images, bits)
        flags = pd.Series(None, inputs.index, "string")
        for rows, read in self.reading.batches(inputs, unreadable):
            flags.iloc[rows] = [film.flag for film in read]
        return flags

    def features(
        self,
        images: Any,
        *,
        bits: int | None = None,
        unreadable: Literal["raise", "nan"] = "raise",
    ) -> FloatArray:
        """Return the backbone's pooled features, float32 [N, E]; also of a run only pretrained.

        Arguments and errors are those of ``predict``; one image gives [1, E].
        """
        backbone = self.model.backbone
        if (films := _store(images)) is not None:
            self.refuse_other_preparation(films)
            rows = np.arange(len(films), dtype=np.int64)
            return over_films(backbone, films, rows, self.description.size)
        inputs = image_inputs(images, bits)
        features = np.full((len(inputs), backbone.out_features), np.nan, np.float32)
        with torch.inference_mode():
            for batch, prepared in self.reading.batches(inputs, unreadable):
                standardised = self.standardised([film.image for film in prepared])
                features[batch] = backbone(standardised).float().cpu().numpy()
        return features

    def explain(
        self, image: Any, finding: str, *, layer: str | None = None, bits: int | None = None
    ) -> FloatArray:
        """Return the Grad-CAM heatmap of one finding on one image, float32 [H, W] from 0 to 1.

        It lies over the image as given: H and W are the image's own. Its maximum is scaled to 1 (and
        falls slightly short of it where the image is larger than what the network sees); all is 0
        where nothing raised the score.

        Args:
            image: One image; see the class.
            finding: Name of a finding of the model.
            layer: Module whose maps are weighed; the deepest with a map of at least 7 x 7 unless given.
            bits: Bits that hold a value of a uint16 image; None for those that the bulk of it uses.

        Raises:
            RunError: The model was pretrained only.
            TypeError: The image is of a kind that is not allowed.
            DataError: It cannot be read, or its shape or range is not allowed, or there are several.
            OptionError: The finding or layer does not exist, or the backbone has no maps.
        """
        position = self.finding_position(finding)
        inputs = image_inputs(image, bits)
        if len(inputs) != 1:
            raise DataError(f"explain takes one image and got {len(inputs)}: call it for each.")
        ((_, (film,)),) = self.reading.batches(inputs, "raise")
        maps = heatmaps(self.classifier, self.standardised([film.image]), [position], layer).maps
        return over_original(maps[0, 0].cpu().numpy(), self.preparation, *film.size)

    def preprocess(self, images: Any, *, bits: int | None = None) -> Tensor:
        """Return images prepared and standardised for the network, float32 [N, 1, size, size].

        Arguments and errors are those of ``features``; all images are held in memory.
        """
        batches = self.reading.batches(image_inputs(images, bits), "raise")
        fit = self.model.backbone.fit  # enlarges images that the network could not take as they are
        return torch.cat(
            [fit(self.standardised([film.image for film in films])) for _, films in batches]
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the backbone's weights under timm's names, on the CPU.

        They fit ``timm.create_model(model.description.backbone, in_chans=1, num_classes=0)``.
        """
        return {
            name: value.cpu() for name, value in self.model.backbone.network.state_dict().items()
        }

    def standardised(self, films: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return prepared images standardised on the model's device, float32 [B, 1, size, size]."""
        images = torch.from_numpy(np.stack(films)).unsqueeze(1).to(self.device)
        return whole_film(images, self.description.size)

    def probabilities(self, images: Tensor) -> list[dict[str, float]]:
        """Return the probability of every finding for standardised images [B, 1, size, size]."""
        with torch.inference_mode():
            rows = self.classifier(images).sigmoid().tolist()
        return [dict(zip(self.findings, row, strict=True)) for row in rows]

    def called(self, probabilities: dict[str, float]) -> list[str]:
        """Return the findings whose probability reaches their threshold (from validation films)."""
        thresholds: dict[str, Any] = dict(self.description.thresholds)
        return [
            name
            for name, value in probabilities.items()
            if thresholds[name] is not None and value >= thresholds[name]
        ]

    def finding_position(self, name: str) -> int:
        """Return the position of a finding among the model's.

        Raises:
            RunError: The model was pretrained only.
            OptionError: It has no such finding.
        """
        _ = self.classifier
        (position,) = positions([name], self.findings)
        if position is None:
            raise OptionError(
                f"unknown finding {name!r}: this model calls {', '.join(self.findings)}."
                f"{did_you_mean(name, self.findings)}"
            )
        return position

    def score_films(self, films: Films, rows: Rows, progress: Any = None) -> FloatArray:
        """Return the probabilities [n, F] of stored films.

        Raises:
            DataError: The store was prepared in another way than the model's.
        """
        self.refuse_other_preparation(films)
        logits = over_films(self.classifier, films, rows, self.description.size, progress)
        return as_probabilities(logits)

    def refuse_other_preparation(self, films: Films) -> None:
        """Raise a DataError, with the command that fits, for films prepared in another way."""
        films.refuse_other_preparation(self.preparation)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        OptionError: There is no GPU, or no such device.
    """
    if name not in get_args(Device):
        raise OptionError(f"--device is {name}: allowed are {', '.join(get_args(Device))}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device is cuda and no GPU is found: allowed here is cpu or auto.")
    return torch.device(
        "cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu"
    )


def _store(images: object) -> Films | None:
    """Return the films of a store, None if the images are no path to one."""
    # os.path: False, not an error, for a name of any length.
    if isinstance(images, (str, Path)) and os.path.isfile(Path(images) / MANIFEST):  # noqa: PTH113
        return Films.open([Path(images)])
    return None
