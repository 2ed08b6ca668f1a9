"""A small model on disk, drawn films, and a service in a thread that tests talk to without a port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.serving.app import make_app
from hilum.serving.model import ServedModel, open_model
from hilum.serving.neighbours import FilmIndex
from hilum.serving.options import ServeOptions
from hilum.serving.service import Service
from hilum.serving.verdicts import VerdictTable
from hilum.workflows.export.export import export
from hilum.workflows.export.options import ExportOptions
from service_client import Client, png


@pytest.fixture(scope="session")
def bundle(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as `hilum export` writes it."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export(model_folder, ExportOptions(out=folder))
    return folder


@pytest.fixture(scope="session")
def pngs(films: list[np.ndarray]) -> list[bytes]:
    return [png(film) for film in films]


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[..., Client]]:
    """Start a service of a model; all are ended with the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started: list[Client] = []

    def start(
        model: ServedModel,
        *,
        decoders: int = 1,
        token: str | None = None,
        table: VerdictTable | None = None,
        films_of: FilmIndex | None = None,
        **options: Any,
    ) -> Client:
        log: list[str] = []
        service = Service(model, ServeOptions(**options), decoders, log.append)
        app = make_app(service, token, table, films_of)
        client = Client(service, app, loop, log, {})
        client.run(service.start())
        started.append(client)
        return client

    yield start
    for client in started:
        client.run(client.service.end())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def model(model_folder: Path) -> ServedModel:
    return open_model(model_folder, "cpu", 1)


@pytest.fixture(scope="session")
def client(serving: Callable[..., Client], model: ServedModel) -> Client:
    """A service of the model with usual options."""
    return serving(model)
