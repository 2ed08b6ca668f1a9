"""The routes of what the service keeps and compares where it is asked to: readers' verdicts, and the nearest films."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from hilum.errors import DataError
from hilum.serving import schema
from hilum.serving.child import film_kind
from hilum.serving.failures import RequestError, json_response
from hilum.serving.service import NOTICE, Service
from hilum.serving.uploads import is_multipart, malformed, parts_of_form, read_body
from hilum.serving.verdicts import WORDS, Verdict, VerdictTable

if TYPE_CHECKING:  # which needs pandas, and a service without an index does not
    from hilum.serving.neighbours import FilmIndex

MOST_JSON = 2**16
"""Bytes of a verdict without its film."""
Word = Literal["present", "absent", "uncertain"]


class VerdictBody(BaseModel):
    """What a reader states of a film."""

    model_config = ConfigDict(extra="forbid", strict=True)

    film: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the film, as the answer to it has it."
    )
    reader: str = Field(
        "reader",
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description="Initials or a number of who reads.",
    )
    patient: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="What tells the film's patient from others; a pseudonym of it is stored.",
    )
    labels: dict[str, Word | None] = Field(
        min_length=1,
        max_length=200,
        description="Finding of the model -> what the reader sees; null withdraws what was stated before.",
    )


class VerdictAnswer(BaseModel):
    """What is stored now of a reader on a film."""

    status: Literal["stored"]
    film: str
    reader: str
    labels: dict[str, Word]
    film_kept: bool
    rows: int = Field(description="Rows of the table, one a film and reader.")
    notice: str


class Neighbour(BaseModel):
    """A film of the index."""

    row: int = Field(description="In the index.")
    similarity: float = Field(description="Cosine of the model's features, from -1 to 1.")
    labels: dict[str, Word] = Field(description="Finding -> label; what is not stated is left out.")
    same_film: bool = Field(description="Whether its prepared pixels are those of the sent film.")


class Neighbours(BaseModel):
    """The films of the index that are most like the sent one, the nearest first, one a patient."""

    input: schema.InputFacts
    neighbours: list[Neighbour]
    films: int = Field(description="Films of the index.")
    pictures: bool = Field(description="Whether GET /v1/neighbours/ROW gives their pictures.")
    notice: str


def add_verdicts(app: FastAPI, service: Service, table: VerdictTable, keep_films: bool) -> None:
    """Add the route that takes readers' verdicts."""
    lock = asyncio.Lock()
    statuses = (400, 408, 413, 415, 422, 429, 503)

    @app.post(
        "/v1/verdicts",
        tags=["loop"],
        openapi_extra=_body(keep_films),
        responses={
            **{status: schema.ERRORS[status] for status in statuses},
            200: {"model": VerdictAnswer},
        },
    )
    async def take_a_verdict(request: Request) -> Response:
        """Store what a reader sees on a film: agreement with the model, or its correction.

        One row a film and reader: what the same reader states later of the same finding takes the
        place of the earlier, so that a verdict sent twice counts once.
        """
        with service.limits.holding() as held:
            body = await read_body(request, held)
            sent, film = _parts(request.headers.get("content-type", ""), body)
            verdict = _verdict(sent, service)
            if film is not None and hashlib.sha256(film).hexdigest() != verdict.film:
                raise RequestError(
                    422, "another film", "The film that was sent has another hash than `film`."
                )
            picture = None
            if keep_films and not table.has_film(verdict.film):
                picture = await _picture(film, service)
            try:
                async with lock:
                    # The film first, so that the table never names one that is missing.
                    if picture is not None:
                        await asyncio.to_thread(table.keep_film, verdict.film, picture)
                    labels = await asyncio.to_thread(table.store, verdict)
            except (DataError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                service.log(f"a verdict could not be stored: {reason}")
                raise RequestError(
                    503,
                    "not stored",
                    "The verdict could not be stored; the service's log says why.",
                ) from error
        service.metrics.answers["verdicts", "answered"] += 1
        words = {value: word for word, value in WORDS.items()}
        return json_response(
            {
                "status": "stored",
                "film": verdict.film,
                "reader": verdict.reader,
                "labels": {name: words[value] for name, value in labels.items()},
                "film_kept": table.has_film(verdict.film),
                "rows": len(table),
                "notice": NOTICE,
            }
        )


def add_neighbours(app: FastAPI, service: Service, index: FilmIndex) -> None:
    """Add the routes that compare a film with those of an index."""
    statuses = (400, 408, 413, 415, 422, 429, 503)

    @app.post(
        "/v1/neighbours",
        tags=["loop"],
        openapi_extra=schema.film_body(several=False),
        responses={
            **{status: schema.ERRORS[status] for status in statuses},
            200: {"model": Neighbours},
        },
    )
    async def find_the_nearest_films(request: Request) -> Response:
        """Return the films of the index that are most like a film by the model's features, with their labels."""
        about, image, features = await service.features(request)
        nearest = await asyncio.to_thread(index.nearest, features, image)
        return json_response(
            {
                "input": about,
                "neighbours": nearest,
                "films": len(index),
                "pictures": index.pictures,
                "notice": NOTICE,
            }
        )

    if not index.pictures:
        return

    @app.get(
        "/v1/neighbours/{row}",
        tags=["loop"],
        response_class=Response,
        responses={200: schema.PNG, 404: schema.ERRORS[404], 422: schema.ERRORS[422]},
    )
    async def show_a_film_of_the_index(
        row: Annotated[int, InPath(ge=0, le=2**31, description="Row in the index.")],
    ) -> Response:
        """Return a film of the index as a small grey PNG."""
        if row >= len(index):
            raise RequestError(
                404, "unknown film", f"The index has the rows 0 to {len(index) - 1}."
            )
        return Response(await asyncio.to_thread(index.picture, row), media_type="image/png")


async def _picture(film: bytes | None, service: Service) -> bytes:
    """Return what is kept of a film."""
    if film is None:
        raise RequestError(
            422,
            "film needed",
            "This service keeps the films of verdicts: send the film too, as the field `film` of a form whose field "
            "`verdict` is the JSON.",
        )
    if not film_kind(film):
        raise RequestError(415, "no film", "The field `film` is no PNG, JPEG or DICOM.")
    return await service.picture_of_readable(film)


def _parts(content_type: str, body: bytes) -> tuple[bytes, bytes | None]:
    """Return a request's JSON, and its film where it has one."""
    if not is_multipart(content_type):
        if len(body) > MOST_JSON:
            raise RequestError(413, "too large", f"A verdict has at most {MOST_JSON} bytes.")
        return body, None
    parts = parts_of_form(content_type, body)
    fields = dict(parts)
    if len(fields) != len(parts):
        raise malformed("a field stands twice")
    if not fields.keys() <= {b"verdict", b"film"}:
        raise RequestError(
            422, "unknown field", "The form has a field that is neither `verdict` nor `film`."
        )
    if b"verdict" not in fields:
        raise malformed("it has no field `verdict`")
    if len(fields[b"verdict"]) > MOST_JSON:
        raise RequestError(413, "too large", f"A verdict has at most {MOST_JSON} bytes.")
    return fields[b"verdict"], fields.get(b"film")


def _verdict(sent: bytes, service: Service) -> Verdict:
    """Return a verdict as it was sent."""
    try:
        body = VerdictBody.model_validate_json(sent)
    except ValidationError as error:
        known = {str(entry["loc"][0]) for entry in error.errors() if entry["loc"]}
        named = ", ".join(sorted(known & set(VerdictBody.model_fields))) or "the JSON itself"
        raise RequestError(422, "invalid", f"Not as described: {named}.") from error
    findings = service.facts.findings
    if not body.labels.keys() <= set(findings):
        raise RequestError(
            422,
            "unknown finding",
            f"The model has no such finding: allowed are {', '.join(findings)}.",
        )
    labels = {name: None if word is None else WORDS[word] for name, word in body.labels.items()}
    return Verdict(body.film, body.reader, service.facts.sha256, labels, body.patient)


def _body(keep_films: bool) -> dict[str, Any]:
    """Return the description of a verdict's request: JSON, or a form of it with the film."""
    verdict = VerdictBody.model_json_schema()
    form = {
        "type": "object",
        "required": ["verdict", *(["film"] if keep_films else [])],
        "properties": {"verdict": verdict, "film": {"type": "string", "format": "binary"}},
        "additionalProperties": False,
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": verdict},
                "multipart/form-data": {
                    "schema": form,
                    "encoding": {"verdict": {"contentType": "application/json"}},
                },
            },
        }
    }
