"""One film through the service: body, queue, decoding, gate, network, answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from hilum.arrays import FloatArray
from hilum.errors import OptionError
from hilum.heatmaps.overlay import heat_layer
from hilum.serving.batches import Admission, NotFiniteError, Owner
from hilum.serving.child import PICTURE, PREPARED, film_kind
from hilum.serving.decoders import DIED, HUNG, DecodedUpload, Decoders, Undecodable
from hilum.serving.failures import RequestError
from hilum.serving.gate import REFUSALS
from hilum.serving.metrics import Metrics
from hilum.serving.model import THRESHOLDS_FROM, ServedModel
from hilum.serving.options import ServeOptions
from hilum.serving.uploads import Held, UploadLimits, films_of_form, is_multipart, read_body

NOTICE = "Research use only, not a medical device."
NO_HEATMAP = (
    "This model gives no heatmaps: its network does not end in global pooling and a linear layer."
)
MOST_FILMS = 32
"""Films of one batch request, at most; no more than the queue holds."""
UPLOADS = 4
"""Largest requests whose bytes are held at one time."""


class Service:
    """The model, the decoders, the queue and the counters; all but the model's thread on one event loop."""

    def __init__(
        self,
        model: ServedModel,
        options: ServeOptions,
        decoders: int,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            model: What gives the scores.
            options: Limits.
            decoders: Processes that decode films.
            log: Gets lines about faults; none names a film.
        """
        self.facts, self.options = model.facts, options
        self.metrics, self.log = Metrics(), log
        self.most_films = min(MOST_FILMS, options.queue)
        largest = options.max_mb << 20
        self.limits = UploadLimits(largest, UPLOADS * largest, options.upload_seconds)
        self.admission = Admission(options.queue)
        self.owner = Owner(model, options.batch or self.facts.batch, self._count_batch)
        self.decoders = Decoders(
            self.facts.preparation,
            self.facts.size,
            decoders,
            keep=options.keep,
            patience=options.patience,
            on_death=self._count_death,
        )
        self.identity = {
            "kind": self.facts.kind,
            "sha256": self.facts.sha256,
            "backbone": self.facts.backbone,
        }

    async def start(self) -> None:
        """Start the decoders and the model's thread, and let both do their first work."""
        self.owner.start()
        side = self.facts.preparation.size
        await self.owner.logits(np.zeros((side, side), np.uint8))
        self.metrics.batches.clear()
        await self.decoders.start()

    async def end(self) -> None:
        """End the decoders and the model's thread."""
        await self.owner.end()
        self.decoders.end()

    async def predict(self, request: Request) -> dict[str, Any]:
        """Return the answer to one film."""
        with self.limits.holding() as held:
            (data,) = await self._films(request, held, 1)
            with self.admission.take(1):
                return await self._answer(data, held.since)

    async def predict_many(self, request: Request) -> dict[str, Any]:
        """Return the answers to several films, in their order; one that fails does not fail the others."""
        with self.limits.holding() as held:
            films = await self._films(request, held, self.most_films)
            with self.admission.take(len(films)):
                answers = await asyncio.gather(
                    *(self._answer_or_failure(film, held.since) for film in films)
                )
        return {"films": answers, "notice": NOTICE}

    async def heatmap(self, request: Request, finding: str) -> bytes:
        """Return where the model looks for a finding: a PNG of colours and opacity, to lie over the film."""
        if finding not in self.facts.findings:
            allowed = ", ".join(self.facts.findings)
            raise RequestError(
                422, "unknown finding", f"The model has no such finding: allowed are {allowed}."
            )
        with self.limits.holding() as held:
            (data,) = await self._films(request, held, 1)
            with self.admission.take(1):
                film = await self._decoded(data, held.since)
                if film.refused:
                    raise RequestError(422, "refused", f"{film.refused}: {REFUSALS[film.refused]}")
                image = film.image(self.facts.preparation.size)
                position = self.facts.findings.index(finding)
                try:
                    heat = await self.owner.call(self.owner.model.heatmap, image, position)
                except OptionError as error:  # a bundle of such a network has no maps
                    raise RequestError(422, "no heatmap", NO_HEATMAP) from error
                if not np.isfinite(heat).all():
                    raise NotFiniteError
                assert film.size is not None
                layer = heat_layer(heat, self.facts.preparation, *film.size)
                self.metrics.answers["heatmaps", "answered"] += 1
                return layer

    async def picture(self, request: Request) -> bytes:
        """Return a film as the service reads it, as a grey PNG: for viewers that read no DICOM."""
        with self.limits.holding() as held:
            (data,) = await self._films(request, held, 1)
            with self.admission.take(1):
                film = await self._decoded(data, held.since, PICTURE)
                self.metrics.answers["renderings", "answered"] += 1
                return film.content

    async def picture_of_readable(self, data: bytes) -> bytes:
        """Return a film that passes the gate as a grey PNG; one that does not is refused."""
        with self.admission.take(1):
            film = await self._decoded(data)
            if film.refused:
                raise RequestError(422, "refused", f"{film.refused}: {REFUSALS[film.refused]}")
            return (await self._decoded(data, form=PICTURE)).content

    async def features(
        self, request: Request
    ) -> tuple[dict[str, Any], NDArray[np.uint8], FloatArray]:
        """Return what is known of one film, its prepared pixels, and the features [D] by which films are compared."""
        with self.limits.holding() as held:
            (data,) = await self._films(request, held, 1)
            with self.admission.take(1):
                film = await self._decoded(data, held.since)
                if film.refused:
                    raise RequestError(422, "refused", f"{film.refused}: {REFUSALS[film.refused]}")
                image = film.image(self.facts.preparation.size)
                features = await self.owner.call(self.owner.model.features, image[None])
                if not np.isfinite(features).all():
                    raise NotFiniteError
                self.metrics.answers["neighbours", "answered"] += 1
                return input_facts(data, film), image, features[0]

    def count_shed(self) -> None:
        """Count a film that was refused by a full queue before its request was read."""
        self.metrics.answers["films", "busy"] += 1

    def metrics_text(self) -> str:
        """Return the counters as text for Prometheus."""
        now = {
            "films_inside": self.admission.inside,
            "uploads_arriving": self.limits.arriving,
            "upload_bytes_held": self.limits.held,
            "decoders_ready": sum(child.ready for child in self.decoders.children),
        }
        return self.metrics.text(now, self.identity)

    async def _films(self, request: Request, held: Held, most: int) -> list[bytes]:
        """Return the films that a request carries; a full queue refuses it before its body is read."""
        self.admission.refuse_if_full()
        began = time.perf_counter()
        body = await read_body(request, held)
        self.metrics.observe("upload", time.perf_counter() - began)
        content_type = request.headers.get("content-type", "")
        films = films_of_form(content_type, body, most) if is_multipart(content_type) else [body]
        if most == 1 and not film_kind(films[0]):
            raise _no_film()
        return films

    async def _answer(self, data: bytes, came: float) -> dict[str, Any]:
        began = time.perf_counter()
        film = await self._decoded(data, came)
        about = {
            "input": input_facts(data, film),
            "model": self.identity,
            "notice": NOTICE,
        }
        if film.refused:
            self.metrics.refusals[film.refused] += 1
            self.metrics.answers["predictions", "refused"] += 1
            message = REFUSALS[film.refused]
            return {"status": "refused", "reason": film.refused, "message": message, **about}
        decoded = time.perf_counter()
        logits = await self.owner.logits(film.image(self.facts.preparation.size))
        with np.errstate(over="ignore"):
            values = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        probabilities = dict(zip(self.facts.findings, values.tolist(), strict=True))
        ended = time.perf_counter()
        self.metrics.observe("decode", decoded - began)
        self.metrics.observe("whole", ended - began)
        self.metrics.answers["predictions", "answered"] += 1
        return {
            "status": "answered",
            "probabilities": probabilities,
            "thresholds": self.facts.thresholds,
            "thresholds_from": THRESHOLDS_FROM,
            "not_called": self.facts.not_called,
            "called": self.facts.called(probabilities),
            **about,
        }

    async def _answer_or_failure(self, data: bytes, came: float) -> dict[str, Any]:
        try:
            return await self._answer(data, came)
        except (RequestError, NotFiniteError) as error:
            failure = not_finite() if isinstance(error, NotFiniteError) else error
            self.metrics.answers["predictions", failure.code] += 1
            sent = {"sha256": hashlib.sha256(data).hexdigest()}
            return {"status": "failed", "input": sent, **failure.content()}

    async def _decoded(
        self, data: bytes, came: float | None = None, form: str = PREPARED
    ) -> DecodedUpload:
        if not film_kind(data):
            raise _no_film()
        film = await self.decoders.read(data, form, came)
        if isinstance(film, Undecodable):
            detail = f" ({film.detail})" if film.detail else ""
            code = film.reason if film.reason in (DIED, HUNG) else "unreadable"
            raise RequestError(422, code, f"The film could not be read: {film.reason}{detail}.")
        return film

    def _count_batch(self, films: int, seconds: float) -> None:
        self.metrics.batches[films] += 1
        self.metrics.observe("model", seconds)

    def _count_death(self, line: str) -> None:
        self.metrics.deaths += 1
        self.log(line)


def input_facts(data: bytes, film: DecodedUpload) -> dict[str, Any]:
    """Return what an answer tells of the film that it is about."""
    height, width = film.size or (None, None)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "kind": film.kind,
        "height": height,
        "width": width,
        "notes": list(film.notes),
    }


def busy(seconds: int) -> RequestError:
    """Return the answer of a full queue."""
    text = f"The queue is full: try again in {seconds} s."
    return RequestError(429, "busy", text, {"Retry-After": str(seconds)})


def not_finite() -> RequestError:
    """Return the answer where a score is no number."""
    return RequestError(
        500, "not finite", "The model gave a score that is no number for this film."
    )


def _no_film() -> RequestError:
    return RequestError(415, "no film", "This is neither a PNG, a JPEG nor a DICOM file.")
