"""The nearest films of an index, with their labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hilum
from hilum.catalog import Catalog, film_table
from hilum.errors import DataError, OptionError
from hilum.images.enhance import Preparation
from hilum.images.store_writing import write_store
from hilum.serving.model import ServedModel, open_model
from hilum.serving.neighbours import FilmIndex
from hilum.serving.options import ServeOptions
from service_client import Client, png


@pytest.fixture(scope="module")
def store(films: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn films and their mirror images; the first two are of one patient."""
    images = [cv2.resize(film, (64, 64), interpolation=cv2.INTER_AREA) for film in films]
    images = [Preparation(64).apply(film) for film in films] + [
        np.ascontiguousarray(image[:, ::-1]) for image in images
    ]
    count = len(images)
    rows = {
        "path": [f"Roe-{number}.png" for number in range(count)],
        "patient": [f"Roe-{max(1, number)}" for number in range(count)],
        "study": [f"s{number}" for number in range(count)],
        "Edema": [1, 0, -1, np.nan] * 3,
        "Hernia": [0, 1, np.nan] * 4,
    }
    table = film_table(pd.DataFrame(rows), ("Edema", "Hernia"))
    catalog = Catalog("drawn", Path("/nowhere"), ("Edema", "Hernia"), table, count)
    folder = tmp_path_factory.mktemp("index") / "store"
    write_store(folder, catalog, np.stack(images), Preparation(64))
    return folder


def test_the_nearest_film_is_the_film_itself_and_each_is_of_another_patient(
    serving: Callable[..., Client], model: ServedModel, store: Path, films: list[np.ndarray]
) -> None:
    index = FilmIndex(store, model, pictures=True)
    service = serving(model, films_of=index, index=store)
    assert service.get("/v1/model").json()["index"] == {"films": 12, "pictures": True}
    for number, film in enumerate(films):
        answer = service.post("/v1/neighbours", content=png(film))
        assert answer.status_code == 200, answer.text
        nearest = answer.json()["neighbours"]
        assert nearest[0]["row"] == number
        assert nearest[0]["same_film"]
        assert nearest[0]["similarity"] == pytest.approx(1, abs=1e-4)
        similarities = [one["similarity"] for one in nearest]
        assert similarities == sorted(similarities, reverse=True)
        assert len(nearest) == 6
        assert len({max(1, one["row"]) for one in nearest}) == 6  # rows 0 and 1 are one patient's
        assert not any(one["same_film"] for one in nearest[1:])
        assert "Roe" not in answer.text
    first = service.post("/v1/neighbours", content=png(films[0])).json()["neighbours"][0]
    assert first["labels"] == {"Edema": "present", "Hernia": "absent"}
    picture = service.get("/v1/neighbours/3")
    assert picture.headers["content-type"] == "image/png"
    shown = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(shown, index.films.read(np.array([3]))[0])
    assert service.get("/v1/neighbours/12").status_code == 404
    assert service.get("/v1/neighbours/-1").status_code == 422
    assert service.post("/v1/neighbours", content=b"GIF").status_code == 415
    noise = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    refused = service.post("/v1/neighbours", content=png(noise))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "refused")


def test_a_bundle_compares_as_the_run_does_and_shows_nothing_unless_asked_to(
    serving: Callable[..., Client],
    model: ServedModel,
    bundle: Path,
    store: Path,
    films: list[np.ndarray],
    model_folder: Path,
) -> None:
    exported = open_model(bundle, "cpu", 1)
    by_run, by_bundle = FilmIndex(store, model), FilmIndex(store, exported)
    image = Preparation(64).apply(films[2])
    expected = by_run.nearest(model.features(image[None])[0], image)
    given = by_bundle.nearest(exported.features(image[None])[0], image)
    assert [one["row"] for one in given] == [one["row"] for one in expected]
    features = hilum.load(model_folder).features(store)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for one in given:
        assert one["similarity"] == pytest.approx(float(unit[2] @ unit[one["row"]]), abs=1e-4)
    service = serving(exported, films_of=by_bundle, index=store)
    assert service.post("/v1/neighbours", content=png(films[2])).json()["pictures"] is False
    assert service.get("/v1/neighbours/2").status_code == 404


def test_what_cannot_be_an_index_is_refused(
    model: ServedModel, client: Client, tiny_store: Path, pngs: list[bytes], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="--size 64"):
        FilmIndex(tiny_store, model)
    with pytest.raises(DataError, match="no finished store"):
        FilmIndex(tmp_path, model)
    for option, needed in (("index_pictures", "--index"), ("verdict_films", "--verdicts")):
        with pytest.raises(OptionError, match=f"without {needed}:"):
            ServeOptions(**{option: True})
    assert client.post("/v1/neighbours", content=pngs[0]).status_code == 404
    assert client.get("/v1/model").json()["index"] is None
