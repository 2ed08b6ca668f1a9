"""DICOM files from prepare to prediction: one rendering in store and model, another one refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from hilum.errors import OptionError, RunError
from hilum.images.enhance import Preparation
from hilum.images.films import Films
from hilum.images.store import Store
from hilum.sources import read_source
from hilum.workflows.prepare.prepare import PrepareOptions, prepare


def write_film(path: Path, seed: int, **tags: object) -> None:
    """Write a film of 40 x 40 pixels, 12 bits, with a window over its middle."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(40) * 40, np.arange(40) * 40) + 300
    words = (slope + rng.integers(0, 300, (40, 40))).astype(np.uint16)
    dataset = Dataset()
    usual = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "SOPInstanceUID": f"1.2.{seed}",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 40, "Columns": 40,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "WindowCenter": 1500, "WindowWidth": 1000, "PixelData": words.tobytes(),
    }  # fmt: skip
    for name, value in {**usual, **tags}.items():
        setattr(dataset, name, value)
    dataset["PixelData"].VR = "OW"
    dataset.preamble, dataset.file_meta = bytes(128), FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of six DICOM files, one called a PNG, one whose shape contradicts its tag."""
    folder = tmp_path / "films"
    folder.mkdir()
    names = ("a.dcm", "b.DCM", "c.dicom", "d.png", "1.2.840.5")
    for seed, name in enumerate(names):
        write_film(folder / name, seed)
    write_film(folder / "f.dcm", 5, PresentationLUTShape="INVERSE")
    (folder / "README").write_text("no film")
    return folder


def prepared(films: Path, out: Path, **options: str) -> Store:
    catalog = read_source("dicom", films, dataset="hospital")
    return Store.open(prepare(catalog, out, PrepareOptions(16, workers=1, **options)).store)


def test_films_are_read_by_their_content_and_what_is_odd_is_counted(
    films: Path, tmp_path: Path
) -> None:
    store = prepared(films, tmp_path / "store")
    assert len(store) == 6
    assert store.manifest["odd"] == {"presentation shape contradicts the photometric tag": 1}
    assert set(store.manifest["libraries"]) == {"numpy", "opencv", "pydicom", "imagecodecs"}


def test_another_rendering_is_another_preparation(films: Path, tmp_path: Path) -> None:
    display = prepared(films, tmp_path / "display")
    archive = prepared(films, tmp_path / "archive", rendering="archive")
    shape = prepared(films, tmp_path / "shape", polarity="shape")
    assert archive.manifest["preparation"]["rendering"] == "archive"
    rows = np.arange(6)
    assert np.abs(display.read(rows).astype(int) - archive.read(rows)).max() > 20
    differing = [
        not np.array_equal(*pair) for pair in zip(display.read(rows), shape.read(rows), strict=True)
    ]
    assert sum(differing) == 1
    for other in (archive, shape):
        with pytest.raises(Exception, match=r"--(rendering archive|polarity shape)"):
            Films.open([display.folder, other.folder])
    with pytest.raises(RunError, match="rendering 'display' there, 'archive' now"):
        prepared(films, tmp_path / "display", rendering="archive")
    again = prepared(films, tmp_path / "display")
    assert again.fingerprint == display.fingerprint


def test_a_store_of_an_earlier_version_is_one_of_display(films: Path, tmp_path: Path) -> None:
    store = prepared(films, tmp_path / "store")
    assert "rendering" not in store.manifest["preparation"]
    assert store.preparation == Preparation(16, rendering="display", polarity="photometric")
    values = json.loads(
        json.dumps(Preparation(16, rendering="archive", polarity="shape").to_json())
    )
    assert Preparation.from_json(values).flags().endswith("--rendering archive --polarity shape")


@pytest.mark.parametrize("option", [{"rendering": "displays"}, {"polarity": "photo"}])
def test_unknown_names_are_refused_with_the_nearest(
    films: Path, tmp_path: Path, option: dict[str, str]
) -> None:
    with pytest.raises(OptionError, match=r"display|photometric"):
        prepared(films, tmp_path / "store", **option)
