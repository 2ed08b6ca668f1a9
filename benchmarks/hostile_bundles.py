"""Bundles that were made to run code, to read other files, to take all memory or to be taken for others.

``python benchmarks/hostile_bundles.py BUNDLE [--json]`` copies a bundle of ``hilum export``, changes it in each way of
HOSTILE and opens it in both ways (weights and ONNX): each must be refused in one line, in under a second.
Exit 1 where one is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from hilum.bundle.exported import CHECKS, CONFIG, DESCRIPTION, GRAPH, WEIGHTS, file_records
from hilum.bundle.exported_weights import load_exported
from hilum.bundle.onnx_model import OnnxModel
from hilum.errors import HilumError
from hilum.files import sha256, write_hashed_json

LIMIT = 1.0
"""Seconds."""
Change = Callable[[Path], object]


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


def seal(folder: Path) -> None:
    """Make all hashes fit, as whoever changes a bundle on purpose would."""
    path = folder / DESCRIPTION
    with contextlib.suppress(ValueError, TypeError, OSError, RecursionError):
        content = json.loads(path.read_bytes())
        content["weights_sha256"] = sha256(folder / WEIGHTS)
        path.write_text(json.dumps(content))
    write_hashed_json(folder / CHECKS, {"files": file_records(folder)})


def _sealed(change: Change) -> Change:
    def changed(folder: Path) -> None:
        change(folder)
        seal(folder)

    return changed


def _content(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def _flip(name: str) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return change


def _missing(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _cut(name: str) -> Change:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return change


def _link(name: str, target: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def _pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def _sparse_file(name: str) -> Change:
    return lambda folder: os.truncate(folder / name, 2**40)


def _field(**values: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / DESCRIPTION).read_bytes())
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(content.get(key), dict):
                content[key] |= value
            else:
                content[key] = value
        (folder / DESCRIPTION).write_text(json.dumps(content))
        if "backbone" in values:
            config = json.loads((folder / CONFIG).read_bytes())
            config["architecture"] = values["backbone"]
            (folder / CONFIG).write_text(json.dumps(config))

    return _sealed(change)


def _weights(act: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    return _sealed(lambda folder: save_file(act(load_file(folder / WEIGHTS)), folder / WEIGHTS))


def _first(value: float) -> Change:
    def act(tensors: dict[str, Any]) -> dict[str, Any]:
        name = min(name for name in tensors if tensors[name].dtype == np.float32)
        tensors[name].reshape(-1)[0] = value
        return tensors

    return _weights(act)


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    name = min(tensors)
    return {**{key: tensors[key] for key in tensors if key != name}, "other.weight": tensors[name]}


def _transposed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(value.T) for name, value in tensors.items()}


def _header(header: Any, length: int | None = None) -> Change:
    text = json.dumps(header).encode()
    return _sealed(_content(WEIGHTS, struct.pack("<Q", length or len(text)) + text + bytes(16)))


def _graph(act: Callable[[Any], None]) -> Change:
    def change(folder: Path) -> None:
        model = onnx.load(str(folder / GRAPH))
        act(model)
        (folder / GRAPH).write_bytes(model.SerializeToString())

    return _sealed(change)


def _external(path: str) -> Change:
    def act(model: Any) -> None:
        tensor = next(one for one in model.graph.initializer if one.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", path

    return _graph(act)


def _node(*arguments: Any, **attributes: Any) -> Change:
    return _graph(lambda model: model.graph.node.append(helper.make_node(*arguments, **attributes)))


def _opset(domain: str, version: int) -> Change:
    def act(model: Any) -> None:
        if not domain:
            del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid(domain, version))

    return _graph(act)


def _output_nan(model: Any) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32("nan"), tensor.name))
            return


def _branch(model: Any) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(
        helper.make_node("If", ["film"], ["x"], then_branch=inner, else_branch=inner)
    )


def _function(model: Any) -> None:
    model.functions.append(
        helper.make_function("own", "f", [], ["y"], [], [helper.make_opsetid("", 18)])
    )


def _training(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(helper.make_attribute("training_mode", 1))


def _swapped(model: Any) -> None:
    model.graph.output[0].name = "other"


def _deep(brackets: int) -> bytes:
    return b'{"a":' + b"[" * brackets + b"]" * brackets + b"}"


def _twice(change: Callable[..., Change], *arguments: str) -> Change:
    """Change weights and graph alike."""
    return lambda folder: [change(name, *arguments)(folder) for name in (WEIGHTS, GRAPH)]


def _other_files(folder: Path) -> None:
    files = {"../../etc/passwd": {"bytes": 1, "sha256": "0"}}
    write_hashed_json(folder / CHECKS, {"files": files})


def _whole_numbers(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value.astype(np.int8) for name, value in tensors.items()}


BOTH_WAYS: dict[str, Change] = {
    "one bit of the description": _flip(DESCRIPTION),
    "no weights and no graph": _twice(_missing),
    "no description of the network": _missing(CONFIG),
    "no hashes": lambda folder: (folder / CHECKS).write_text("{}"),
    "checks cut": _cut(CHECKS),
    "checks of other files": _other_files,
    "pickle as description": _content(DESCRIPTION, pickle.dumps(_Evil())),
    "huge JSON": _sealed(_content(DESCRIPTION, b'{"a": "' + b"x" * 2**24 + b'"}')),
    "deep JSON": _sealed(_content(DESCRIPTION, _deep(100_000))),
    "deep checks": _content(CHECKS, _deep(100_000)),
    "a list as description": _sealed(_content(DESCRIPTION, b"[]")),
    "a later format": _field(format=3),
    "format of a run": _field(format=1),
    "more findings": _field(findings=["A", "B", "C", "D", "E"], thresholds={}),
    "a finding twice": _field(findings=["Edema", "Edema"]),
    "a threshold that is no number": _field(thresholds={"Edema": "high"}),
    "another size": _field(preparation={"size": 4096}),
    "another width": _field(graph={"width": 3}),
    "link to a device": _twice(_link, "/dev/zero"),
    "link to another file": _twice(_link, "/etc/passwd"),
    "a pipe as description": _pipe(DESCRIPTION),
    "a terabyte of nothing": _twice(_sparse_file),
}  # fmt: skip
"""Opened by neither way to compute."""
ONE_WAY: dict[str, Change] = {
    "one bit of the weights": _flip(WEIGHTS),
    "one bit of the graph": _flip(GRAPH),
    "pickle as weights": _sealed(_content(WEIGHTS, pickle.dumps(_Evil()))),
    "pickle as weights, unsealed": _content(WEIGHTS, pickle.dumps(_Evil())),
    "pickle as graph": _sealed(_content(GRAPH, pickle.dumps(_Evil()))),
    "empty weights": _sealed(_content(WEIGHTS, b"")),
    "empty graph": _sealed(_content(GRAPH, b"")),
    "web page as graph": _sealed(_content(GRAPH, b"<!DOCTYPE html><title>404</title>")),
    "external data above": _external("../../../etc/passwd"),
    "external data at the root": _external("/etc/passwd"),
    "external data beside": _external("weights.bin"),
    "operators of another domain": _node("Run", ["film"], ["x"], domain="com.evil"),
    "opset of another domain": _opset("com.evil", 1),
    "opset of the future": _opset("", 99),
    "no opset": _graph(lambda model: model.ClearField("opset_import")),
    "unknown operator": _node("Teleport", ["film"], ["x"]),
    "branches": _graph(_branch),
    "functions of its own": _graph(_function),
    "random numbers": _node("RandomNormal", [], ["x"], shape=[2]),
    "dropout left in": _node("Dropout", ["logits"], ["x"]),
    "norm in training mode": _graph(_training),
    "graph that gives NaN": _graph(_output_nan),
    "graph with another output": _graph(_swapped),
    "graph cut": _sealed(_cut(GRAPH)),
    "another model's description": _field(backbone="resnet18"),
    "a huge network": _field(backbone="vit_giant_patch14_224"),
    "no network": _field(backbone="../../evil"),
    "a hub's network": _field(backbone="hf-hub:evil/model"),
    "another side of the graph": _field(graph={"side": 48}, preparation={"size": 48}),
    "other outputs": _field(graph={"output": "maps"}),
    "NaN in the weights": _first(float("nan")),
    "infinity in the weights": _first(float("inf")),
    "tensors renamed": _weights(_renamed),
    "tensors of another shape": _weights(_transposed),
    "tensors of whole numbers": _weights(_whole_numbers),
    "head named elsewhere": _field(head={"weight": "conv1.weight"}),
    "safetensors: 1e18 values": _header({"b": {"dtype": "F32", "shape": [10**18], "data_offsets": [0, 16]}}),
    "safetensors: beyond the end": _header({"b": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}}),
    "safetensors: long header": _header({}, 10**15),
}  # fmt: skip
"""They touch the weights or the graph alone: the other way may open them."""
HOSTILE = BOTH_WAYS | ONE_WAY


def opened(folder: Path) -> list[tuple[str, str, float]]:
    """Open a bundle in both ways; return each way, its refusal (empty if none) and the seconds."""
    results = []
    for way, act in (("weights", load_exported), ("onnx", OnnxModel)):
        began = time.perf_counter()
        try:
            act(folder)
            line = ""
        except HilumError as error:
            line = str(error)
        results.append((way, line, time.perf_counter() - began))
    return results


def written(name: str, bundle: Path, folder: Path) -> Path:
    """Copy a bundle and change it in the way of that name."""
    shutil.copytree(bundle, folder)
    HOSTILE[name](folder)
    return folder


def main() -> int:
    """Open every hostile bundle and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    opened(options.bundle)  # libraries are imported once
    rows, wrong, slowest = [], [], 0.0
    for name in HOSTILE:
        with tempfile.TemporaryDirectory() as scratch:
            results = opened(written(name, options.bundle, Path(scratch) / "bundle"))
        refused = [line for _, line, _ in results if line]
        needed = 1 if name in ONE_WAY else 2
        seconds = max((taken for _, line, taken in results if line), default=LIMIT)
        slowest = max(slowest, seconds)
        if len(refused) < needed or seconds >= LIMIT or any("\n" in line for line in refused):
            wrong.append(name)
        rows.append({"name": name, "seconds": round(seconds, 3), "lines": refused})
        print(f"{name:32s} {seconds:6.3f} s  {refused[0] if refused else 'OPENED'}")
    print(f"{len(rows)} bundles, {len(wrong)} wrong {wrong}, slowest {slowest:.3f} s")
    if options.json:
        print(json.dumps({"bundles": len(rows), "wrong": wrong, "slowest": slowest, "rows": rows}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
