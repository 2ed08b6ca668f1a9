"""Pickles that would cost without end are known by their opcodes; those of weights are not."""

from __future__ import annotations

import collections
import io
import itertools
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.bundle.pickle_scan import TooCostly, refuse_costly
from hilum.bundle.weight_files import read_tables
from hilum.errors import RunError


def doubled(make: Callable[[Any], Any], levels: int = 60) -> Any:
    """A structure of 2^levels parts, each level made of the one below."""
    value: Any = make("leaf")
    for _ in range(levels):
        value = make(value)
    return value


def filled_later(levels: int = 60) -> Any:
    """The same of lists that are filled from the outermost in."""
    lists: list[Any] = [[] for _ in range(levels)]
    whole = [*lists]
    for outer, inner in itertools.pairwise(lists):
        outer += [inner, inner]
    return whole


COSTLY: dict[str, Callable[[], Any]] = {
    "pairs": lambda: doubled(lambda below: (below, below)),
    "lists": lambda: doubled(lambda below: [below, below]),
    "tables": lambda: doubled(lambda below: {"a": below, "b": below}),
    "triples": lambda: doubled(lambda below: (below, below, below), 40),
    "long rows": lambda: doubled(lambda below: (below,) * 1000, 3),
    "options": lambda: doubled(lambda below: Namespace(a=below, b=below)),
    "ordered tables": lambda: doubled(lambda below: collections.OrderedDict(a=below, b=below)),
    "filled later": filled_later,
    "keys of one hash": lambda: {number * (2**61 - 1): 0 for number in range(1, 5000)},
    "keys of pairs": lambda: {(number, 0): 0 for number in range(5000)},
    "keys of fractions": lambda: {number / 3: 0 for number in range(5000)},
}
FINE: dict[str, Callable[[], Any]] = {
    "weights": lambda: torch.nn.Linear(2, 3).state_dict(),
    "one tensor often": lambda: dict.fromkeys(map(str, range(5000)), torch.ones(2)),
    "epochs": lambda: {"history": [{"epoch": n, "loss": n / 7} for n in range(2000)]},
    "numbered": lambda: {number: str(number) for number in range(20_000)},
    "some levels": lambda: doubled(lambda below: (below, below), 15),
}


def circle() -> list[Any]:
    around: list[Any] = [1]
    around.append(around)
    return around


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("kind", COSTLY)
def test_what_never_ends_is_told_from_the_opcodes(kind: str, protocol: int) -> None:
    with pytest.raises(TooCostly):
        refuse_costly(io.BytesIO(pickle.dumps(COSTLY[kind](), protocol)))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("kind", FINE)
def test_what_is_shared_or_long_is_fine(kind: str, protocol: int) -> None:
    refuse_costly(io.BytesIO(pickle.dumps(FINE[kind](), protocol)))
    refuse_costly(io.BytesIO(pickle.dumps(circle(), protocol)))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x02", b"\x80\x02a.", b"\x80\x02t.", b"\x80\x02h\x07.", b"\x80\x02(a.", b"\xff"],
)
def test_a_damaged_pickle_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        refuse_costly(io.BytesIO(data))


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("kind", ["pairs", "lists", "options", "keys of one hash"])
def test_such_a_weights_file_is_refused_in_one_line(tmp_path: Path, kind: str, old: bool) -> None:
    for content in (COSTLY[kind](), {"state_dict": {"a": torch.ones(1)}, "args": COSTLY[kind]()}):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
        with pytest.raises(
            RunError, match="can take any amount of time: it is not opened"
        ) as caught:
            read_tables(tmp_path / "w.pth")
        assert "\n" not in str(caught.value)
    content = {"state_dict": {"a": torch.ones(1)}, "args": Namespace(a=[1] * 1000)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    assert [table.name for table in read_tables(tmp_path / "w.pth")] == ["state_dict"]


def test_an_archive_of_countless_entries_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    monkeypatch.setattr("hilum.bundle.weight_files.MOST_ENTRIES", 2)
    with pytest.raises(RunError, match=r"an archive of up to \d+ entries: at most 2 are read"):
        read_tables(tmp_path / "w.pth")
