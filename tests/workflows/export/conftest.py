"""A tiny run and its bundle, exported once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hilum.training.run_folder import changed_metrics
from hilum.workflows.evaluate.evaluate import evaluate
from hilum.workflows.evaluate.options import EvaluateOptions
from hilum.workflows.export.export import export
from hilum.workflows.export.options import ExportOptions


@pytest.fixture(scope="session")
def exported_run(
    classifier: Path, tiny_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the classifier, evaluated on test films."""
    run = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(classifier, run)
    with changed_metrics(run) as metrics:  # what other tests have measured on the original
        metrics.pop("evaluations", None)
        metrics.pop("comparisons", None)
    evaluate(run, EvaluateOptions(data=tiny_store, resamples=50, min_positives=1))
    return run


@pytest.fixture(scope="session")
def bundle(exported_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    return export(exported_run, ExportOptions(out=out, licence="cc-by-4.0")).out
