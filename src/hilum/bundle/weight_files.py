"""Weights files of any origin, read as tables of tensors; nothing in them is run."""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from hilum.bundle.pickle_scan import TooCostly, refuse_costly
from hilum.errors import RunError
from hilum.files import most_zip_entries

LEVELS = 4
"""How deep tables of tensors are looked for: ``{"state": {"model": {name: tensor}}}``; VISSL has four."""

HARMLESS = re.compile(
    r"argparse\.Namespace|_codecs\.encode|builtins\.(bool|int|float|str|list|tuple|dict|range|slice)"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+|bool_?|u?int\d+|float\d+|complex\d+|str_|bytes_)"
    r"|numpy\._?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)"
    r"|pathlib\.\w*Path|datetime\.(datetime|date|time|timedelta|timezone)|decimal\.Decimal|uuid\.UUID"
    r"|collections\.deque|typing\.[A-Z]\w+|enum\.Enum"
    r"|omegaconf\.(dictconfig|listconfig|base|nodes)\.[A-Z]\w+"
    r"|(pytorch_lightning|lightning\.pytorch|lightning_fabric|lightning\.fabric)\.(callbacks|utilities)\.[a-z_.]+[A-Z]\w+"
    r"|mmengine\.logging\.history_buffer\.HistoryBuffer"
)
"""Notes beside the tensors: options, scores, dates. A placeholder stands for each; none is imported or called."""

HARMLESS_TABLES = re.compile(
    r"collections\.defaultdict|easydict\.EasyDict|yacs\.config\.CfgNode|addict\.addict\.Dict"
    r"|(mmcv\.utils|mmengine\.config)\.config\.(Config|ConfigDict)|ml_collections\.config_dict\.config_dict\.\w*ConfigDict"
    r"|(pytorch_lightning|lightning\.pytorch|lightning_fabric|lightning\.fabric)\.utilities\.[a-z_.]+\.AttributeDict"
)
"""The same, of classes that are dicts: a plain dict stands for each."""

UNBOUNDED = re.compile(
    rb"c(?:builtins|__builtin__)\nbytearray\n|ctorch\._utils\n_rebuild_device_tensor_from_\w+\n"
)
"""What ``weights_only`` allows and an argument makes as large as it likes: bytes from a number, copies of
expanded tensors. Files of weights have neither."""

MOST_ENTRIES = 100_000
"""In an archive, one for each tensor."""

OLD_PICKLES = 5
"""Pickles at the beginning of a file of torch before 1.6: two numbers, the system, the tables, names of storages."""

LONGEST_NAME = 500
"""Characters in a tensor's name, at most; longer ones are left aside."""

OTHER_KINDS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file: run `git lfs pull`",
    b"\x89HDF": "is an HDF5 file of Keras or TensorFlow: give the weights as safetensors or a PyTorch file",
    b"GGUF": "is a GGUF file: give the weights as safetensors or a PyTorch file",
    b"\x08": "is an ONNX file: give the weights as safetensors or a PyTorch file",
    b"\x93NUMPY": "is a NumPy array: give a state dict as safetensors or a PyTorch file",
    b"\x1f\x8b": "is gzipped: unpack it",
    b"<": "is a web page and no weights file: download the file itself",
    b"{": "is JSON and no weights file: give the tensors' file itself",
}


class Placeholder:
    """Stands for an object of another library; keeps nothing and does nothing."""

    def __new__(cls, *_args: object, **_named: object) -> Placeholder:
        """Take any arguments."""
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None:
        """Take any state."""


class PlaceholderTable:
    """Stands for a dict of another library, whose entries are read."""

    def __new__(cls, *_args: object, **_named: object) -> OrderedDict[str, object]:  # type: ignore[misc]
        """Return an empty table, of a kind that torch lets a file fill."""
        return OrderedDict()


@dataclass(frozen=True)
class Table:
    """A table of tensors in a file: its keys there, such as ``("state_dict",)``, and the tensors."""

    place: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """The place in words; empty for the file's own top level."""
        return ".".join(self.place)


