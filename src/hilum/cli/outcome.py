"""Turns whatever ended a command into an exit code and one line on standard error."""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from hilum.cli.mistakes import command_of
from hilum.errors import HilumError
from hilum.training.interrupt import Interrupted

DONE, MENDABLE, USAGE, FAULT, INTERRUPTED, READER_LEFT = 0, 1, 2, 70, 130, 141


def conclude(error: BaseException, words: Sequence[str]) -> int:
    """Say in one line how a command ended and return its exit code."""
    command = command_of(words)
    match error:
        case HilumError():
            return _say(command, str(error), MENDABLE)
        case Interrupted():
            return _say(command, str(error) or "interrupted.", INTERRUPTED)
        case KeyboardInterrupt():
            return _say(command, "interrupted. The same command goes on from what is finished.", INTERRUPTED)
        case BrokenPipeError():
            # The interpreter flushes standard output once more at exit, which would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return READER_LEFT
        case SystemExit():
            return error.code if isinstance(error.code, int) else FAULT
        case OSError() if error.filename is not None:
            return _say(command, f"{error.strerror}: {error.filename}.", MENDABLE)
        case MemoryError():
            return _say(command, "out of memory: lower the batch size, the film size or the workers.", MENDABLE)
        case _ if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch here
            return _say(command, "out of device memory: lower --train.batch_size or --train.size.", MENDABLE)
    return _fault(command, error, words)


def _fault(command: str, error: BaseException, words: Sequence[str]) -> int:
    """Report a fault of the program: one line, and the traceback in a file or, when asked for, on the spot."""
    lines = traceback.format_exception(error)
    if "--traceback" in words or os.environ.get("HILUM_TRACEBACK", "") not in ("", "0"):
        print("".join(lines), end="", file=sys.stderr)
        where = "above"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="hilum-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.writelines(lines)
        where = f"in {file.name}"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return _say(command, f"a fault of the program ({what}). Please report it with the traceback {where}.", FAULT)


def _say(command: str, line: str, code: int) -> int:
    """Print ``hilum COMMAND: line``, with anything that would break or colour the line made visible."""
    safe = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in f"{command}: {line}")
    print(safe, file=sys.stderr)
    return code
