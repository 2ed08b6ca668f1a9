"""An exported bundle computed by onnxruntime: prepared films in, logits out, torch not imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.arrays import FloatArray
from hilum.bundle.description import Description
from hilum.bundle.exported import CONFIG, DESCRIPTION, GRAPH, REMEDY, Exported, read_exported
from hilum.bundle.onnx_scan import scan
from hilum.bundle.starter import resolved
from hilum.errors import OptionError, RunError
from hilum.images.enhance import Preparation

NEEDED = "onnxruntime is not installed: pip install 'hilum[onnx]', or 'hilum[serve]'."


class OnnxModel:
    """A bundle of ``hilum export``, computed on the CPU.

    One object may be used by several threads: a session of onnxruntime has no state.

    Attributes:
        exported: The bundle's description and the hashes of its files.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        """Load and try a bundle's model.onnx.

        Args:
            folder: Of ``hilum export``, or ``starter``.
            threads: Threads that compute one call; None for onnxruntime's own choice.

        Raises:
            RunError: It is no bundle, or is damaged, or does not give what it says.
            OptionError: onnxruntime is not installed.
        """
        self.exported: Exported = read_exported(resolved(Path(folder)))
        self.exported.verify([DESCRIPTION, CONFIG, GRAPH])
        data = (self.exported.folder / GRAPH).read_bytes()
        try:
            scan(data)
        except ValueError as error:
            raise RunError(f"{self.exported.folder / GRAPH}: {error}: {REMEDY}.") from error
        self._session = session(data, threads, name=str(self.exported.folder / GRAPH))
        self._refuse_lies()

    @property
    def description(self) -> Description:
        """Findings, thresholds, input size and preparation."""
        return self.exported.description

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, in the order of the logits; none after pretraining alone."""
        return self.description.findings

    @property
    def preparation(self) -> Preparation:
        """How a grey film becomes the input: ``preparation.apply``, or a ``Decoder`` for files."""
        return Preparation.from_json(self.description.preparation)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bundle's weights."""
        return self.exported.sha256

    def logits(self, films: NDArray[np.uint8]) -> FloatArray:
        """Return the logits, float32 [B, F], of prepared films, uint8 [B, side, side].

        Of a run that was pretrained only these are its features [B, D].
        """
        return self._run([self.exported.content.graph.output], films)[0]

    def probabilities(self, films: NDArray[np.uint8]) -> FloatArray:
        """Return the probability of every finding, float32 [B, F], of prepared films [B, side, side]."""
        return sigmoid(self.logits(films))

    def maps(self, films: NDArray[np.uint8]) -> FloatArray:
        """Return the class-activation maps, float32 [B, F, rows, columns], of prepared films [B, side, side].

        The mean of a finding's map is its logit without the bias.

        Raises:
            OptionError: The network has no such maps.
        """
        name = self.exported.content.graph.maps
        if name is None:
            raise OptionError(
                f"{self.exported.folder} has no class-activation maps, since {self.description.backbone} does not end "
                "in global pooling and a linear layer: draw heatmaps by hilum.load(BUNDLE).explain."
            )
        return self._run([name], films)[0]

    def features(self, films: NDArray[np.uint8]) -> FloatArray:
        """Return the features, float32 [B, D], of prepared films [B, side, side], by which films are compared.

        Raises:
            OptionError: The bundle was written without.
        """
        name = self.exported.content.graph.features
        if name is None:
            raise OptionError(
                f"{self.exported.folder} was exported by an earlier version, without features to compare films by: "
                "export its run again."
            )
        return self._run([name], films)[0]

    def heatmap(self, film: NDArray[np.uint8], finding: int) -> FloatArray:
        """Return where one finding's score comes from, float32 [side, side] from 0 to 1, of a prepared film.

        The positive part of the class-activation map, enlarged, its maximum scaled to 1.

        Raises:
            OptionError: The network has no such maps.
        """
        heat = np.maximum(self.maps(film[None])[0, finding], 0)
        large = cv2.resize(heat, film.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(large / max(float(large.max()), 1e-12), np.float32)

    def _run(self, outputs: list[str], films: NDArray[np.uint8]) -> list[FloatArray]:
        given: list[FloatArray] = self._session.run(
            outputs, {self.exported.content.graph.input: np.ascontiguousarray(films[:, None])}
        )
        return given

    def _refuse_lies(self) -> None:
        """Raise a RunError if what two blank films give is not what ``model.json`` says."""
        graph, fault = self.exported.content.graph, ""
        shapes: list[tuple[str, tuple[int, ...]]] = [(graph.output, (2, graph.width))]
        if graph.maps is not None:
            shapes.append((graph.maps, (2, graph.width, *(graph.map_size or ()))))
        if graph.features not in (None, graph.output):
            shapes.append((graph.features, (2, graph.features_width or 0)))
        try:
            outputs = self._run(
                [name for name, _ in shapes], np.zeros((2, graph.side, graph.side), np.uint8)
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime has many of its own
            fault = " ".join(str(error).split())[:120]
        else:
            for (name, shape), output in zip(shapes, outputs, strict=True):
                if output.shape != shape or output.dtype != np.float32:
                    fault = f"{name} is {output.dtype} {list(output.shape)}, not {list(shape)}"
                elif not np.isfinite(output).all():
                    fault = f"{name} is not finite (NaN or infinity)"
        if fault:
            raise RunError(
                f"{self.exported.folder / GRAPH} does not do what {DESCRIPTION} says ({fault}): {REMEDY}."
            )


def session(data: bytes, threads: int | None = None, *, optimise: bool = True, name: str) -> Any:
    """Return onnxruntime's session for a graph, on the CPU.

    Args:
        data: The content of a model.onnx without external data.
        threads: Threads of one call; None for the runtime's own choice.
        optimise: Whether the runtime may rewrite the graph.
        name: Of the file, for errors.

    Raises:
        RunError: The runtime refuses it.
        OptionError: It is not installed.
    """
    # Its Linux wheels (seen in 1.32) report use to their maker and keep a file in the temporary folder
    # unless told not to before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise OptionError(NEEDED) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are of no use to who only reads films
    # Threads that wait for work otherwise spin, which takes the processor from whoever decodes films.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        fault = " ".join(str(error).split())
        raise RunError(f"{name} is refused by onnxruntime ({fault:.120}): {REMEDY}.") from error


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return the probabilities of logits, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))), np.float32)
