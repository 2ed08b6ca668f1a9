"""Do slow and broken uploads, film bombs and killed decoders harm anybody but those who send them?

    python benchmarks/serve_attack.py RUN_OR_BUNDLE --json

Starts `hilum serve`, lets eight usual clients send films all the time, and meanwhile opens 500 bad
connections (bodies of a few bytes a second, bodies that end in the middle, requests that are no
HTTP), sends the PNG and JPEG files of `bomb_files.py`, and kills decoders. Every answer to a usual
client must be that film's, with the numbers that it had before, or say that its decoder died; and no
more than one such for a decoder that died. Exit 1 where it is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bomb_files import write_bombs
from http_load import Request, requests_of
from serve_load import children_of, draw_films, memory_of, server

CLIENTS, BAD = 8, 500


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="a run, or a bundle of `hilum export`")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--bombs", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        films = draw_films(Path(folder), 20)
        process, port, _ = server(
            "hilum",
            given.model,
            os.sched_getaffinity(0),
            "--upload-seconds",
            "10",
            "--patience",
            "5",
        )
        try:
            bombs = Path(folder) / "bombs"
            bombs.mkdir()
            result = asyncio.run(
                attacked(port, process.pid, films, bombs, given.kills, given.bombs)
            )
        finally:
            process.terminate()
            process.wait(60)
    result["exit"] = process.returncode
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))
    if result["wrong"] or result["lost"] > result["deaths"] or process.returncode or result["held"]:
        raise SystemExit(1)


async def attacked(
    port: int, pid: int, films: Sequence[bytes], folder: Path, kills: int, bombs: int
) -> dict[str, Any]:
    """Return what usual clients got meanwhile."""
    requests, usual, peak, over = requests_of(films, port), Counter[str](), 0.0, asyncio.Event()
    first = [(await answer(port, request))[1] for request in requests]

    async def client(number: int) -> None:
        turn = number
        while not over.is_set():
            turn += CLIENTS
            status, body = await answer(port, requests[turn % len(films)])
            if status == "200":
                usual["right" if same(body, first[turn % len(films)]) else "wrong"] += 1
            else:
                usual[body["error"]["code"]] += 1

    async def memory() -> None:
        nonlocal peak
        while not over.is_set():
            peak = max(peak, memory_of(pid))
            await asyncio.sleep(0.5)

    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    watching = asyncio.create_task(memory())
    bad = [asyncio.create_task(bad_upload(port, number)) for number in range(BAD)]
    outcomes: Counter[str] = Counter()
    written = chain.from_iterable(write_bombs(folder, kind) for kind in ("png", "jpeg", "sparse"))
    for _, path in islice(written, bombs):
        if path.stat().st_size > 64 << 20:
            outcomes["not sent: larger than a request may be"] += 1
            path.unlink()
            continue
        data = path.read_bytes()
        path.unlink()
        (bomb,) = requests_of([data], port)
        status, body = await answer(port, bomb)
        outcomes[f"{status} {body.get('status') or body['error']['code']}"] += 1
    for _ in range(kills):
        (fork_server,) = children_of(pid)
        if decoders := children_of(fork_server):
            os.kill(decoders[0], signal.SIGKILL)
        await asyncio.sleep(0.3)
    ends = Counter(await asyncio.gather(*bad))
    over.set()
    await asyncio.gather(*clients, watching)
    metrics = (
        await raw(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    ).decode()
    numbers = dict(
        line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("hilum_")
    )
    return {
        "usual": dict(usual),
        "wrong": usual["wrong"],
        "lost": usual["decoder died"] + usual["decoder hung"],
        "deaths": int(numbers["hilum_decoder_deaths_total"]),
        "bombs": dict(outcomes),
        "bad_connections": dict(ends),
        "held": int(
            float(numbers["hilum_upload_bytes_held"]) + float(numbers["hilum_films_inside"])
        ),
        "peak_megabytes": round(peak, 1),
    }


def same(body: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether an answer is that film's, with the numbers that it had before."""
    numbers, others = body.get("probabilities", {}), before.get("probabilities", {})
    return (
        body["input"] == before["input"]
        and numbers.keys() == others.keys()
        and all(abs(numbers[name] - others[name]) < 1e-4 for name in numbers)
    )


async def answer(port: int, request: Request) -> tuple[str, dict[str, Any]]:
    """Return the status and the body of the answer to one film."""
    wire = request.wire.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    head, _, body = (await raw(port, wire)).partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1].decode(), json.loads(body)


async def raw(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


async def bad_upload(port: int, number: int) -> str:
    """Send what no client should; return how the service ended it."""
    head = b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            if number % 4 == 0:
                writer.write(head + bytes(20_000))
                await writer.drain()
                return "left in the middle"
            if number % 4 == 1:
                writer.write(
                    b"POST /v1/predictions HTTP/9.9 \x00\r\n" + os.urandom(200) + b"\r\n\r\n"
                )
                return (await reader.read(12)).decode("latin-1")
            if number % 4 == 2:
                writer.write(
                    head.replace(b"Content-Length: 50000", b"Transfer-Encoding: chunked")
                    + b"zz\r\n"
                )
                return (await reader.read(12)).decode("latin-1")
            writer.write(head)
            reading = asyncio.create_task(reader.read(12))
            while not reading.done():
                writer.write(b"0")
                await asyncio.wait([reading], timeout=0.5)
            return (await reading).decode("latin-1")
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.close()


if __name__ == "__main__":
    main()
