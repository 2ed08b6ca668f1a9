"""The log's numbers as curves for TensorBoard, whose package is an extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.errors import OptionError
from hilum.training.run_folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
NOT_CURVES = ("step", "films", "total")


def require_tensorboard(package: str = "tensorboard") -> None:
    """Check before training begins that the package is installed.

    Raises:
        OptionError: It is not.
    """
    if find_spec(package) is None:
        raise OptionError(
            f"--monitor.tensorboard needs the package {package}, which is not installed: "
            "run `pip install 'hilum[tensorboard]'`, or leave the option out."
        )


class Mirror:
    """Writes the numbers of events as curves; the first event opens it, at the step that it resumes from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Write one event of the log; after a resume, curves of later steps are cut off."""
        if "step" not in event:
            return
        step, name = event["step"], event.get("event", "train")
        if self.writer is None:
            self.writer = self._open(step + 1 if name == "resumed" else 0)
        for curve, value in curves(name, event):
            self.writer.add_scalar(curve, value, step)
        if "line" in event:
            self.writer.add_text(name, event["line"], step)

    def close(self) -> None:
        """Flush and close."""
        if self.writer is not None:
            self.writer.close()

    def _open(self, purge_step: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=purge_step)


def curves(name: str, event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield curve and value for each number of an event; nested ones are named by their path.

    >>> list(curves("online-probe", {"step": 9, "knn": 0.6, "findings": {"Edema": {"knn": 0.7}}}))
    [('online-probe/knn', 0.6), ('online-probe/findings/Edema/knn', 0.7)]
    """
    for key, value in event.items():
        if isinstance(value, Mapping):
            yield from curves(f"{name}/{key}", value)
        elif (
            key not in NOT_CURVES
            and isinstance(value, (int, float))
            and not isinstance(value, bool)
        ):
            yield f"{name}/{key}", float(value)


@dataclass(frozen=True)
class MirroredRun(RunFolder):
    """A run whose log goes to TensorBoard too."""

    mirror: Mirror

    def log(self, **event: Any) -> None:
        """Append one event to the log, and write its numbers as curves."""
        super().log(**event)
        self.mirror.add(event)


@contextmanager
def mirrored(run: RunFolder, mirror_log: bool) -> Iterator[RunFolder]:
    """Give the run, whose log also goes into its folder ``tensorboard`` if ``mirror_log``."""
    if not mirror_log:
        yield run
        return
    mirror = Mirror(run.path / FOLDER)
    try:
        yield MirroredRun(run.path, mirror)
    finally:
        mirror.close()
