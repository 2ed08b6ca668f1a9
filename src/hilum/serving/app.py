"""The routes: predictions, heatmaps, renderings, health, metrics, the page and the description of them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hilum.serving import schema
from hilum.serving.batches import NotFiniteError, QueueFullError
from hilum.serving.failures import RequestError, json_response
from hilum.serving.gate import REFUSALS
from hilum.serving.guard import FAULT, Guard
from hilum.serving.loop import add_neighbours, add_verdicts
from hilum.serving.metrics import MEDIA_TYPE
from hilum.serving.model import THRESHOLDS_FROM
from hilum.serving.page_phantoms import PHANTOMS
from hilum.serving.service import NOTICE, Service, busy, not_finite
from hilum.serving.static import Pages
from hilum.version import __version__

if TYPE_CHECKING:  # which needs pandas, and a service without an index does not
    from hilum.serving.neighbours import FilmIndex
    from hilum.serving.verdicts import VerdictTable

Endpoint = Callable[[Request], Awaitable[Response]]
FailureHandler = Callable[[Request, Exception], Awaitable[Response]]
Finding = Annotated[str, Query(description="Name of a finding of the model.", max_length=200)]


def about(keeps: bool) -> str:
    """Return what the description begins with, by whether verdicts are kept."""
    kept = "Of it nothing is kept but readers' verdicts" if keeps else "Nothing of it is kept"
    return f"""Probabilities of findings on frontal chest radiographs. {NOTICE}

A film is sent as the body of a request or as the field `film` of a form: PNG, JPEG or DICOM, told by its
content. {kept}. What is no upright frontal chest film is refused with the reason and gets no number."""


def make_app(
    service: Service,
    token: str | None,
    verdicts: VerdictTable | None = None,
    index: FilmIndex | None = None,
) -> ASGIApp:
    """Return the application around a service, with the guard before it.

    Args:
        service: Answers films.
        token: That requests must carry; None where none is asked for.
        verdicts: Where readers' verdicts are stored; None to take none.
        index: The films that a film is compared with; None for no such route.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.end()

    app = FastAPI(
        title="Hilum",
        version=__version__,
        description=about(verdicts is not None),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={status: schema.ERRORS[status] for status in (401, 403, 421, 500)},
    )
    predict = _add_films(app, service)
    keeps = service.options.verdict_films
    loop = {
        "verdicts": None if verdicts is None else {"films": keeps},
        "index": None if index is None else index.facts(),
    }
    _add_facts(app, service, loop)
    if verdicts is not None:
        add_verdicts(app, service, verdicts, keeps)
    if index is not None:
        add_neighbours(app, service, index)
    _add_pages(app)
    failures = _add_failures(app, service)
    shortcut = Shortcut(app, "/v1/predictions", predict, failures)
    return Guard(shortcut, service.options.hosts, token, service.log)


class Shortcut:
    """ASGI that answers one route of an application itself: FastAPI's layers cost more than all else about a film."""

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        endpoint: Endpoint,
        failures: Mapping[type[Exception], FailureHandler],
    ) -> None:
        """Answer POST to ``path`` as the application's own route does.

        Args:
            app: The application.
            path: Of the route.
            endpoint: Of the route.
            failures: Exceptions and what answers them; all others are raised.
        """
        self._app, self._path, self._endpoint, self._failures = app, path, endpoint, failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._endpoint(request)
        except Exception as error:
            handler = self._failures.get(type(error))
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)


def _add_films(app: FastAPI, service: Service) -> Endpoint:
    """Add the routes that take films; return what answers the first of them."""
    errors: dict[int | str, Any] = {
        status: schema.ERRORS[status] for status in (400, 408, 413, 415, 422, 429, 503)
    }

    @app.post(
        "/v1/predictions",
        tags=["films"],
        openapi_extra=schema.film_body(several=False),
        responses={**errors, 200: {"model": schema.Prediction | schema.Refusal}},
    )
    async def predict_one_film(request: Request) -> Response:
        """Return the probability of every finding on one film, or why it is refused."""
        return json_response(await service.predict(request))

    @app.post(
        "/v1/batch",
        tags=["films"],
        openapi_extra=schema.film_body(several=True),
        responses={**errors, 200: {"model": schema.Batch}},
    )
    async def predict_several_films(request: Request) -> Response:
        """Return the answers to several films, in the order of the form's fields."""
        return json_response(await service.predict_many(request))

    @app.post(
        "/v1/heatmaps",
        tags=["films"],
        openapi_extra=schema.film_body(several=False),
        response_class=Response,
        responses={**errors, 200: schema.PNG},
    )
    async def draw_a_heatmap(request: Request, finding: Finding) -> Response:
        """Return where the model looks for a finding, as a transparent PNG to lie over the film.

        The map is divided by its own maximum: maps of two films or findings do not compare in
        strength.
        """
        return Response(await service.heatmap(request, finding), media_type="image/png")

    @app.post(
        "/v1/renderings",
        tags=["films"],
        openapi_extra=schema.film_body(several=False),
        response_class=Response,
        responses={**errors, 200: schema.PNG},
    )
    async def render_a_film(request: Request) -> Response:
        """Return a film as the service reads it, as a grey PNG, for viewers that read no DICOM."""
        return Response(await service.picture(request), media_type="image/png")

    return predict_one_film


