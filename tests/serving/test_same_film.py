"""One film, one answer: PNG or DICOM, alone or in a batch, by torch, ONNX, the service and the watched folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pandas as pd
import pytest

from hilum.bundle.onnx_model import OnnxModel
from hilum.images.read import read_grey
from hilum.serving.model import open_model
from hilum.watching.options import WatchOptions
from hilum.watching.watch import watch
from hilum.workflows.inference.predict import predict
from service_client import Client, dicom, png

CLOSE = 1e-4
FINDINGS = ["Edema", "Mass"]
CODED = {"Edema": "Pulmonary edema", "Mass": "Mass"}
"""Finding -> what the report's code means."""


def reported(report: Path) -> list[float]:
    """Return the probabilities that a structured report states."""
    groups = highdicom.sr.srread(report).content.get_image_measurement_groups()
    values = {
        group.finding_type.meaning: entry.value
        for group in groups
        for entry in group.get_measurements()
        if entry.name.meaning == "Probability"
    }
    return [values[CODED[finding]] for finding in FINDINGS]


@pytest.mark.parametrize("number", [0, 1])
def test_the_same_film_has_the_same_probabilities_wherever_it_is_asked(
    number: int,
    model_folder: Path,
    bundle: Path,
    films: list[np.ndarray],
    serving: Callable[..., Client],
    client: Client,
    tmp_path: Path,
) -> None:
    film = films[number]
    incoming, stored = tmp_path / "incoming", dicom(tmp_path / "made", film)
    incoming.mkdir()
    as_png, as_dicom = tmp_path / "film.png", incoming / "film.dcm"
    as_png.write_bytes(png(film))
    as_dicom.write_bytes(stored)
    others = [tmp_path / f"{place}.png" for place in range(5)]
    for place, other in enumerate(others):
        other.write_bytes(png(films[(number + 1 + place) % len(films)]))

    answers = {}
    for name, model in {"run": model_folder, "bundle": bundle}.items():
        table = pd.read_csv(predict(model, [as_png, as_dicom], tmp_path / f"{name}.csv", "cpu").out)
        answers[f"{name}, PNG"], answers[f"{name}, DICOM"] = table[FINDINGS].to_numpy()
        batch = predict(model, [*others, as_png], tmp_path / f"{name}-batch.csv", "cpu")
        answers[f"{name}, in a batch"] = pd.read_csv(batch.out)[FINDINGS].to_numpy()[-1]
    onnx = OnnxModel(bundle)
    prepared = onnx.preparation.apply(read_grey(as_png))
    for count in (1, 2, 7):
        answers[f"ONNX, batch of {count}"] = onnx.probabilities(np.stack([prepared] * count))[-1]
    for name, asked in {
        "service of the run": client,
        "service of the bundle": serving(open_model(bundle, "cpu", 1)),
    }.items():
        forms = [("film", (other.name, other.read_bytes())) for other in others[:2]]
        sent = {
            "PNG": asked.post("/v1/predictions", content=png(film)).json(),
            "DICOM": asked.post("/v1/predictions", content=stored).json(),
            "batch": asked.post("/v1/batch", files=[*forms, ("film", ("x", stored))]).json(),
        }
        sent["batch"] = sent["batch"]["films"][-1]
        for form, answer in sent.items():
            answers[f"{name}, {form}"] = [answer["probabilities"][one] for one in FINDINGS]
    for name, model in {"run": model_folder, "bundle": bundle}.items():
        options = WatchOptions(out=tmp_path / f"results of {name}", once=True, device="cpu")
        (report,) = watch(model, incoming, options).results.glob("*-sr.dcm")
        answers[f"watched folder, {name}"] = reported(report)

    expected = answers["run, PNG"]
    apart = {
        name: float(np.abs(np.asarray(values) - expected).max()) for name, values in answers.items()
    }
    assert len(apart) == 17
    assert max(apart.values()) < CLOSE, apart
