"""DICOM films from file to prediction: real ones whose headers lie, and one film written in both polarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from heard import Heard

from exports import Export
from hilum.bundle.predictor import Predictor
from hilum.images.read import read_grey
from hilum.images.rendering import Rendering
from hilum.images.store import Store
from hilum.sources import read_source
from hilum.workflows.inference.explain import explain
from hilum.workflows.inference.options import ExplainOptions
from hilum.workflows.inference.predict import predict
from hilum.workflows.prepare.prepare import PrepareOptions, prepare

CAPTURES = {"keep": ("secondary-capture",)}
"""Both real chest films of JPEG were copied from a screen, as their class and Conversion Type say."""
LEG, PAIR = "leg_mono1_10bit_jpeg2000.dcm", ("chest_mono1_jpeg.dcm", "chest_mono2_jpeg.dcm")


@pytest.fixture
def real(shared_data: Path) -> Path:
    """A leg, a chest film of JPEG 2000, and one of JPEG under both polarities: one of the two lies."""
    return shared_data / "dicom"


def test_real_films_of_opposite_tags_are_negatives_and_one_is_flagged(
    real: Path, tmp_path: Path
) -> None:
    options = PrepareOptions(128, workers=1, polarity="photometric")
    catalog = read_source("dicom", real, **CAPTURES)
    assert catalog.excluded == {"another body part": 1}
    store = Store.open(prepare(catalog, tmp_path / "store", options).store)
    assert store.manifest["flagged"] == {"inverted": 1}
    (flagged,) = store.manifest["flagged_rows"]["inverted"]
    of_patient = store.catalog["patient"].duplicated(keep=False)  # both files are of one patient
    one, other = (
        read_grey(real / name, rendering=Rendering("display", "photometric")) for name in PAIR
    )
    assert np.array_equal(one, 255 - other)
    one, other = store.read(np.flatnonzero(of_patient)).astype(int)
    assert np.abs(one - (255 - other)).max() <= 1  # means of several pixels are rounded
    assert of_patient[flagged]


def test_files_that_do_not_enter_are_named_with_what_takes_them(real: Path) -> None:
    catalog = read_source("dicom", real)
    assert catalog.excluded == {"another body part": 1, "secondary capture": 2}
    (note,) = (note for note in catalog.notes if note.startswith("left out"))
    assert "2 secondary capture (--keep secondary-capture takes them)" in note
    assert "1 another body part (--keep body-part takes it)" in note


def test_real_films_are_predicted_and_explained(
    classifier: Path, real: Path, tmp_path: Path
) -> None:
    heard = Heard()
    result = predict(classifier, real, tmp_path / "table.csv", "cpu", heard, **CAPTURES)
    assert (result.films, result.flagged) == (3, {"inverted": 1})
    assert pd.read_csv(result.out)["film"].is_unique  # two files share a UID
    assert list(result.failed.values()) == ["another body part: --keep body-part takes it"]
    pair = [real / name for name in PAIR]
    shown = explain(
        classifier, [*pair, real / LEG], ExplainOptions(out=tmp_path / "maps", **CAPTURES)
    )
    assert [len(film.drawn) for film in shown.films] == [2, 2]
    assert list(shown.failed.values()) == list(result.failed.values())
    maps = [(film.folder / "edema-overlay.png").stat().st_size for film in shown.films]
    assert min(maps) > 0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WindowCenter": 1500, "WindowWidth": 2200, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 1400, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": -1, "RescaleIntercept": 4095, "PresentationLUTShape": "IDENTITY"},
    ],
)
def test_one_film_written_both_ways_gives_the_same_prediction(
    classifier: Path, export: Export, tmp_path: Path, more: dict[str, object]
) -> None:
    words = np.random.default_rng(5).integers(0, 4096, (24, 24), np.uint16)
    turned = {"WindowCenter": 4095 - float(more["WindowCenter"])} if "WindowCenter" in more else {}
    export("a", PixelData=words.tobytes(), **more)
    export(
        "b",
        PixelData=(4095 - words).tobytes(),
        PhotometricInterpretation="MONOCHROME1",
        **more | turned,
    )
    lying = export("c", PixelData=words.tobytes(), PhotometricInterpretation="MONOCHROME1", **more)
    result = predict(classifier, export.root, tmp_path / "table.csv", "cpu")
    table = pd.read_csv(result.out)
    assert len(table) == 3
    one, other, lie = table[["Edema", "Mass"]].to_numpy()
    assert one == pytest.approx(other, abs=0)
    assert np.abs(one - lie).max() > 1e-4
    images = Predictor.load(classifier, "cpu").preprocess([lying.with_name(name) for name in "ab"])
    assert images[0].equal(images[1])
