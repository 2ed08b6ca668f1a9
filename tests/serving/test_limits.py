"""What bad, many, slow and hostile requests do: one answer each, and no harm to the others."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from uvicorn.server import ServerState

from hilum.errors import OptionError
from hilum.serving import child, uploads
from hilum.serving.batches import Admission, QueueFullError
from hilum.serving.guard import SECURITY_HEADERS
from hilum.serving.model import ServedModel
from hilum.serving.options import MOST_HEAD, ServeOptions
from hilum.serving.shedding import shedding_protocol
from service_client import Client, dicom, png

TOKEN = "a-long-enough-secret-word"


def test_what_is_no_film_is_answered_with_its_reason(client: Client, pngs: list[bytes]) -> None:
    flipped = bytearray(pngs[0])
    flipped[len(flipped) // 2] ^= 255
    for content, status, code in (
        (b"", 415, "no film"),
        (b"GIF89a", 415, "no film"),
        (b"\x89PNG\r\n\x1a\n", 422, "unreadable"),
        (pngs[0][:-20], 422, "unreadable"),
        (bytes(flipped), 422, "unreadable"),
        (b"\xff\xd8\xff", 422, "unreadable"),
    ):
        for path in ("/v1/predictions", "/v1/renderings", "/v1/heatmaps?finding=Mass"):
            answer = client.post(path, content=content)
            given = (answer.status_code, answer.json()["error"]["code"])
            assert given == (status, code), (content[:8], path)
    assert client.get("/v1/predictions").status_code == 405
    assert client.service.limits.held == client.service.admission.inside == 0


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "multipart/form-data"}, b"", 400),
        (FORM, b"", 400),
        (FORM, b"--x\r\n\r\nno end", 400),
        (FORM, b"--x\r\nnothing\r\n--x--", 400),
        (FORM, b"--x--\r\n", 400),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="patient"\r\n\r\nRoe\r\n--x--', 422),
        (FORM, b'--x\r\nContent-Disposition: form-data; filename="film"\r\n\r\n1\r\n--x--', 422),
        (FORM, b"--x\r\n" + b"A" * 5000 + b"\r\n\r\n\r\n--x--", 400),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="film"\r\n\r\n1\r\n' * 2 + b"--x--", 413),
        (FORM, b"--x\r\n\r\n1\r\n" * 5000 + b"--x--", 413),
        ({"Content-Encoding": "gzip"}, b"1", 415),
    ],
)  # fmt: skip
def test_forms_within_limits(
    client: Client, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = client.post("/v1/predictions", headers=headers, content=content)
    assert answer.status_code == status
    assert "Roe" not in answer.text


def test_bodies_are_bounded_in_bytes_pieces_and_time(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    small = serving(model, max_mb=1, upload_seconds=1)

    async def many(size: int, pieces: int) -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield bytes(size)

    async def never() -> AsyncIterator[bytes]:
        yield pngs[0][:100]
        await asyncio.sleep(30)

    large = small.post("/v1/predictions", content=bytes(2**20 + 1))
    streamed = small.post("/v1/predictions", content=many(2**16, 17))
    pieces = small.post("/v1/predictions", content=many(1, uploads.MOST_CHUNKS + 1))
    slow = small.post("/v1/predictions", content=never())
    assert [answer.status_code for answer in (large, streamed, pieces, slow)] == [413] * 3 + [408]
    assert all(answer.headers["connection"] == "close" for answer in (large, streamed, slow))
    over = [("film", b"1")] * (small.service.most_films + 1)
    assert small.post("/v1/batch", files=over).json()["error"]["code"] == "too many films"
    small.service.limits.held = small.service.limits.all_bytes
    assert small.post("/v1/predictions", content=pngs[0]).status_code == 503
    small.service.limits.held = 0
    assert small.post("/v1/predictions", content=pngs[0]).json()["status"] == "answered"


def test_a_full_queue_is_answered_at_once_and_no_answer_goes_astray(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    go = threading.Event()

    class Slow:
        facts = model.facts

        def logits(self, images: np.ndarray) -> np.ndarray:
            go.wait(60)
            return model.logits(images)

        heatmap = model.heatmap

    go.set()
    service = serving(Slow(), queue=4, decoders=2)
    expected = [service.post("/v1/predictions", content=film).json() for film in pngs]
    go.clear()

    async def flood() -> list[tuple[int, dict[str, object], str | None]]:
        sent = [
            asyncio.create_task(service.send("POST", "/v1/predictions", content=pngs[index % 6]))
            for index in range(40)
        ]
        while sum(task.done() for task in sent) < 36:
            await asyncio.sleep(0.01)
        go.set()
        answers = await asyncio.gather(*sent)
        return [(one.status_code, one.json(), one.headers.get("retry-after")) for one in answers]

    answers = service.run(flood())
    assert sorted(status for status, _, _ in answers) == [200] * 4 + [429] * 36
    for index, (status, answer, retry) in enumerate(answers):
        if status == 429:
            assert 1 <= int(retry or 0) <= 60
        else:
            assert answer["input"] == expected[index % 6]["input"]
            assert answer["probabilities"] == pytest.approx(
                expected[index % 6]["probabilities"], abs=1e-4
            )
    assert service.service.admission.inside == 0
    assert service.post("/v1/batch", files=[("film", b"1")] * 5).status_code == 413


def test_a_full_queue_refuses_by_the_first_bytes_of_a_request() -> None:
    full: list[int | None] = [7]
    shed: list[int] = []

    async def talk() -> list[bytes]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-length", b"0")],
                }
            )
            await send({"type": "http.response.body"})

        protocol = shedding_protocol(lambda: full[0], lambda: shed.append(1))
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(*requests: bytes, then_full: int | None = 7) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for request in requests:
                writer.write(request)
                await asyncio.sleep(0.05)
                full[0] = then_full
            answer = await reader.read()
            writer.close()
            return answer

        film = b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
        answers = [await ask(film + bytes(500_000)), await ask(film, bytes(500_000))]
        answers.append(await ask(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        full[0] = None
        in_the_body = film.replace(b"500000", b"%d" % len(film)).replace(
            b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
        )
        answers.append(await ask(in_the_body, film))
        server.close()
        await server.wait_closed()
        return answers

    answers = asyncio.run(talk())
    assert [answer.split(b" ")[1] for answer in answers] == [b"429", b"429", b"200", b"200"]
    assert all(
        b"Retry-After: 7" in answer and b"x-frame-options" in answer for answer in answers[:2]
    )
    assert len(shed) == 2


def test_films_that_wait_share_a_batch(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    service = serving(model, batch=3)
    requests = [("/v1/predictions", {"content": pngs[index % 6]}) for index in range(8)]
    answers = [answer.json() for answer in service.together(*requests)]
    for index, answer in enumerate(answers):
        assert answer["probabilities"] == pytest.approx(
            answers[index % 6]["probabilities"], abs=1e-4
        )
    assert max(service.service.metrics.batches) <= 3
    assert sum(size * count for size, count in service.service.metrics.batches.items()) == 8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes], value: float
) -> None:
    class Broken:
        facts = model.facts
        broken = False

        def logits(self, images: np.ndarray) -> np.ndarray:
            return np.where(self.broken, value, model.logits(images))

        def heatmap(self, image: np.ndarray, finding: int) -> np.ndarray:
            return np.full(image.shape, value, np.float32)

    broken = Broken()
    service = serving(broken)
    broken.broken = True
    one = service.post("/v1/predictions", content=pngs[0])
    heat = service.post("/v1/heatmaps?finding=Mass", content=pngs[0])
    for answer in (one, heat):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "not finite")
    (film,) = service.post("/v1/batch", files=[("film", pngs[0])]).json()["films"]
    assert film["error"]["code"] == "not finite"


def test_a_fault_of_the_service_is_a_line_without_values(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    class Faulty:
        facts = model.facts
        calls = 0

        def logits(self, images: np.ndarray) -> np.ndarray:
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("Roe, Jane")
            return model.logits(images)

        heatmap = model.heatmap

    service = serving(Faulty())
    answer = service.post("/v1/predictions", content=pngs[0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "fault")
    assert "RuntimeError at test_limits.py" in service.log[0]
    assert "Roe" not in service.log[0] + answer.text


@pytest.mark.parametrize("kills", [200, pytest.param(2000, marks=pytest.mark.torture)])
def test_a_killed_decoder_costs_its_own_film(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes], kills: int
) -> None:
    service = serving(model, decoders=2)
    expected = [service.post("/v1/predictions", content=film).json() for film in pngs[:3]]
    children = service.service.decoders.children

    async def kill_while_reading() -> list[tuple[int, dict[str, object]]]:
        answers = []
        for number in range(kills):
            while not (running := [one for one in children if one.ready]):
                await asyncio.sleep(0.001)
            sent = [
                asyncio.create_task(service.send("POST", "/v1/predictions", content=film))
                for film in pngs[:3]
            ]
            await asyncio.sleep(0.001 * (number % 11))
            process = running[number % len(running)].process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            answers += [(one.status_code, one.json()) for one in await asyncio.gather(*sent)]
        return answers

    answers = service.run(kill_while_reading())
    lost = [answer for status, answer in answers if status != 200]
    assert all(answer["error"]["code"] == "decoder died" for answer in lost)
    assert len(lost) <= kills == service.service.metrics.deaths
    for index, (status, answer) in enumerate(answers):
        if status == 200:
            assert answer["input"] == expected[index % 3]["input"]
            assert answer["probabilities"] == pytest.approx(
                expected[index % 3]["probabilities"], abs=1e-4
            )
    assert len(service.log) == kills
    assert all("SIGKILL" in line for line in service.log)


def test_a_decoder_that_ends_between_films_costs_none(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    service = serving(model)
    for number in range(1, 4):
        (one,) = service.service.decoders.children
        while not one.ready:
            service.run(asyncio.sleep(0.05))
        assert one.process is not None
        os.kill(one.process.pid, signal.SIGKILL)
        while len(service.log) < number:
            service.run(asyncio.sleep(0.05))
        assert service.post("/v1/predictions", content=pngs[0]).json()["status"] == "answered"


def test_a_killed_fork_server_costs_no_film_and_is_started_again(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    service = serving(model)
    decoders = service.service.decoders
    (one,) = decoders.children
    server, decoder = decoders.server.pid, one.process
    assert decoder is not None
    os.kill(server, signal.SIGKILL)
    while len(service.log) < 1:
        service.run(asyncio.sleep(0.01))
    assert service.post("/v1/predictions", content=pngs[0]).json()["status"] == "answered"
    assert (decoders.server.pid, one.process) == (0, decoder)  # which goes on without it
    os.kill(decoder.pid, signal.SIGKILL)
    while len(service.log) < 2:
        service.run(asyncio.sleep(0.01))
    assert service.post("/v1/predictions", content=pngs[1]).json()["status"] == "answered"
    assert "forked from ended by signal 9" in service.log[0]
    assert "(status unknown)" in service.log[1]
    assert decoders.server.pid not in (0, server)


def test_decoders_end_with_a_killed_service() -> None:
    script = """
