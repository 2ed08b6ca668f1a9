"""HTTP clients for `serve_load.py`: sockets and one epoll, since the server shares the processors.

By asyncio's streams a request costs the generator 0.2 to 0.3 ms, which at thousands of connections a
second is a whole core that neither server gets; by this about a third of it. What goes over the wire
is the same.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CLIENTS, DEADLINE = 32, 2.0
"""Clients of the closed loop; seconds after which a client of the open loop gives up."""
TURN = 64
"""Connections that are opened before answers are read again."""
UNDER_WAY = (errno.EINPROGRESS, 0)


@dataclass
class Load:
    """What clients saw."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    wrong: int = 0

    def count(self, status: str) -> None:
        """Count one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


@dataclass(frozen=True)
class Request:
    """A film as it goes over the wire, and its hash."""

    wire: bytes
    hash: str


def requests_of(films: Sequence[bytes], port: int) -> list[Request]:
    """Return the requests of films."""
    return [
        Request(
            f"POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(film)}\r\n\r\n".encode()
            + film,
            hashlib.sha256(film).hexdigest(),
        )
        for film in films
    ]


class Connection:
    """One connection, and the request that is on its way over it."""

    def __init__(self, port: int, poll: select.epoll) -> None:
        """Begin to connect."""
        self._poll, self._events = poll, 0
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.handle = self.socket.fileno()
        state = self.socket.connect_ex(("127.0.0.1", port))
        if state not in UNDER_WAY:
            self.socket.close()
            raise OSError(state, "no connection")

    def ask(self, request: Request) -> None:
        """Send a request, as far as the kernel takes it now."""
        self.request, self.began = request, time.perf_counter()
        self._left, self._received = memoryview(request.wire), b""
        self.send()

    def send(self) -> None:
        """Send what is left of the request."""
        try:
            while self._left:
                self._left = self._left[self.socket.send(self._left) :]
        except (BlockingIOError, BrokenPipeError):  # an answer may have come before all was sent
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # on its way
                raise
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._left else 0)
        if wanted != self._events:
            (self._poll.modify if self._events else self._poll.register)(self.handle, wanted)
            self._events = wanted

    def receive(self, load: Load) -> dict[bytes, bytes] | None:
        """Take what came; return the headers of a whole answer, which is counted.

        Raises:
            OSError: The connection ended before.
        """
        data = self.socket.recv(2**16)
        if not data:
            raise ConnectionResetError
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return None
        first, *lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        if len(body) < int(headers[b"content-length"]):
            return None
        status = first.split(b" ", 2)[1].decode()
        load.count(status)
        if status == "200":
            load.latencies.append(time.perf_counter() - self.began)
            answer = json.loads(body)
            numbers = answer.get("probabilities") or {}
            same = answer["input"]["sha256"] == self.request.hash
            load.wrong += not same or not numbers or None in numbers.values()
        return headers

    def close(self) -> None:
        """Give it up."""
        self.socket.close()


def _turn(
    poll: select.epoll,
    connections: dict[int, Connection],
    load: Load,
    seconds: float,
    answered: Callable[[Connection, dict[bytes, bytes]], None],
) -> None:
    """Wait so long for what the connections have, and send and receive it."""
    for handle, events in poll.poll(max(seconds, 0.0)):
        connection = connections[handle]
        try:
            if events & select.EPOLLOUT and not events & select.EPOLLIN:
                connection.send()
                continue
            headers = connection.receive(load)
            if headers is not None:
                answered(connection, headers)
        except BlockingIOError:
            continue
        except OSError:
            load.count("broken")
            del connections[handle]
            connection.close()


def closed_loop(port: int, requests: Sequence[Request], seconds: float, most: int = 0) -> Load:
    """Let CLIENTS send one film after the other, for some seconds or requests.

    As HTTP asks, a client opens another connection where the answer closes its own, and comes again
    after the seconds that a full queue names.
    """
    load, poll, connections = Load(), select.epoll(), dict[int, Connection]()
    pauses = [0.0] * CLIENTS
    """A heap: when a client without a connection opens one."""
    sent, end = 0, time.perf_counter() + seconds

    def more() -> bool:
        return sent < most if most else time.perf_counter() < end

    def ask(connection: Connection) -> None:
        nonlocal sent
        sent += 1
        connection.ask(requests[sent * 7 % len(requests)])

    def answered(connection: Connection, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"connection") != b"close" and more():
            ask(connection)
            return
        del connections[connection.handle]
        connection.close()
        if more():
            heapq.heappush(pauses, time.perf_counter() + float(headers.get(b"retry-after", 0)))

    while connections or (pauses and more()):
        while pauses and pauses[0] <= time.perf_counter() and more():
            heapq.heappop(pauses)
            connection = Connection(port, poll)
            connections[connection.handle] = connection
            ask(connection)
        _turn(poll, connections, load, 0.01 if pauses else 1.0, answered)
    return load


def open_loop(port: int, requests: Sequence[Request], rate: float, seconds: float) -> Load:
    """Send films at a rate, whatever the answers are, each on its own connection; each is given up after DEADLINE."""
    load, poll, connections = Load(), select.epoll(), dict[int, Connection]()
    opened: deque[Connection] = deque()
    began, sent = time.perf_counter(), 0

    def answered(connection: Connection, _: dict[bytes, bytes]) -> None:
        del connections[connection.handle]
        connection.close()

    while True:
        now = time.perf_counter() - began
        due = int(min(now, seconds) * rate)
        for _ in range(min(due - sent, TURN)):
            request, sent = requests[sent % len(requests)], sent + 1
            try:
                connection = Connection(port, poll)
                connections[connection.handle] = connection
                opened.append(connection)
                connection.ask(request)
            except OSError:
                load.count("broken")
        _turn(poll, connections, load, 0.0 if sent < due else 0.002, answered)
        late = time.perf_counter() - DEADLINE
        while opened and opened[0].began < late:
            connection = opened.popleft()
            if connections.get(connection.handle) is connection:
                load.count("late")
                answered(connection, {})
        if now >= seconds and not connections:
            load.statuses["sent"] = sent
            return load
