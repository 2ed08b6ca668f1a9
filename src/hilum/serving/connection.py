"""HTTP/1.1 as uvicorn speaks it, by httptools where that is installed, else by h11.

The extra ``serve`` installs httptools, whose parser is C and takes a quarter of h11's time; h11 is
what uvicorn brings itself. Either class has ``is_idle`` beside what uvicorn's has.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hilum.serving.options import MOST_HEAD

QUICK = find_spec("httptools") is not None
"""Whether httptools is installed."""

if QUICK or TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class HttpProtocol(HttpToolsProtocol):
        """A connection; httptools takes heads of any length, so that they are counted here."""

        _head = 0
        _in_head = _in_request = False

        @property
        def is_idle(self) -> bool:
            """Whether the next byte begins a request and none is being answered."""
            return not self._in_request and (self.cycle is None or self.cycle.response_complete)

        def data_received(self, data: bytes) -> None:
            """Parse what came; a head that does not end is answered 400."""
            was_in_head = self._in_head
            super().data_received(data)
            if was_in_head and self._in_head:
                self._head += len(data)
                if self._head > MOST_HEAD and not self.transport.is_closing():
                    self.send_400_response("The request's headers are too long.")

        def on_message_begin(self) -> None:
            """Begin to count a head."""
            self._head, self._in_head, self._in_request = 0, True, True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Take what follows as a body."""
            self._in_head = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            """Take what follows as another request."""
            self._in_request = False
            super().on_message_complete()

else:
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class HttpProtocol(H11Protocol):
        """A connection."""

        @property
        def is_idle(self) -> bool:
            """Whether the next byte begins a request and none is being answered."""
            return (
                self.conn.our_state is h11.IDLE
                and self.conn.their_state is h11.IDLE
                and not self.conn.trailing_data[0]
            )