def read_tables(path: Path) -> list[Table]:
    """Read a weights file: safetensors, or a PyTorch file by its tensors alone (``weights_only``).

    The kind is told by the content, not by the ending.

    Raises:
        RunError: The file is missing, a folder, damaged, of another kind, needs a class of another
            library, or holds no table of tensors.
    """
    if path.is_dir():
        raise RunError(
            f"{path} holds no finished run (no model/model.json): finish the command that trains it, or give random, "
            "imagenet, another run folder or a weights file."
        )
    if not path.is_file():
        raise RunError(
            f"no weights file {str(path)!r}: give random, imagenet, a run folder or an existing file."
        )
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if not start:
            raise RunError(f"{path} is empty: give a whole file.")
        if start[8:9] == b"{":
            return list(_tables(load_file(path)))
        for magic, what in OTHER_KINDS.items():
            if start.startswith(magic):
                raise RunError(f"{path} {what}.")
        if re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]+", start) and not start.startswith(b"PK"):
            raise RunError(f"{path} is text and no weights file: give the tensors' file itself.")
        if start.startswith(b"PK"):
            _refuse_other_archives(path)
        tables = list(_tables(_load(path)))
    except RunError:
        raise
    except (pickle.UnpicklingError, ModuleNotFoundError, AttributeError, TypeError) as error:
        # torch raises pickle's own errors for a file with more in it than tensors.
        raise RunError(
            f"{path} holds more than tensors and is not opened ({_reason(error)}): convert it to safetensors."
        ) from error
    except Exception as error:
        # A damaged file gives errors of every kind: zip, struct, Unicode, index, memory, recursion.
        raise RunError(
            f"{path} cannot be read as weights ({_reason(error)}): give a whole file."
        ) from error
    if not tables:
        raise RunError(
            f"{path} holds no table of tensors: give a state dict, as torch.save(model.state_dict(), FILE) writes it."
        )
    return tables


def _refuse_other_archives(path: Path) -> None:
    """Refuse archives that torch.save did not write: code, compressed or overlapping entries.

    Raises:
        RunError: The archive is one of these.
    """
    try:
        if (count := most_zip_entries(path)) > MOST_ENTRIES:
            raise RunError(
                f"{path} is an archive of up to {count} entries: at most {MOST_ENTRIES} are read."
            )
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise RunError(
            f"{path} cannot be read as weights ({_reason(error)}): give a whole file."
        ) from error
    names = {entry.filename.partition("/")[2] or entry.filename for entry in entries}
    if "constants.pkl" in names:
        raise RunError(
            f"{path} is a TorchScript archive, which holds code and is not opened: "
            "torch.save(torch.jit.load(FILE).state_dict(), OUT) where you trust it, and give OUT."
        )
    if "data.pkl" not in names:
        raise RunError(
            f"{path} is an archive that torch.save did not write (no data.pkl in it): give a state dict."
        )
    # torch.save stores each entry as it is, so compressed or overlapping ones are bombs.
    if (
        any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        or sum(entry.file_size for entry in entries) > path.stat().st_size
    ):
        raise RunError(
            f"{path} is an archive whose entries are larger than the file, as torch.save never writes: give another."
        )


def _load(path: Path) -> object:
    """Return the content of a PyTorch file, with a placeholder for each harmless object beside the tensors.

    Raises:
        RunError: It needs another class.
    """
    _refuse_unbounded(path)
    allowed: set[tuple[type, str]] = set()
    if zipfile.is_zipfile(path):
        allowed = {
            _stand_in(name, path) for name in sorted(get_unsafe_globals_in_checkpoint(str(path)))
        }
    while True:
        try:
            with (
                warnings.catch_warnings(),
                _quiet(logging.getLogger("torch")),
                safe_globals(list(allowed)),
            ):
                warnings.simplefilter("ignore")  # deprecated storages are not the user's concern
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # Files of torch before 1.6 have no list of their classes: each is met in turn.
            needed = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
            if needed is None:
                raise
            # torch leaves "builtins." out of its message.
            stand_in = _stand_in(needed[1] if "." in needed[1] else f"builtins.{needed[1]}", path)
            if stand_in in allowed:
                raise
            allowed.add(stand_in)


