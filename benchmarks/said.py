"""What a benchmark says while it runs, seen at once also where its output goes to a file."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
