"""A tiny fine-tuned run and film files, made once for the tests of what is done with a classifier."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

sys.path.append(str(Path(__file__).parent))  # for study_plans, which is a script as well


@pytest.fixture(scope="session")
def classifier(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch that calls Edema and Mass on films of 32 px."""
    out = tmp_path_factory.mktemp("classifier") / "run"
    train = FinetuneTrainOptions(min_steps=0, epochs=1, batch_size=16, accelerator="cpu")
    finetune(FinetuneOptions(data=(tiny_store,), out=out, backbone="test_resnet", train=train))
    return out


@pytest.fixture(scope="session")
def film_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five noise films of 48 x 40 px; the third is no film."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    files = [folder / f"film{number}.png" for number in range(5)]
    for file in files:
        cv2.imwrite(str(file), rng.integers(0, 256, (48, 40), dtype=np.uint8))
    files[2].write_text("no film")
    return files
