"""Answers of the service: the same numbers as `predict` gives, their thresholds, hashes, heatmaps and refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import hilum
from hilum.serving import schema
from hilum.serving.gate import REFUSALS
from hilum.serving.model import open_model
from service_client import Client, dicom, png


def test_every_way_of_sending_a_film_gives_what_predict_gives(
    client: Client, model_folder: Path, films: list[np.ndarray], tmp_path: Path
) -> None:
    film = films[0]
    file = tmp_path / "film.png"
    file.write_bytes(png(film))
    expected = hilum.load(model_folder, "cpu").predict(file)
    stored = dicom(tmp_path, film)
    wide = dicom(tmp_path, film.astype(np.uint16) * 16, BitsAllocated=16, BitsStored=12, HighBit=11,
                 WindowCenter="2048", WindowWidth="4096")  # fmt: skip
    sent = {
        "raw": {"content": png(film)},
        "form": {"files": {"film": ("Jane Roe.png", png(film))}},
        "dicom": {"content": stored, "headers": {"Content-Type": "application/dicom"}},
        "curl": {
            "content": png(film),
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        "12 bits": {"content": wide},
    }
    for name, request in sent.items():
        answer = client.post("/v1/predictions", **request).json()
        schema.Prediction.model_validate(answer, strict=True)
        tolerance = 0.02 if name == "12 bits" else 1e-4  # whose window rounds otherwise
        assert answer["probabilities"] == pytest.approx(expected, abs=tolerance), name
        assert answer["called"] == [
            name for name in ("Edema",) if answer["probabilities"][name] >= 0.25
        ]
        assert answer["thresholds"] == {"Edema": 0.25, "Mass": None}
        assert answer["not_called"].keys() == {"Mass"}
        assert "validation films" in answer["thresholds_from"]
        assert answer["notice"] == "Research use only, not a medical device."
        assert (answer["input"]["height"], answer["input"]["width"]) == film.shape
    content = png(film)
    answer = client.post("/v1/predictions", content=content).json()
    assert answer["input"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert answer["model"]["sha256"] == client.service.facts.sha256
    assert "Roe" not in client.get("/metrics").text


def test_a_bundle_answers_as_its_run(
    serving: Callable[..., Client], client: Client, bundle: Path, pngs: list[bytes]
) -> None:
    exported = serving(open_model(bundle, "cpu", 1))
    requests = [("/v1/predictions", {"content": content}) for content in pngs]
    for one, other in zip(exported.together(*requests), client.together(*requests), strict=True):
        assert one.json()["probabilities"] == pytest.approx(other.json()["probabilities"], abs=1e-4)
        assert one.json()["model"]["kind"] == "bundle"
    heat = exported.post("/v1/heatmaps?finding=Mass", content=pngs[0])
    assert heat.headers["content-type"] == "image/png"


def test_a_batch_answers_in_order_and_each_film_alone(client: Client, pngs: list[bytes]) -> None:
    broken = pngs[1][: len(pngs[1]) // 2]
    sent = [pngs[0], b"no film", pngs[1], broken, pngs[2], pngs[0]]
    answer = client.post("/v1/batch", files=[("film", content) for content in sent]).json()
    schema.Batch.model_validate(answer)
    assert [film["status"] for film in answer["films"]] == [
        "answered", "failed", "answered", "failed", "answered", "answered"
    ]  # fmt: skip
    assert [film["input"]["sha256"] for film in answer["films"]] == [
        hashlib.sha256(content).hexdigest() for content in sent
    ]
    assert [film["error"]["code"] for film in answer["films"] if "error" in film] == [
        "no film",
        "unreadable",
    ]
    alone = [client.post("/v1/predictions", content=pngs[index]).json() for index in (0, 1, 2)]
    for film, one in zip((0, 2, 4), alone, strict=True):
        assert answer["films"][film]["probabilities"] == pytest.approx(
            one["probabilities"], abs=1e-4
        )


def test_the_gate_gives_no_number(client: Client, films: list[np.ndarray], tmp_path: Path) -> None:
    film, noise = films[0], np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    sent = {
        "inverted": [png(255 - film), png(255 - films[1])],
        "turned": [png(np.rot90(film, turns)) for turns in (1, 2, 3)],
        "not a chest film": [
            png(noise),
            dicom(tmp_path, film, BodyPartExamined="KNEE"),
            dicom(tmp_path, film, Modality="MR"),
        ],
        "lateral": [
            dicom(tmp_path, film, ViewPosition="LL"),
            dicom(tmp_path, film, ViewPosition=None, SeriesDescription="Thorax lateral"),
        ],
        "too small": [png(cv2.resize(film, (30, 30))), png(film[:40])],
        "not for reading": [
            dicom(tmp_path, film, BurnedInAnnotation="YES"),
            dicom(tmp_path, film, PresentationIntentType="FOR PROCESSING"),
        ],
    }
    assert set(sent) == set(REFUSALS)
    for reason, contents in sent.items():
        for content in contents:
            answer = client.post("/v1/predictions", content=content)
            assert answer.status_code == 200
            schema.Refusal.model_validate(answer.json(), strict=True)
            assert answer.json()["reason"] == reason
            assert "probabilities" not in answer.json()
            assert answer.json()["message"] == REFUSALS[reason]
    heat = client.post("/v1/heatmaps?finding=Edema", content=sent["turned"][0])
    assert (heat.status_code, heat.json()["error"]["code"]) == (422, "refused")


def test_films_that_pass_as_they_are_not_refused(
    client: Client, pngs: list[bytes], films: list[np.ndarray], tmp_path: Path
) -> None:
    jpegs = [cv2.imencode(".jpg", film)[1].tobytes() for film in films]
    unsaid = dicom(tmp_path, films[0], BodyPartExamined=None, ViewPosition=None)
    for content in (*pngs, *jpegs, unsaid):
        answer = client.post("/v1/predictions", content=content).json()
        assert answer["status"] == "answered", answer


def test_heatmaps_lie_over_the_film(client: Client, films: list[np.ndarray]) -> None:
    tall = cv2.resize(films[0], (96, 160))
    answer = client.post("/v1/heatmaps", params={"finding": "Mass"}, content=png(tall))
    assert answer.headers["content-type"] == "image/png"
    layer = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert layer.shape == (160, 96, 4)
    unknown = client.post("/v1/heatmaps", params={"finding": "Roe"}, content=png(tall))
    assert unknown.status_code == 422
    assert "Edema, Mass" in unknown.json()["error"]["message"]
    assert client.post("/v1/heatmaps", content=png(tall)).json()["error"]["code"] == "invalid"


def test_a_rendering_shows_what_is_read(
    client: Client, films: list[np.ndarray], tmp_path: Path
) -> None:
    for content in (
        png(films[0]),
        dicom(tmp_path, films[0]),
        dicom(tmp_path, films[0], BodyPartExamined="KNEE"),
    ):
        answer = client.post("/v1/renderings", content=content)
        shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.abs(shown.astype(int) - films[0]).max() <= 1
    large = cv2.resize(films[0], (3000, 1500))
    shown = client.post("/v1/renderings", content=png(large)).content
    assert cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_UNCHANGED).shape == (1024, 2048)


def test_the_model_health_and_description(client: Client) -> None:
    about = client.get("/v1/model").json()
    schema.About.model_validate(about)
    assert about["findings"] == ["Edema", "Mass"]
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/v1/predictions", "/v1/batch", "/v1/heatmaps", "/v1/renderings", "/v1/model",
        "/health", "/ready", "/metrics",
    }  # fmt: skip
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert f'sha256="{client.service.facts.sha256}"' in metrics.text


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/docs", "/docs.css"])
def test_no_page_loads_anything_from_elsewhere(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert not {"http://", "https://", "//cdn", "@import", "url("} & {
        sign for sign in ("http://", "https://", "//cdn", "@import", "url(") if sign in answer.text
    }
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
