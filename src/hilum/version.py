"""The version, in a module of its own so that no module imports the public API for it."""

__version__ = "0.2.0"
