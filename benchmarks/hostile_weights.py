"""Weights files that were made to run code, to take all memory or to be taken for others; each would create a mark."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Write = Callable[[Path, Path], None]
"""Writes a file (first path) that would create the mark (second path) if anything in it ran."""


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def _text(value: object) -> bytes:
    data = str(value).encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _call(name: str, *arguments: bytes) -> bytes:
    return _global(name) + b"(" + b"".join(arguments) + b"tR"


def _beside(value: bytes) -> bytes:
    """Return a pickle of ``{"model": {"a": 1}, "x": value}``."""
    return (
        b"\x80\x02}(" + _text("model") + b"}" + _text("a") + b"K\x01s" + _text("x") + value + b"u."
    )


def _archive(
    path: Path, pickled: bytes, more: dict[str, bytes] | None = None, compress: int = 0
) -> None:
    """Write what torch.save would, around any pickle."""
    with zipfile.ZipFile(path, "w", compress) as archive:
        entries = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"} | (more or {})
        for name, content in entries.items():
            archive.writestr(f"w/{name}", content)


def _calling(name: str, *arguments: Callable[[Path], bytes]) -> Write:
    return lambda path, mark: _archive(
        path, _beside(_call(name, *(make(mark) for make in arguments)))
    )


def _touch(mark: Path) -> bytes:
    return _text(f"touch {mark}")


def _python(mark: Path) -> bytes:
    return _text(f"open({str(mark)!r}, 'w').close()")


def _legacy(path: Path, mark: Path) -> None:
    """Torch's format before 1.6: pickles one after the other."""
    heads = [
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    path.write_bytes(
        b"".join(heads) + _beside(_call("posix.system", _touch(mark))) + pickle.dumps([], 2)
    )


def _nested(path: Path, mark: Path) -> None:
    """A call that returns the function which the next one calls."""
    call = _call("builtins.getattr", _call("importlib.import_module", _text("os")), _text("system"))
    _archive(path, _beside(call + b"(" + _touch(mark) + b"tR"))


def _build(path: Path, mark: Path) -> None:
    """An object whose __setstate__ would be replaced by os.system and called with its state."""
    placeholder = _global("argparse.Namespace") + b")\x81"
    state = b"}" + _text("__setstate__") + _global("posix.system") + b"s"
    _archive(path, _beside(placeholder + state + b"b" + _touch(mark) + b"b"))


def _protocol_4(path: Path, mark: Path) -> None:
    """Names taken from the stack, which a list of the file's classes does not show."""
    pickled = b"\x80\x04" + b"\x8c\x05posix\x8c\x06system\x93(" + _touch(mark) + b"tR."
    _archive(path, pickled)


def _numpy_load(path: Path, mark: Path) -> None:
    """A file beside it with a pickle in it, that numpy.load would run."""
    array = path.with_suffix(".npy")
    array.write_bytes(b"\x80\x02" + _call("posix.system", _touch(mark)) + b".")
    arguments = (_text(array), b"N", b"\x88")
    _archive(path, _beside(_call("numpy.load", *arguments)))


def _cut(path: Path, _mark: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _bomb(path: Path, _mark: Path) -> None:
    """Two GB of zeros, compressed to two MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
        with archive.open("w/data/0", "w", force_zip64=True) as entry:
            for _ in range(128):
                entry.write(bytes(1 << 24))


def _overlapping(path: Path, _mark: Path) -> None:
    """A hundred entries of the directory that are all the same bytes of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
        archive.writestr("w/data/0", bytes(1 << 20))
        entry = archive.infolist()[1]
        for number in range(1, 100):
            other = zipfile.ZipInfo(f"w/data/{number}")
            other.header_offset, other.CRC = entry.header_offset, entry.CRC
            other.file_size = other.compress_size = entry.file_size
            archive.filelist.append(other)


def _storage(numel: int, size: int, stride: int) -> bytes:
    """A tensor of ``size`` values on a storage that claims ``numel`` and holds four."""
    storage = b"(" + _text("storage") + _global("torch.FloatStorage") + _text("0") + _text("cpu")
    number = (
        pickle.dumps(numel, 2)[2:-1],
        pickle.dumps(size, 2)[2:-1],
        pickle.dumps(stride, 2)[2:-1],
    )
    tensor = storage + number[0] + b"tQ" + b"K\x00" + number[1] + b"\x85" + number[2] + b"\x85\x89}"
    return _call("torch._utils._rebuild_tensor_v2", tensor)


def _lying(numel: int, size: int, stride: int) -> Write:
    return lambda path, _: _archive(
        path,
        b"\x80\x02}" + _text("a") + _storage(numel, size, stride) + b"s.",
        {"data/0": bytes(16)},
    )


def _growing(path: Path, _mark: Path) -> None:
    _archive(
        path, _beside(_call("builtins.bytearray", b"\x8a\x05" + (10**11).to_bytes(5, "little")))
    )


def _growing_tensor(path: Path, _mark: Path) -> None:
    """A copy in double precision of one value expanded to ten thousand million."""
    arguments = (_storage(4, 10**10, 0), _global("torch.float64"), _text("cpu"), b"\x89")
    pickled = _beside(_call("torch._utils._rebuild_device_tensor_from_cpu_tensor", *arguments))
    _archive(path, pickled, {"data/0": bytes(16)})


def _safetensors(entry: dict[str, Any], length: int | None = None) -> Write:
    def write(path: Path, _mark: Path) -> None:
        header = json.dumps(
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}} | entry
        ).encode()
        path.write_bytes(struct.pack("<Q", length or len(header)) + header + bytes(16))

    return write