class _quiet:  # noqa: N801 - a context manager in two lines
    def __init__(self, logger: logging.Logger) -> None:
        self.logger, self.level = logger, logger.level

    def __enter__(self) -> None:
        self.logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_error: object) -> None:
        self.logger.setLevel(self.level)


def _stand_in(name: str, path: Path) -> tuple[type, str]:
    """Return what torch.load takes in place of a class or function of that name.

    Raises:
        RunError: It is none of those that are harmless notes beside the tensors.
    """
    if HARMLESS_TABLES.fullmatch(name):
        return PlaceholderTable, name
    if HARMLESS.fullmatch(name):
        return Placeholder, name
    shown = name if name.isprintable() and len(name) <= 100 else f"{name[:100]!r}…"
    raise RunError(
        f"{path} needs the class {shown}, which could run code, and is not opened. Where you trust the file, save "
        f"its tensors alone: `x = torch.load({path.name!r}, weights_only=False)`, then "
        "`torch.save(x.state_dict() if hasattr(x, 'state_dict') else x['state_dict'], 'tensors.pth')`."
    )


def _refuse_unbounded(path: Path) -> None:
    """Refuse a file that can ask for any amount of memory or time while it is read.

    Raises:
        RunError: It names a function that makes objects of any size, or describes what never ends.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # Each entry, not each name: of two with one name, torch may read the other.
            entries = [one for one in archive.infolist() if one.filename.endswith("data.pkl")]
            pickles = [io.BytesIO(archive.read(entry)) for entry in entries]
        for pickled in pickles:
            _refuse_functions(path, pickled.getbuffer())
            _refuse_steps(path, pickled, 1)
    else:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            _refuse_functions(path, content)
            _refuse_steps(path, file, OLD_PICKLES)


def _refuse_functions(path: Path, content: memoryview | mmap) -> None:
    if match := UNBOUNDED.search(content):
        name = ".".join(match[0].decode()[1:].split()).replace("__builtin__", "builtins")
        raise RunError(
            f"{path} calls {name}, which no weights need and which can take any amount of memory: it is not "
            "opened, give a state dict, as torch.save(model.state_dict(), FILE) writes it."
        )


def _refuse_steps(path: Path, file: IO[bytes], pickles: int) -> None:
    try:
        for _ in range(pickles):
            if file.read(1):  # else torch says what is missing
                file.seek(-1, os.SEEK_CUR)
                refuse_costly(file)
    except TooCostly as error:
        raise RunError(
            f"{path} has {error}, which no weights need and which can take any amount of time: it is not opened, "
            "give a state dict, as torch.save(model.state_dict(), FILE) writes it."
        ) from error


def _tables(loaded: object) -> Iterator[Table]:
    """Yield the tables of tensors, outer ones first; one that stands in several places only once."""
    seen: set[int] = set()
    level: list[tuple[tuple[str, ...], object]] = [((), loaded)]
    for _ in range(LEVELS + 1):
        deeper: list[tuple[tuple[str, ...], object]] = []
        for place, table in level:
            if not isinstance(table, Mapping) or id(table) in seen:
                continue
            seen.add(id(table))
            named = {str(name): value for name, value in table.items() if _is_name(name)}
            tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
            if tensors:
                yield Table(place, tensors)
            deeper += [((*place, name), value) for name, value in named.items()]
        level = deeper


def _is_name(key: object) -> bool:
    """Return whether a key can name a tensor or a table; others would make lines of any length."""
    return isinstance(key, int) or (
        isinstance(key, str) and len(key) <= LONGEST_NAME and key.isprintable()
    )


def _reason(error: Exception) -> str:
    text = re.sub(r"https?://\S+", "", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:100]}" if text else type(error).__name__
