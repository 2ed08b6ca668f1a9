"""Answers that are no result: a status, a code for programs and a sentence for people; none quotes what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class RequestError(Exception):
    """Why a request has no result."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def content(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": {"code": self.code, "message": self.message}}

    def response(self) -> Response:
        """Return the answer."""
        return json_response(self.content(), self.status, self.headers)


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer; a number that is not finite is an error and never written.

    Raises:
        ValueError: A number is not finite.
    """
    body = json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    return Response(body, status, dict(headers or {}), "application/json")
