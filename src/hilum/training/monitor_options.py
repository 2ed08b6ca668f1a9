"""The options of the watch over pretraining; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """How the network is looked at while it learns."""

    every: int = 1
    """Epochs between two looks; there is one before the first step and after the last too. 0 never
    looks."""
    films: int = 256
    """Whole films whose embeddings are measured at each look, at most."""
    probe_films: int = 1024
    """Labelled training films probed at each look, at most; their labels never influence the
    training. 0 is off."""
    tensorboard: bool = False
    """Write what log.jsonl says for TensorBoard too, into RUN/tensorboard; needs
    hilum[tensorboard]."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        for name, smallest in {"every": 0, "films": 2, "probe_films": 0}.items():
            value = getattr(self, name)
            if value < smallest:
                raise OptionError(f"--monitor.{name} is {value}: allowed is {smallest} or more.")
