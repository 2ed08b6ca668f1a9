"""HTTP as uvicorn speaks it, but films that a full queue refuses anyway cost next to nothing.

Under ten times more films than can be answered most of the time would go into parsing requests that
are answered 429. So while the queue is full, a request for a film is answered by its first bytes:
one fixed text, then the connection is closed once the client has read it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache

from hilum.serving.connection import HttpProtocol
from hilum.serving.guard import SECURITY_HEADERS
from hilum.serving.service import busy

FILMS = b"POST /v1/"
"""How a request for films begins."""
LINGER = 2.0
"""Seconds after which the connection is closed in any case: at once, the client might lose the answer."""


def shedding_protocol(
    seconds_if_full: Callable[[], int | None], on_shed: Callable[[], None]
) -> type[asyncio.Protocol]:
    """Return the protocol of connections.

    Args:
        seconds_if_full: Returns when to try again, None while there is room.
        on_shed: Called for each film that is refused so.
    """

    class SheddingProtocol(HttpProtocol):
        """One connection."""

        _shed = False

        def data_received(self, data: bytes) -> None:
            """Answer a film by its first bytes while the queue is full; all else is uvicorn's."""
            if self._shed:
                return  # the rest of a body that nobody reads
            if data.startswith(FILMS) and self.is_idle:
                seconds = seconds_if_full()
                if seconds is not None:
                    self._refuse(seconds)
                    on_shed()
                    return
            super().data_received(data)

        def _refuse(self, seconds: int) -> None:
            self._shed = True
            self._unset_keepalive_if_required()
            transport = self.transport
            transport.write(refusal(seconds))
            transport.write_eof()
            self.loop.call_later(LINGER, transport.close)

    return SheddingProtocol


@cache
def refusal(seconds: int) -> bytes:
    """Return the whole answer of a full queue."""
    failure = busy(seconds)
    body = json.dumps(failure.content()).encode()
    headers = [
        *((name.encode(), value.encode()) for name, value in failure.headers.items()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"close"),
        *SECURITY_HEADERS,
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return b"HTTP/1.1 429 Too Many Requests\r\n" + lines + b"\r\n" + body