import asyncio, os, sys
from hilum.images.enhance import Preparation
from hilum.serving.decoders import Decoders
async def main():
    decoders = Decoders(Preparation(size=64), 64, 2)
    await decoders.start()
    while not all(one.ready for one in decoders.children):
        await asyncio.sleep(0.01)
    print(decoders.server.pid, *(one.process.pid for one in decoders.children), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        numbers = [int(number) for number in service.stdout.readline().split()]
        handles = [os.pidfd_open(number) for number in numbers]
        service.kill()
    for handle in handles:
        assert select.select([handle], [], [], 10)[0] == [handle]
        os.close(handle)
    assert len(numbers) == 3


def test_a_film_that_hangs_its_decoder_is_lost_alone(
    serving: Callable[..., Client], model: ServedModel, films: list[np.ndarray], pngs: list[bytes]
) -> None:
    service = serving(model, patience=1)
    (one,) = service.service.decoders.children
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGSTOP)  # as if it computed for ever; its alarm still ends it
    threading.Timer(0.5, os.kill, (one.process.pid, signal.SIGALRM)).start()
    threading.Timer(0.6, os.kill, (one.process.pid, signal.SIGCONT)).start()
    answer = service.post("/v1/predictions", content=pngs[0])
    assert answer.json()["error"]["code"] == "decoder hung"
    assert service.post("/v1/predictions", content=pngs[1]).json()["status"] == "answered"


