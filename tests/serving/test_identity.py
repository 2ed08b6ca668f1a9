"""Names, numbers and dates of patients are in no answer, log, metric or file, however a request fails."""

from __future__ import annotations

import os
import signal
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from hilum.serving.model import ServedModel
from service_client import FILE, NAMES, Client, dicom, refuse_secrets


def named_films(folder: Path, film: np.ndarray, png: bytes) -> list[bytes]:
    """Return films that name a patient: readable ones, refused ones and damaged ones."""
    text = b"tEXtComment\0Kowalczyk 83652"
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    comment = b"\xff\xd8\xff\xfe\x00\x12Kowalczyk 83652 "
    return [
        dicom(folder, film, **NAMES),
        dicom(folder, film, **NAMES, BodyPartExamined="KNEE"),
        dicom(folder, film, **NAMES, ViewPosition="LL"),
        dicom(folder, film, **NAMES)[:-200],
        dicom(folder, film, **NAMES, PhotometricInterpretation="KOWALCZYK"),
        png[:33] + chunk + png[33:],
        png[:33] + chunk[:-1] + b"K" + png[33:],
        comment + b"Kowalczyk",
        b"Kowalczyk 83652",
    ]


def shown(answer: httpx.Response) -> str:
    """Return all of an answer as text."""
    return f"{answer.status_code} {answer.headers} {answer.content.decode('latin-1')}"


def test_nothing_of_a_film_is_in_an_answer_a_log_or_a_file(
    client: Client, films: list[np.ndarray], pngs: list[bytes], tmp_path: Path
) -> None:
    texts = []
    for content in named_films(tmp_path, films[0], pngs[0]):
        form = {"film": (FILE, content)}
        for answer in (
            client.post("/v1/predictions", content=content),
            client.post("/v1/batch", files=form),
            client.post("/v1/heatmaps?finding=Kowalczyk", content=content),
            client.post("/v1/renderings", content=content),
        ):
            texts.append(shown(answer))
    refuse_secrets([*texts, client.get("/metrics").text, *client.log])
    for one in client.service.decoders.children:
        for handle in (one._source, one._target):
            assert os.fstat(handle).st_size == 0
            assert str(Path(f"/proc/self/fd/{handle}").readlink()).startswith("/memfd:")


def test_requests_that_are_refused_are_not_quoted(
    client: Client, films: list[np.ndarray], tmp_path: Path
) -> None:
    film = dicom(tmp_path, films[0], **NAMES)
    path = "/v1/predictions"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", path, {"files": {"Kowalczyk": (FILE, film)}}),
        ("POST", path, {"files": [("film", (FILE, film))] * 2}),
        ("POST", path, {"content": film, "headers": {"host": "kowalczyk.example"}}),
        ("POST", path, {"content": film, "headers": {"origin": "http://kowalczyk.example"}}),
        ("POST", path, {"content": film, "headers": {"content-encoding": "Kowalczyk"}}),
        (
            "POST",
            path,
            {"content": film, "headers": {"content-type": "multipart/form-data; boundary=83652"}},
        ),
        ("POST", "/v1/heatmaps?finding=" + 201 * "Kowalczyk", {"content": film}),
        ("POST", "/v1/heatmaps?patient=Kowalczyk", {"content": film}),
        ("PUT", "/v1/Kowalczyk", {"content": film}),
        ("GET", "/Kowalczyk/83652.dcm", {}),
    ]
    answers = [client.run(client.send(method, url, **more)) for method, url, more in requests]
    assert all(400 <= answer.status_code < 500 for answer in answers)
    texts = [shown(answer) for answer in answers]
    refuse_secrets([*texts, client.get("/metrics").text, *client.log])


@pytest.mark.parametrize("failure", ["killed", "hung", "fault", "full"])
def test_forced_failures_quote_nothing(
    serving: Callable[..., Client],
    model: ServedModel,
    films: list[np.ndarray],
    tmp_path: Path,
    failure: str,
) -> None:
    class Faulty:
        facts, heatmap = model.facts, model.heatmap
        broken = False

        def logits(self, images: np.ndarray) -> np.ndarray:
            if self.broken:
                raise RuntimeError("Kowalczyk 83652")
            return model.logits(images)

    faulty = Faulty()
    service = serving(faulty)
    film = dicom(tmp_path, films[0], **NAMES)
    (one,) = service.service.decoders.children
    assert one.process is not None
    if failure == "fault":
        faulty.broken = True
    elif failure == "full":
        service.service.admission.inside = service.service.admission.most
    else:
        os.kill(one.process.pid, signal.SIGSTOP)  # so that the film is in it when it ends
        ends = [signal.SIGKILL] if failure == "killed" else [signal.SIGALRM, signal.SIGCONT]
        for step, number in enumerate(ends):
            threading.Timer(0.2 + 0.1 * step, os.kill, (one.process.pid, number)).start()
    code = {"killed": "decoder died", "hung": "decoder hung", "fault": "fault", "full": "busy"}
    answer = service.post("/v1/predictions", content=film)
    assert answer.json()["error"]["code"] == code[failure]
    refuse_secrets([shown(answer), service.get("/metrics").text, *service.log])
    assert len(service.log) == (failure != "full")
    for handle in (one._source, one._target):
        assert os.fstat(handle).st_size == 0
    service.service.admission.inside = 0
