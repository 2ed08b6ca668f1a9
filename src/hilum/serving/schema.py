"""The answers as the OpenAPI description states them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hilum.serving.gate import REFUSALS


class InputFacts(BaseModel):
    """The film that the answer is about."""

    sha256: str = Field(description="Hash of the film's bytes as they were sent.")
    kind: Literal["png", "jpeg", "dicom"]
    height: int | None = Field(description="Pixels; null where the header alone was read.")
    width: int | None
    notes: list[str] = Field(description="What was odd about a DICOM file, in set phrases.")


class ModelIdentity(BaseModel):
    """The model that answered."""

    kind: Literal["run", "bundle"]
    sha256: str
    backbone: str


class Prediction(BaseModel):
    """Probabilities of a film that passed the gate."""

    status: Literal["answered"]
    input: InputFacts
    model: ModelIdentity
    probabilities: dict[str, float] = Field(description="Finding -> calibrated probability.")
    thresholds: dict[str, float | None] = Field(
        description="Finding -> threshold; null where it is never called."
    )
    thresholds_from: str
    not_called: dict[str, str] = Field(description="Finding -> why it has no threshold.")
    called: list[str] = Field(description="Findings whose probability reaches their threshold.")
    notice: str


class Refusal(BaseModel):
    """A film of which no number is given."""

    status: Literal["refused"]
    input: InputFacts
    model: ModelIdentity
    reason: str = Field(json_schema_extra={"enum": list(REFUSALS)})
    message: str
    notice: str


class ErrorText(BaseModel):
    """Why there is no result."""

    code: str
    message: str


class Error(BaseModel):
    """An answer that is no result."""

    error: ErrorText


class Unreadable(BaseModel):
    """A film of a batch that could not be read."""

    status: Literal["failed"]
    input: dict[str, str]
    error: ErrorText


class Batch(BaseModel):
    """The answers to several films, in the order in which they were sent."""

    films: list[Prediction | Refusal | Unreadable]
    notice: str


class Health(BaseModel):
    """Whether the process runs, or is ready."""

    status: Literal["ok", "ready", "starting"]


class VerdictFacts(BaseModel):
    """What is kept of verdicts."""

    films: bool = Field(description="Whether the film of a verdict must be sent, and is kept.")


class IndexFacts(BaseModel):
    """The films that a film is compared with."""

    films: int
    pictures: bool = Field(description="Whether they are shown.")


class About(BaseModel):
    """The model and the service's limits."""

    model: ModelIdentity
    findings: list[str]
    thresholds: dict[str, float | None]
    thresholds_from: str
    not_called: dict[str, str]
    notes: list[str]
    refusals: dict[str, str]
    prepare: str = Field(description="Options of `hilum prepare` that make films fit the model.")
    most_films: int
    most_bytes: int
    version: str
    notice: str
    verdicts: VerdictFacts | None = Field(description="Null where none are taken.")
    index: IndexFacts | None = Field(description="Null where there is none.")


PNG: dict[str, Any] = {
    "description": "A picture.",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": about}
    for status, about in {
        400: "A form that cannot be read.",
        401: "No token, where one is asked for.",
        403: "A page of another site.",
        404: "There is none.",
        408: "The body took too long.",
        413: "Too large, or too many films.",
        415: "Neither PNG, JPEG nor DICOM, or compressed.",
        421: "A host name that is not served.",
        422: "A film that cannot be read, or a parameter that is not allowed.",
        429: "The queue is full: Retry-After says when to come again.",
        500: "A fault of the service, or a score that is no number.",
        503: "Too much is being uploaded at once, or the service is not ready.",
    }.items()
}


def film_body(several: bool) -> dict[str, Any]:
    """Return the description of a request's body: a form of films, or one film's bytes."""
    binary = {"type": "string", "format": "binary"}
    films = {"type": "array", "items": binary, "minItems": 1} if several else binary
    form = {
        "schema": {
            "type": "object",
            "required": ["film"],
            "properties": {"film": films},
            "additionalProperties": False,
        }
    }
    kinds = (
        ()
        if several
        else ("image/png", "image/jpeg", "application/dicom", "application/octet-stream")
    )
    content = {"multipart/form-data": form, **{kind: {"schema": binary} for kind in kinds}}
    return {"requestBody": {"required": True, "content": content}}
