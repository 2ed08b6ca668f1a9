"""Errors that the user can mend, and looking up names."""

from __future__ import annotations

import pytest

from hilum.errors import DataError, HilumError, OptionError, RunError, choose, did_you_mean

TABLE = {"moco": 1, "byol": 2, "Pleural Effusion": 3}


@pytest.mark.parametrize("kind", [DataError, OptionError, RunError])
def test_all_belong_to_one_family(kind: type[HilumError]) -> None:
    assert issubclass(kind, HilumError)
    assert not issubclass(kind, ValueError)


@pytest.mark.parametrize("name", TABLE)
def test_a_known_name_is_found(name: str) -> None:
    assert choose(name, TABLE, "thing") == TABLE[name]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("moko", "moco"), ("BYOL", "byol"), ("pleural efusion", "Pleural Effusion"), ("xyzzy", None)],
)
def test_an_unknown_name_lists_what_is_allowed_and_the_nearest(name: str, hint: str | None) -> None:
    with pytest.raises(OptionError) as caught:
        choose(name, TABLE, "thing")
    line = str(caught.value)
    assert line.startswith(f"unknown thing {name!r}: allowed are moco, byol, Pleural Effusion.")
    assert ("Did you mean" in line) == (hint is not None)
    assert did_you_mean(name, TABLE) == (f" Did you mean {hint!r}?" if hint else "")
    assert "\n" not in line