def _add_facts(app: FastAPI, service: Service, loop: dict[str, Any]) -> None:
    """Add the routes that tell of the service; ``loop`` is what it keeps and compares films with."""

    @app.get("/v1/model", tags=["service"], response_model=schema.About)
    async def describe_the_model() -> Response:
        """Return the model's findings, thresholds and what they rest on, and the service's limits."""
        facts = service.facts
        return json_response(
            {
                "model": service.identity,
                "findings": facts.findings,
                "thresholds": facts.thresholds,
                "thresholds_from": THRESHOLDS_FROM,
                "not_called": facts.not_called,
                "notes": facts.notes,
                "refusals": REFUSALS,
                "prepare": facts.preparation.flags(),
                "most_films": service.most_films,
                "most_bytes": service.limits.body_bytes,
                "version": __version__,
                "notice": NOTICE,
                **loop,
            }
        )

    @app.get("/health", tags=["service"], response_model=schema.Health)
    async def tell_whether_it_runs() -> Response:
        """Return 200 for as long as the process answers."""
        return json_response({"status": "ok"})

    @app.get(
        "/ready",
        tags=["service"],
        response_model=schema.Health,
        responses={503: {"model": schema.Health, "description": "No process can decode a film."}},
    )
    async def tell_whether_it_is_ready() -> Response:
        """Return 200 where a film would be answered now."""
        ready = service.decoders.ready
        return json_response({"status": "ready" if ready else "starting"}, 200 if ready else 503)

    @app.get(
        "/metrics",
        tags=["service"],
        response_class=Response,
        responses={200: {"description": "Prometheus' text form.", "content": {"text/plain": {}}}},
    )
    async def count() -> Response:
        """Return counters and histograms for Prometheus."""
        return Response(service.metrics_text(), media_type=MEDIA_TYPE)


def _add_pages(app: FastAPI) -> None:
    """Add the page and the readable form of the description; neither loads anything from elsewhere."""
    pages = Pages()
    for path in (*pages.files, *PHANTOMS):

        async def send_page(request: Request) -> Response:
            return pages.response(request.url.path.rpartition("/")[2])

        app.add_api_route(f"/{path}", send_page, methods=["GET"], include_in_schema=False)

    @app.get("/docs", include_in_schema=False)
    async def read_the_docs() -> Response:
        return pages.docs(app.openapi())


def _add_failures(app: FastAPI, service: Service) -> dict[type[Exception], FailureHandler]:
    """Give every failure the same form, without what was sent; return what answers those of a film."""
    paths = {getattr(route, "path", "") for route in app.routes}

    def counted(request: Request, failure: RequestError) -> Response:
        path = request.scope["path"]
        if path.startswith("/v1/") and path in paths:
            service.metrics.answers[path.rpartition("/")[2], failure.code] += 1
        return failure.response()

    async def fail(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return counted(request, error)

    async def full(request: Request, error: Exception) -> Response:
        assert isinstance(error, QueueFullError)
        return counted(request, busy(error.seconds))

    async def no_number(request: Request, _: Exception) -> Response:
        return counted(request, not_finite())

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        named = ", ".join(sorted({str(entry["loc"][-1]) for entry in error.errors()}))
        return counted(request, RequestError(422, "invalid", f"Not as described: {named}."))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return RequestError(error.status_code, "http", str(error.detail), error.headers).response()

    async def gone(_: Request, __: Exception) -> Response:
        return RequestError(400, "gone", "The client went away.").response()

    async def fault(_: Request, __: Exception) -> Response:
        return RequestError(500, "fault", FAULT).response()

    of_films: dict[type[Exception], FailureHandler] = {
        RequestError: fail,
        QueueFullError: full,
        NotFiniteError: no_number,
        ClientDisconnect: gone,
    }
    others: dict[type[Exception], FailureHandler] = {
        Exception: fault,  # it goes on to the guard, which tells the log where
        RequestValidationError: invalid,
        HTTPException: http,
    }
    for kind, handler in {**of_films, **others}.items():
        app.add_exception_handler(kind, handler)
    return of_films