def test_a_token_is_asked_for_wherever_films_are(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    service = serving(model, token=TOKEN)
    for given in (
        None,
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        "Bearer \xff",
    ):
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        for path in ("/v1/predictions", "/v1/batch", "/v1/heatmaps?finding=Mass", "/v1/renderings"):
            answer = service.post(path, content=pngs[0], headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert service.get("/metrics", headers=headers).status_code == 401
        assert service.get("/v1/model", headers=headers).status_code == 401
    assert service.get("/health").status_code == service.get("/docs").status_code == 200
    headers = {"Authorization": f"bearer {TOKEN}"}
    answer = service.post("/v1/predictions", content=pngs[0], headers=headers)
    assert answer.json()["status"] == "answered"


def test_hosts_origins_and_headers(serving: Callable[..., Client], model: ServedModel) -> None:
    service = serving(model, allow_host=("films.example",))
    for host, status in (
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("[::1]:8000", 200),
        ("films.example:443", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ):
        answer = service.get("/health", headers={"Host": host})
        assert answer.status_code == status, host
        for name, value in SECURITY_HEADERS:
            assert answer.headers[name.decode()] == value.decode()
    foreign = {"Host": "localhost:8000", "Origin": "http://evil.example"}
    assert service.post("/v1/predictions", content=b"1", headers=foreign).status_code == 403
    own = {"Host": "films.example", "Origin": "https://films.example"}
    assert service.post("/v1/predictions", content=b"1", headers=own).status_code == 415


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"host": "0.0.0.0"}, "--token-file"),
        ({"port": 65_536}, "--port is 65536"),
        ({"queue": 0}, "--queue is 0"),
        ({"max_mb": 4096}, "--max-mb is 4096"),
        ({"token_file": "/nowhere"}, "/nowhere cannot be read"),
        ({"token_file": os.devnull}, "holds 0 characters"),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], names: str) -> None:
    with pytest.raises(OptionError, match=names):
        ServeOptions(**options).token()


