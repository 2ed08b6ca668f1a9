"""The server that a user would write first: FastAPI and onnxruntime around an exported bundle.

Written fairly: the session is made once, the endpoint is a plain function, so that FastAPI runs it
in its threads, and the film is prepared as the bundle's own preparation says (squashed, not
enhanced). `benchmarks/serve_load.py` compares `hilum serve` with it.

    python benchmarks/naive_server.py BUNDLE PORT
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pydicom
import uvicorn
from fastapi import Body, FastAPI

bundle = Path(sys.argv[1])
about = json.loads((bundle / "model.json").read_text("utf-8"))
graph, findings, side = about["graph"], about["findings"], about["preparation"]["size"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = len(os.sched_getaffinity(0))
session = onnxruntime.InferenceSession(bundle / "model.onnx", options)
app = FastAPI()


def read(data: bytes) -> np.ndarray:
    """Return a film's grey values, uint8 [H, W]."""
    if data[128:132] != b"DICM":
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    film = pydicom.dcmread(io.BytesIO(data))
    pixels = film.pixel_array.astype(np.float32)
    grey = (pixels - pixels.min()) / max(1.0, float(np.ptp(pixels))) * 255
    if film.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return grey.astype(np.uint8)


@app.post("/v1/predictions")
def predict(data: bytes = Body(media_type="application/octet-stream")) -> dict[str, object]:
    """Return the probability of every finding."""
    film = cv2.resize(read(data), (side, side), interpolation=cv2.INTER_AREA)
    (logits,) = session.run([graph["output"]], {graph["input"]: film[None, None]})
    probabilities = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
    return {
        "input": {"sha256": hashlib.sha256(data).hexdigest()},
        "probabilities": dict(zip(findings, probabilities.tolist(), strict=True)),
    }


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