def _script(path: Path, _mark: Path) -> None:
    _archive(path, b"\x80\x02}.", {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b""})


def _tensor(change: Callable[[Tensor], Tensor]) -> Write:
    """The network's own tensors, one of which is changed."""

    def write(path: Path, _mark: Path) -> None:
        import timm

        state = timm.create_model("test_resnet", num_classes=0).state_dict()
        torch.save(state | {"bn1.weight": change(state["bn1.weight"])}, path)

    return write


def _with_number(number: float) -> Callable[[Tensor], Tensor]:
    return lambda value: value.clone().index_fill_(0, torch.tensor([0]), number)


def _deep(path: Path, _mark: Path) -> None:
    """A hundred thousand dicts, each in the one before."""
    levels = 100_000
    _archive(path, b"\x80\x02" + (b"}" + _text("a")) * levels + b"K\x01" + b"s" * levels + b".")


def _wide(path: Path, _mark: Path) -> None:
    """Three dicts of three thousand keys each, one in the other: 27 thousand million places of one tensor."""
    inner: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(3):
        inner = {f"{number}": inner for number in range(3000)}
    torch.save(inner, path)


def _many(path: Path, _mark: Path) -> None:
    """Twenty thousand tables of one tensor each, with names of many dots, and one of several lines."""
    torch.save({str(n): {"a." * 100 + f"{n}\nb": torch.zeros(1)} for n in range(20_000)}, path)


def _content(content: bytes) -> Write:
    return lambda path, _: path.write_bytes(content) and None


def _plain(path: Path, mark: Path) -> None:
    path.write_bytes(_beside(_call("posix.system", _touch(mark))))


def _quantised(value: Tensor) -> Tensor:
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


HOSTILE: dict[str, Write] = {
    "os.system": _calling("posix.system", _touch),
    "os.system by its other name": _calling("os.system", _touch),
    "eval": _calling("builtins.eval", _python),
    "exec by Python 2's name": _calling("__builtin__.exec", _python),
    "subprocess": _calling("subprocess.getoutput", _touch),
    "torch.load": _calling("torch.serialization.load", _touch),
    "numpy.load": _numpy_load,
    "numpy's runstring": _calling("numpy.testing._private.utils.runstring", _python, lambda _: b"}"),
    "lightning": _calling("lightning.fabric.plugins.io.torch_io._load", _touch),
    "typing": _calling("typing.sys.modules.os.system", _touch),
    "pathlib": _calling("pathlib.os.system", _touch),
    "collections": _calling("collections._sys.modules", _touch),
    "getattr and import": _nested,
    "a state that calls": _build,
    "names from the stack": _protocol_4,
    "the format before torch 1.6": _legacy,
    "a plain pickle": _plain,
    "cut": _cut,
    "compressed zeros": _bomb,
    "overlapping entries": _overlapping,
    "storage that lies": _lying(10**12, 10**12, 1),
    "view beyond its storage": _lying(4, 10**9, 1),
    "one value expanded": _lying(4, 10**12, 0),
    "bytes of any length": _growing,
    "expanded and copied": _growing_tensor,
    "safetensors: 1e18 values": _safetensors({"b": {"dtype": "F32", "shape": [10**18], "data_offsets": [0, 16]}}),
    "safetensors: overlapping": _safetensors({"b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "safetensors: beyond the end": _safetensors({"b": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}}),
    "safetensors: long header": _safetensors({}, 10**15),
    "TorchScript": _script,
    "sparse": _tensor(lambda value: value.to_sparse()),
    "quantised": _tensor(_quantised),
    "meta": _tensor(lambda value: value.to("meta")),
    "complex": _tensor(lambda value: value.to(torch.complex64)),
    "int": _tensor(lambda value: value.to(torch.int32)),
    "NaN": _tensor(_with_number(float("nan"))),
    "infinity": _tensor(_with_number(float("inf"))),
    "deep": _deep,
    "wide": _wide,
    "many tables": _many,
    "text": _content(b"the weights are on the other disk\n"),
    "web page": _content(b"<!DOCTYPE html><title>404</title>"),
    "empty": _content(b""),
}  # fmt: skip


def written(name: str, folder: Path) -> tuple[Path, Path]:
    """Write one of HOSTILE below a folder; return the file and the mark that must not appear."""
    path, mark = folder / "hostile.pth", folder / "was-run"
    HOSTILE[name](path, mark)
    return path, mark
