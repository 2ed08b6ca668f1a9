"""What stands before every route: host names, origins, the token, security headers, and faults that stay inside."""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hilum.serving.failures import RequestError
from hilum.serving.page_phantoms import PHANTOMS

FAULT = "The service failed; its log says where."
OPEN = frozenset(
    (
        "/",
        "/page.css",
        "/page.js",
        "/loop.js",
        *(f"/{name}" for name in PHANTOMS),
        "/icon.svg",
        "/docs",
        "/docs.css",
        "/openapi.json",
        "/health",
        "/ready",
    )
)
"""Paths that need no token: they say nothing of films."""
SECURITY_HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }.items()
)


class Guard:
    """ASGI around the application."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str],
        token: str | None,
        on_fault: Callable[[str], None],
    ) -> None:
        """Let requests through that name one of ``hosts`` and carry the ``token``.

        Args:
            app: The application.
            hosts: Host names in small letters, without ports.
            token: None where none is asked for.
            on_fault: Called with a line about a fault of the service itself, without any value.
        """
        self._app, self._hosts, self._on_fault = app, frozenset(hosts), on_fault
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], *SECURITY_HEADERS]}
            await send(message)

        try:
            failure = self._refusal(scope)
            app = self._app if failure is None else failure.response()
            await app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - a server's log would quote the error, and the error a film
            self._on_fault(fault_line(error))
            if not started:
                failure = RequestError(500, "fault", FAULT)
                await failure.response()(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = dict(scope["headers"])
        host = host_name(headers.get(b"host", b"").decode("latin-1"))
        if host not in self._hosts:
            return RequestError(
                421,
                "unknown host",
                "The request names a host that is not served: see --allow-host.",
            )
        origin = headers.get(b"origin")
        if origin is not None and host_name(urlsplit(origin.decode("latin-1")).netloc) != host:
            return RequestError(
                403, "foreign origin", "Pages of other sites may not use this service."
            )
        if self._token is None or scope["path"] in OPEN:
            return None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Both are compared whole, so that the time taken tells nothing of the token.
        if kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token):
            return None
        return RequestError(
            401,
            "no token",
            "Send the service's token: Authorization: Bearer TOKEN.",
            {"WWW-Authenticate": "Bearer"},
        )


def host_name(host: str) -> str:
    """Return a Host header's name in small letters, without port and brackets.

    >>> host_name("LOCALHOST:8000"), host_name("[::1]:8000"), host_name("films.example")
    ('localhost', '::1', 'films.example')
    """
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    return name.strip().lower()


def fault_line(error: BaseException) -> str:
    """Return the kind of an error and where it arose, without its text, which may quote a file."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"a request failed by a fault of the service: {type(error).__name__}{where}"
