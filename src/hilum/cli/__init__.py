"""The command line: one module a command, and the only place that prints or exits."""

from hilum.cli.app import main

__all__ = ["main"]