def test_the_queue_tells_when_to_come_again() -> None:
    now = [0.0]
    admission = Admission(4, clock=lambda: now[0])
    assert admission.retry_after() == 1
    for _ in range(3):
        with admission.take(4):
            now[0] += 4
    with admission.take(4), pytest.raises(QueueFullError) as full:
        admission.refuse_if_full()
    assert full.value.seconds == 4  # films of a second each


def test_films_that_would_wait_too_long_are_refused_before_the_queue_is_full() -> None:
    now = [0.0]
    admission = Admission(64, clock=lambda: now[0])
    with admission.take():
        now[0] += 0.5  # what a film takes that comes alone, such as the first: no pace
    with ExitStack() as inside:
        for _ in range(64):
            assert admission.seconds_if_full() is None
            inside.enter_context(admission.take())
        assert admission.seconds_if_full() == 1
    with admission.take(8):
        now[0] += 8 * 0.05  # seconds a film
    with ExitStack() as inside:
        admitted = 0
        while admission.seconds_if_full() is None:
            inside.enter_context(admission.take())
            admitted += 1
        assert 29 <= admitted <= 31  # the next would be done after more than 1.5 s
        with pytest.raises(QueueFullError):
            inside.enter_context(admission.take())
    slow = Admission(64, clock=lambda: now[0])
    with slow.take(8):
        now[0] += 8 * 5
    with ExitStack() as inside:
        while slow.seconds_if_full() is None:
            inside.enter_context(slow.take())
        assert (slow.inside, slow.seconds_if_full()) == (8, 40)


def test_the_kind_of_a_file_is_told_by_its_content(
    pngs: list[bytes], tmp_path: Path, films: list[np.ndarray]
) -> None:
    kinds = [
        child.film_kind(content)
        for content in (pngs[0], b"\xff\xd8\xff\xe0", dicom(tmp_path, films[0]), b"")
    ]
    assert kinds == ["png", "jpeg", "dicom", ""]
    assert png(films[0]) == pngs[0]


def test_the_film_that_came_first_is_decoded_first_and_one_that_is_given_up_costs_no_process(
    serving: Callable[..., Client], model: ServedModel, pngs: list[bytes]
) -> None:
    client = serving(model)
    decoders, order = client.service.decoders, list[int]()

    async def read(number: int, came: float) -> None:
        await decoders.read(pngs[number % 6], came=came)
        order.append(number)

    async def all_at_once() -> None:
        tasks = [asyncio.create_task(read(number, 10.0 - number)) for number in range(6)]
        await asyncio.sleep(0)  # the first has the only process, the others wait
        tasks[3].cancel()
        tasks.append(asyncio.create_task(read(6, 4.5)))
        await asyncio.gather(*tasks, return_exceptions=True)
        await read(7, 0.0)

    client.run(all_at_once())
    assert order == [0, 6, 5, 4, 2, 1, 7]
    assert client.log == []


def test_a_head_without_end_is_refused() -> None:
    """By the limit of h11, or by the one that httptools lacks."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError((scope, receive, send))

    async def talk() -> int:
        protocol = shedding_protocol(lambda: None, lambda: None)
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None)
        config.h11_max_incomplete_event_size = MOST_HEAD
        config.load()
        loop = asyncio.get_running_loop()
        state = ServerState()
        server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answer = asyncio.create_task(reader.read())
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        while not answer.done() and sent < 4 * MOST_HEAD:
            writer.write(bytes(4096).replace(b"\0", b"x"))
            sent += 4096
            await asyncio.sleep(0.005)
        with suppress(ConnectionError):
            assert (await asyncio.wait_for(answer, 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()
        server.close()
        await server.wait_closed()
        return sent

    assert MOST_HEAD <= asyncio.run(talk()) < 2 * MOST_HEAD
