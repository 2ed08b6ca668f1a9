"""Options of the monitoring of pretraining; light to import, since the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.options import refuse_below


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """How the network is monitored while it learns."""

    every: int = 1
    """Epochs between two measurements; also one before the first step and one after the last. 0 is
    off."""
    films: int = 256
    """Whole films whose embeddings are measured each time, at most."""
    probe_films: int = 1024
    """Labelled training films probed each time, at most; their labels never influence the training.
    0 is off."""
    tensorboard: bool = False
    """Write the events of log.jsonl for TensorBoard too, into RUN/tensorboard; needs
    hilum[tensorboard]."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            OptionError: An option lies outside its range.
        """
        refuse_below(self, {"every": 0, "films": 2, "probe_films": 0}, "monitor.")
