"""Two runs compared on the same films: the sign, and what it needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.errors import RunError
from hilum.workflows.compare import compare
from hilum.workflows.evaluate import evaluate
from hilum.workflows.finetune import finetune
from hilum.workflows.options import EvaluateOptions, FinetuneOptions, FinetuneTrainOptions


@pytest.fixture(scope="module")
def how(tiny_store: Path) -> EvaluateOptions:
    return EvaluateOptions(data=tiny_store, min_positives=1, resamples=40)


@pytest.fixture(scope="module")
def runs(tiny_store: Path, how: EvaluateOptions, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, found = tmp_path_factory.mktemp("compared"), []
    for seed in range(2):
        out = folder / str(seed)
        train = FinetuneTrainOptions(epochs=1, batch_size=16, seed=seed, accelerator="cpu")
        finetune(FinetuneOptions(data=(tiny_store,), out=out, backbone="test_resnet", train=train))
        evaluate(out, how)
        found.append(out)
    return found[0], found[1]


def test_a_comparison_turned_round_has_the_other_sign(runs: tuple[Path, Path], how: EvaluateOptions) -> None:
    there, back = compare(*runs, how), compare(*reversed(runs), how)
    assert there.auroc_macro.value == pytest.approx(-back.auroc_macro.value)
    assert there.auroc_macro.interval.low == pytest.approx(-back.auroc_macro.interval.high)


def test_a_comparison_needs_predictions_of_these_films(
    runs: tuple[Path, Path], how: EvaluateOptions, tmp_path: Path
) -> None:
    own = shutil.copytree(runs[0], tmp_path / "run")
    (own / "predictions-test.parquet").unlink()
    with pytest.raises(RunError, match="hilum evaluate"):
        compare(own, runs[1], how)
