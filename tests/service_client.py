"""A service of `hilum serve` that tests talk to without a port, and films as they are sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from exports import Export
from hilum.serving.service import Service

NAMES = {
    "PatientName": "Kowalczyk^Wanda",
    "PatientID": "pid-83652",
    "AccessionNumber": "acc-77121",
    "InstitutionName": "Hospital Zielinska",
    "StudyDescription": "thorax of Kowalczyk",
    "SeriesDescription": "series-99817",
    "SOPInstanceUID": "1.2.826.73.1",
    "StudyDate": "20190227",
}
SECRETS = ("Kowalczyk", "83652", "77121", "Zielinska", "99817", "1.2.826.73", "20190227")
FILE = "Kowalczyk 83652.dcm"


def png(film: np.ndarray) -> bytes:
    return cv2.imencode(".png", film)[1].tobytes()


def dicom(folder: Path, film: np.ndarray, **tags: Any) -> bytes:
    """Return a DICOM file that shows a film's grey values as they are."""
    usual = {
        "Rows": film.shape[0],
        "Columns": film.shape[1],
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "WindowCenter": "128",
        "WindowWidth": "256",
        "PixelData": film.tobytes(),
    }
    return Export(folder)("film", **{**usual, **tags}).read_bytes()


def refuse_secrets(texts: list[str]) -> None:
    """Fail where one of the patient's names, numbers or dates is in a text."""
    for text in texts:
        assert not [secret for secret in SECRETS if secret.lower() in text.lower()]


@dataclass
class Client:
    """Speaks to a service in another thread, as httpx does."""

    service: Service
    app: Any
    loop: asyncio.AbstractEventLoop
    log: list[str]
    headers: dict[str, str]

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        headers = {**self.headers, **more.pop("headers", {})}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=100
        ) as client:
            return await client.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.run(self.send("GET", path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.run(self.send("POST", path, **more))

    def together(self, *requests: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
        """Post all at once."""

        async def all_of_them() -> list[httpx.Response]:
            return list(
                await asyncio.gather(*(self.send("POST", path, **more) for path, more in requests))
            )

        return self.run(all_of_them())
