"""Turns whatever ended a command into an exit code and one line on standard error."""

import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress

from cyclopts import CycloptsError

from hilum.cli.terminal.mistakes import command_of, usage_line
from hilum.errors import HilumError
from hilum.training.interrupt import Interrupted

DONE, MENDABLE, USAGE, FAULT, INTERRUPTED, READER_LEFT = 0, 1, 2, 70, 130, 141


def conclude(error: BaseException, words: Sequence[str]) -> int:
    """Say in one line how a command ended and return its exit code."""
    command = command_of(words)
    match error:
        case CycloptsError():
            return say(usage_line(error, words), USAGE)
        case HilumError():
            return say(f"{command}: {error}", MENDABLE)
        case Interrupted():
            done = str(error).rstrip(".") or "interrupted"
            return say(f"{command}: {done}; run the same line again to go on.", INTERRUPTED)
        case KeyboardInterrupt():
            return say(f"{command}: interrupted; run the same line again to go on.", INTERRUPTED)
        case BrokenPipeError() | SystemExit(__context__=BrokenPipeError()):
            # A help page's printer turns the one into the other.
            _drop_output()
            return READER_LEFT
        case SystemExit():
            return error.code if isinstance(error.code, int) else FAULT
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            if error.filename is not None:
                again = "make room there, and run the same line again"
                return say(f"{command}: {error.strerror}: {error.filename}: {again}.", MENDABLE)
            _drop_output()  # an open file, or standard output
            return say(f"{command}: {error.strerror}: make room where the output goes.", MENDABLE)
        case OSError() if error.filename is not None:
            return say(f"{command}: {error.strerror}: {error.filename}.", MENDABLE)
        case OSError(errno=errno.EROFS | errno.EIO | errno.EACCES | errno.EMFILE | errno.ENFILE):
            return say(f"{command}: {error.strerror}.", MENDABLE)
        case MemoryError():
            return say(
                f"{command}: out of memory: lower the batch size, the film size or the workers.",
                MENDABLE,
            )
        case _ if (
            type(error).__name__ == "OutOfMemoryError"
        ):  # torch's, without importing torch here
            return say(
                f"{command}: out of device memory: lower --train.batch-size or --train.size.",
                MENDABLE,
            )
    return _fault(command, error, words)


def _drop_output() -> None:
    """Send the rest of standard output nowhere: at exit the interpreter flushes once more, which would complain."""
    with suppress(io.UnsupportedOperation):  # a notebook's output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fault(command: str, error: BaseException, words: Sequence[str]) -> int:
    """Report a fault of the program: one line, and the traceback in a file or, when asked for, on the spot."""
    lines = traceback.format_exception(error)
    if "--traceback" in words or os.environ.get("HILUM_TRACEBACK", "") not in ("", "0"):
        print("".join(lines), end="", file=sys.stderr)
        where = "above"
    else:
        with tempfile.NamedTemporaryFile(
            "w", prefix="hilum-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(lines)
        where = f"in {file.name}"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return say(
        f"{command}: a fault of the program ({what}). Please report it with the traceback {where}.",
        FAULT,
    )


def say(line: str, code: int) -> int:
    """Print one line, with anything that would break or colour it made visible, and return the exit code."""
    print(
        "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line),
        file=sys.stderr,
    )
    return code
