"""Request bodies within limits: their bytes, time, pieces and parts; multipart forms are taken apart in memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from hilum.serving.failures import RequestError

MOST_CHUNKS = 200_000
"""Pieces in which a body may arrive: bodies of single bytes would cost time out of proportion."""
MOST_PARTS = 64
"""Fields that a form may have."""
MOST_PART_HEADER = 4096
"""Bytes of a part's header."""
FIELD = "film"
"""Name of the form's fields that hold films."""
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'(?<![a-z])name=(?:"([^"\r\n]{0,64})"|([^\s;"]{1,64}))', re.IGNORECASE)


@dataclass
class UploadLimits:
    """Limits of bodies, and how much of them is held now."""

    body_bytes: int
    """Of one request."""
    all_bytes: int
    """Of all requests that are arriving or being answered."""
    seconds: float
    """That a body may take to arrive."""
    held: int = 0
    arriving: int = 0

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Count a request's bytes for as long as they are needed."""
        held = Held(self)
        try:
            yield held
        finally:
            held.add(-held.bytes)


@dataclass
class Held:
    """The bytes of one request."""

    limits: UploadLimits
    bytes: int = 0
    since: float = field(default_factory=time.perf_counter)
    """When the request came."""

    def add(self, count: int) -> None:
        """Count more bytes.

        Raises:
            RequestError: All requests together hold as much as allowed.
        """
        if count > 0 and self.limits.held + count > self.limits.all_bytes:
            raise RequestError(
                503, "busy", "Too much is being uploaded at once: try again.", {"Retry-After": "5"}
            )
        self.bytes += count
        self.limits.held += count


async def read_body(request: Request, held: Held) -> bytes:
    """Return a request's body.

    Raises:
        RequestError: It is too large, compressed, in too many pieces, or takes too long.
        ClientDisconnect: The client went away.
    """
    limits = held.limits
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestError(
            415, "compressed", "The body is compressed (Content-Encoding): send it as it is."
        )
    too_large = RequestError(
        413,
        "too large",
        f"The body is larger than {limits.body_bytes >> 20} MB, the most that is read.",
        {"Connection": "close"},
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
        raise too_large
    body, chunks = bytearray(), 0
    limits.arriving += 1
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                chunks += 1
                if len(body) + len(chunk) > limits.body_bytes or chunks > MOST_CHUNKS:
                    raise too_large
                held.add(len(chunk))
                body += chunk
    except TimeoutError as error:
        raise RequestError(
            408,
            "too slow",
            f"The body did not arrive within {limits.seconds:g} s.",
            {"Connection": "close"},
        ) from error
    finally:
        limits.arriving -= 1
    return bytes(body)


def is_multipart(content_type: str) -> bool:
    """Whether a request says that its body is a form of parts."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parts_of_form(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the name and content of each field of a multipart form (RFC 7578); file names are not read.

    Raises:
        RequestError: It is no such form, or has too many parts.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise malformed("no boundary is named in the Content-Type")
    mark = b"\r\n--" + (boundary[1] or boundary[2]).encode("latin-1")
    pieces = (b"\r\n" + body).split(mark, MOST_PARTS + 2)
    if len(pieces) > MOST_PARTS + 2:
        raise RequestError(413, "too many parts", f"The form has more than {MOST_PARTS} parts.")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise malformed("it ends without its boundary")
    parts = []
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        if not blank or not head.startswith(b"\r\n") or len(head) > MOST_PART_HEADER:
            raise malformed("a part has no header, or too long a one")
        name = _NAME.search(head)
        parts.append(
            (b"" if name is None else name[1] if name[1] is not None else name[2], content)
        )
    return parts


def films_of_form(content_type: str, body: bytes, most: int) -> list[bytes]:
    """Return the films of a multipart form, in their order.

    Args:
        content_type: The request's, with the boundary.
        body: Its body.
        most: Films allowed.

    Raises:
        RequestError: It is no such form, or has other fields or too many.
    """
    parts = parts_of_form(content_type, body)
    if any(name != FIELD.encode() for name, _ in parts):
        raise RequestError(422, "unknown field", f"The form has a field that is not `{FIELD}`.")
    films = [content for _, content in parts]
    if not films:
        raise malformed(f"it has no field `{FIELD}`")
    if len(films) > most:
        allowed = "one film is read here" if most == 1 else f"at most {most} films are read at once"
        raise RequestError(413, "too many films", f"The form has {len(films)} films: {allowed}.")
    return films


def malformed(why: str) -> RequestError:
    """Return the answer to a form that cannot be read."""
    return RequestError(400, "malformed form", f"The multipart form cannot be read: {why}.")
