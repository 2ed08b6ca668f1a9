"""The page and the readable form of the description: files of the package, which load nothing from elsewhere."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from starlette.responses import Response

from hilum.serving.failures import RequestError
from hilum.serving.page_phantoms import PHANTOMS, phantom

FOLDER = Path(__file__).with_name("page")
KINDS = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "loop.js": ("loop.js", "text/javascript; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "docs.css": ("docs.css", "text/css; charset=utf-8"),
}
"""Path -> file of the package, and its type."""


class Pages:
    """The package's files, read once."""

    def __init__(self) -> None:
        self.files = {
            path: (FOLDER.joinpath(name).read_bytes(), kind) for path, (name, kind) in KINDS.items()
        }

    def response(self, path: str) -> Response:
        """Return one of the files, or a phantom.

        Raises:
            RequestError: There is none.
        """
        if path in PHANTOMS:
            return Response(phantom(path), media_type="image/png")
        if path not in self.files:
            raise RequestError(404, "http", "Not Found")
        content, kind = self.files[path]
        return Response(content, media_type=kind)

    def docs(self, description: dict[str, Any]) -> Response:
        """Return an OpenAPI description as a page that loads its style alone."""
        routes = "".join(
            _route(method, path, operation)
            for path, methods in description["paths"].items()
            for method, operation in methods.items()
        )
        info = description["info"]
        schemas = "".join(
            f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(kind.get('description', ''))}</p>{_fields(kind)}"
            for name, kind in description["components"]["schemas"].items()
        )
        page = (
            "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
            "content='width=device-width'><title>Hilum: the service</title><link rel='icon' href='icon.svg'>"
            "<link rel='stylesheet' href='docs.css'>"
            f"<main><h1>{escape(info['title'])} {escape(info['version'])}</h1>{_paragraphs(info['description'])}"
            "<p>For programs: <a href='openapi.json'>openapi.json</a>. The page for people: <a href='./'>here</a>.</p>"
            f"<h2>Routes</h2>{routes}<h2>Answers</h2>{schemas}</main></html>"
        )
        return Response(page, media_type="text/html; charset=utf-8")


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(entry['name'])}</code>{' (required)' if entry['required'] else ''}: "
        f"{escape(entry.get('description', ''))}</li>"
        for entry in operation.get("parameters", ())
    )
    answers = "".join(
        f"<li><code>{status}</code> {escape(answer.get('description', ''))} {_kinds(answer)}</li>"
        for status, answer in sorted(operation["responses"].items())
    )
    bodies = ", ".join(map(escape, operation.get("requestBody", {}).get("content", {})))
    body = f"<p>Body: {bodies}</p>" if bodies else ""
    about = _paragraphs(operation.get("description", ""))
    return (
        f"<section><h3><code>{method.upper()} {escape(path)}</code></h3>{about}{body}"
        f"<ul>{parameters}</ul><ul>{answers}</ul></section>"
    )


def _kinds(answer: dict[str, Any]) -> str:
    references = [
        entry.get("$ref", "").rpartition("/")[2]
        for content in answer.get("content", {}).values()
        for entry in (content.get("schema", {}), *content.get("schema", {}).get("anyOf", ()))
    ]
    return ", ".join(f"<a href='#{name}'>{name}</a>" for name in references if name)


def _fields(kind: dict[str, Any]) -> str:
    rows = "".join(
        f"<li><code>{escape(name)}</code> {escape(entry.get('description', ''))}</li>"
        for name, entry in kind.get("properties", {}).items()
    )
    return f"<ul>{rows}</ul>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n"))
