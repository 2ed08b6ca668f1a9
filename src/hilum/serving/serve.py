"""Run the service until a signal ends it: what came before is answered, then the processes end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.errors import OptionError, did_you_mean
from hilum.listener import SILENT, Listener
from hilum.options import as_path
from hilum.serving.options import MOST_HEAD, ServeOptions

if TYPE_CHECKING:
    from hilum.serving.model import ServedModel
    from hilum.serving.neighbours import FilmIndex
    from hilum.serving.verdicts import VerdictTable

BACKLOG = 128
"""Connections that wait to be taken; asyncio takes as many in one turn, while nothing else is done."""
SETTINGS: dict[str, Any] = {
    "backlog": BACKLOG,
    "ws": "none",
    "lifespan": "on",
    "log_config": None,
    "log_level": "critical",  # its lines have the clients' addresses and what they asked
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "timeout_keep_alive": 30,  # seconds after which a connection without a request is closed
    "timeout_graceful_shutdown": 30,  # seconds that films on their way have when it is told to end
    "h11_max_incomplete_event_size": MOST_HEAD,
}
"""What uvicorn does beside the address."""


@dataclass(frozen=True)
class ServeResult:
    """What the service did until it was ended."""

    address: str
    answered: int
    refused: int
    failed: int

    @classmethod
    def of(cls, address: str, outcomes: Mapping[tuple[str, str], int]) -> ServeResult:
        """Count answers by (route, outcome)."""
        answered, refused = (
            sum(count for (_, name), count in outcomes.items() if name == outcome)
            for outcome in ("answered", "refused")
        )
        return cls(address, answered, refused, sum(outcomes.values()) - answered - refused)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "address": self.address,
            "answered": self.answered,
            "refused": self.refused,
            "failed": self.failed,
        }


def serve(
    run: str | Path,
    options: ServeOptions | None = None,
    listener: Listener = SILENT,
) -> ServeResult:
    """Answer requests until SIGINT or SIGTERM; what has been sent by then is answered first.

    Args:
        run: A fine-tuned run, its model folder, or a bundle of `hilum export`.
        options: Address and limits.
        listener: Receives the address when the service is ready, and a line for each fault; never
            what was sent.

    Raises:
        OptionError: The address is taken or not allowed, the token cannot be read, or fastapi and
            uvicorn are not installed.
        RunError: There is no model that calls findings.
    """
    options = options or ServeOptions()
    _refuse_unknown(options.keep)
    token = options.token()
    try:
        import uvicorn

        from hilum.serving.app import make_app
        from hilum.serving.service import Service
        from hilum.serving.shedding import shedding_protocol
    except ModuleNotFoundError as error:
        raise OptionError(
            f"the service needs {error.name}, which is not installed: pip install 'hilum[serve]'."
        ) from error
    from hilum.serving.model import open_model

    with _bound(options) as listening:
        cores = len(os.sched_getaffinity(0))
        # The other half is for the decoders and for HTTP: with all of them the service is slower.
        threads = options.threads or max(1, cores // 2)
        model = open_model(as_path("run", run), options.device, threads)
        for note in model.facts.notes:
            listener.note(note)
        verdicts, index = _loop(options, model, listener)
        service = Service(model, options, options.decoders or cores, listener.note)
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{listening.getsockname()[1]}/"
        protocol = shedding_protocol(service.admission.seconds_if_full, service.count_shed)
        server = uvicorn.Server(
            uvicorn.Config(make_app(service, token, verdicts, index), http=protocol, **SETTINGS)
        )

        async def run_server() -> None:
            task = asyncio.create_task(server.serve([listening]))
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
            if server.started:
                listener.note(f"ready at {address} (Ctrl-C ends it)")
            await task

        with _event_loop() as runner, nullcontext() if verdicts is None else closing(verdicts):
            runner.run(run_server())
    return ServeResult.of(address, service.metrics.answers)


def _loop(
    options: ServeOptions, model: ServedModel, listener: Listener
) -> tuple[VerdictTable | None, FilmIndex | None]:
    """Return the table of verdicts and the index that the options ask for."""
    verdicts, index = None, None
    if options.verdicts is not None:
        from hilum.serving.verdicts import VerdictTable

        verdicts = VerdictTable(options.verdicts, model.facts.findings)
        films = " and their films" if options.verdict_films else ""
        listener.note(f"readers' verdicts{films} are kept in {verdicts.folder}")
    if options.index is not None:
        from hilum.serving.neighbours import FilmIndex  # pandas: not without need

        progress = partial(listener.progress, "index")
        index = FilmIndex(options.index, model, options.index_pictures, progress)
    return verdicts, index


@contextmanager
def _bound(options: ServeOptions) -> Iterator[socket.socket]:
    """Listen on the address, before a model is loaded for nothing.

    Raises:
        OptionError: It is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((options.host.strip("[]"), options.port))
        except OSError as error:
            raise OptionError(
                f"cannot listen on --host {options.host} --port {options.port} ({error.strerror or error}): "
                "give another, or --port 0 for a free one."
            ) from error
        listening.listen(BACKLOG)
        yield listening


@contextmanager
def _event_loop() -> Iterator[asyncio.Runner]:
    """Yield what runs the service, by uvloop where it is installed, as by the extra ``serve``, else by asyncio.

    SIGTERM and SIGINT end the service as its normal end: uvicorn raises them again when it is done.
    """

    def ignore(*_: object) -> None:
        """The service has ended already."""

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, ignore) for number in numbers}
    factory = None if find_spec("uvloop") is None else import_module("uvloop").new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            yield runner
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_unknown(keep: tuple[str, ...]) -> None:
    if not keep:
        return
    from hilum.sources.archive.entering import REASONS

    for reason in keep:
        if reason not in REASONS:
            raise OptionError(
                f"--keep {reason!r}: allowed are {', '.join(REASONS)}.{did_you_mean(reason, REASONS)}"
            )
