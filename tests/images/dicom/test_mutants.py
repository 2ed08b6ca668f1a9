"""Damaged DICOM files are read or refused; `benchmarks/dicom_mutants.py` tries many more, and bombs."""

import importlib
import sys
from pathlib import Path

import pytest

from hilum.images.read import UnreadableFilm, read_grey

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    mutants = importlib.import_module("dicom_mutants").mutants
    outcomes = set()
    for name, data in mutants(240, seed=1):
        path = tmp_path / "film.dcm"
        path.write_bytes(data)
        try:
            assert read_grey(path).ndim == 2, name
            outcomes.add("read")
        except UnreadableFilm as error:
            outcomes.add(error.reason)
    assert {"read", "truncated", "damaged", "not supported"} <= outcomes
    for module in [name for name in sys.modules if name.startswith("dicom_")]:
        del sys.modules[module]
