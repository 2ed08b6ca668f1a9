"""Options of `hilum serve`; light to import, since the command line's help reads it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import OptionError
from hilum.options import Device, refuse_below, take_fields

LEAST_TOKEN = 16
"""Characters of a token; `openssl rand -hex 32` gives 64."""
MOST_HEAD = 2**15
"""Bytes of a request's first line and headers."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of the service."""

    host: str = "127.0.0.1"
    """Address to listen on. One that other machines reach needs --token-file."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token_file: Path | None = None
    """Text file with the token that every request must carry (Authorization: Bearer TOKEN)."""
    allow_host: tuple[str, ...] = ()
    """Host names under which the service is reached, such as that of a reverse proxy, beside
    localhost and --host."""
    keep: tuple[str, ...] = ()
    """Reasons for which a DICOM film is not refused, as of `hilum prepare dicom`."""
    queue: int = 64
    """Films that are decoded or wait at one time; above it a request is answered 429."""
    batch: int | None = None
    """Films that go through the network together, at most; 4 on a CPU, 16 on a GPU unless given."""
    decoders: int | None = None
    """Processes that decode films; one a core unless given."""
    threads: int | None = None
    """Threads of the network on a CPU; half as many as cores unless given."""
    max_mb: int = 64
    """Largest request in megabytes (2 ** 20 bytes)."""
    upload_seconds: int = 30
    """Seconds that a request's body may take to arrive."""
    patience: int = 20
    """Seconds that decoding a film may take."""
    verdicts: Path | None = None
    """CSV file for what readers state of films (POST /v1/verdicts), a table of labels for `hilum
    prepare folder`. Without it nothing is kept."""
    verdict_films: bool = False
    """Keep the film of each verdict too, as a grey PNG named by its hash in the folder films beside
    --verdicts."""
    index: Path | None = None
    """Store of which the films most like a sent one are shown with their labels (POST
    /v1/neighbours)."""
    index_pictures: bool = False
    """Show the films of --index as small pictures, of at most 128 px: for stores whose films have
    no name burnt into them."""
    device: Device = "auto"
    """Device of a run; a bundle is computed on the CPU."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range, or others could use the service.
            TypeError: A path or list is something else.
        """
        take_fields(self)
        refuse_below(
            self,
            {"port": 0, "queue": 1, "batch": 1, "decoders": 1, "threads": 1}
            | {"max_mb": 1, "upload_seconds": 1, "patience": 1},
        )
        if self.port > 65_535:
            raise OptionError(f"--port is {self.port}: allowed is 65535 or less.")
        for name, needed in (("verdict_films", "verdicts"), ("index_pictures", "index")):
            if getattr(self, name) and getattr(self, needed) is None:
                raise OptionError(
                    f"--{name.replace('_', '-')} is given without --{needed}: give that too."
                )
        if self.max_mb > 1024:
            raise OptionError(f"--max-mb is {self.max_mb}: allowed is 1024 or less.")
        if not is_loopback(self.host) and self.token_file is None:
            raise OptionError(
                f"--host is {self.host}, which other machines reach: give --token-file too, or listen on 127.0.0.1 "
                "behind a proxy."
            )

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that a request may name, in small letters."""
        named = [*LOCAL_NAMES, *self.allow_host, self.host]
        return frozenset(name.strip("[]").lower() for name in named)

    def token(self) -> str | None:
        """Return the token, None where none is asked for.

        Raises:
            OptionError: Its file cannot be read, or holds no token that is long enough.
        """
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no ASCII text"
            raise OptionError(
                f"--token-file {self.token_file} cannot be read: {reason}."
            ) from error
        if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
            raise OptionError(
                f"--token-file {self.token_file} holds {len(token)} characters: allowed is one word of "
                f"{LEAST_TOKEN} or more, such as `openssl rand -hex 32` prints."
            )
        return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
