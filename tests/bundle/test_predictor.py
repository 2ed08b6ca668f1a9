"""The predictor: what a film that OpenCV or memory refuses becomes."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from hilum.bundle.predictor import Predictor
from hilum.errors import DataError
from hilum.images.enhance import Preparation


class Refusing(Preparation):
    """A preparation that fails as OpenCV or memory does, and stands for a model."""

    backbone = SimpleNamespace(fit=None)

    def __init__(self, act: object) -> None:
        super().__init__(32)
        object.__setattr__(self, "act", act)

    def apply(self, grey: np.ndarray) -> np.ndarray:
        return self.act(grey)  # type: ignore[attr-defined,no-any-return]


class WithPreparation(Predictor):
    """A predictor of a given preparation; its network is never asked."""

    @property
    def preparation(self) -> Preparation:
        return self.model  # type: ignore[return-value]


def out_of_memory(grey: np.ndarray) -> np.ndarray:
    raise MemoryError


def refused(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, (0, 0))


@pytest.mark.parametrize(
    ("act", "line"), [(refused, "damaged: OpenCV's .*resize"), (out_of_memory, "enough memory")]
)
def test_what_opencv_or_memory_refuses_is_a_data_error(act: object, line: str) -> None:
    predictor = WithPreparation(Refusing(act), torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=line):
        predictor.preprocess(np.full((40, 40), 7, np.uint8))
