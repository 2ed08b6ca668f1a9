"""The group's key: made once, kept from others, never in a folder that is passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.errors import RunError
from hilum.group_key import FILE_NAME, VARIABLE, group_key, made_key


def test_a_key_is_made_beside_the_first_store_and_serves_the_next(tmp_path: Path) -> None:
    assert group_key(tmp_path / "a", {}) is None
    key = made_key(tmp_path / "a", {})
    assert key.path == tmp_path / FILE_NAME
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert made_key(tmp_path / "b", {}) == group_key(tmp_path / "b", {}) == key
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    assert made_key(tmp_path / "elsewhere/a", {}).id != key.id


@pytest.mark.parametrize("mark", ["manifest.json", "options.yaml", "model.json", "study.json"])
def test_a_key_is_never_in_a_store_run_model_or_study(tmp_path: Path, mark: str) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / mark).touch()
    assert made_key(outer / "store", {}).path == tmp_path / FILE_NAME
    with pytest.raises(
        RunError, match=r"is inside .*outer, which may be passed on: give --key-file"
    ):
        made_key(tmp_path / "store", {VARIABLE: str(outer / "deep/my.key")})


def test_the_key_that_is_named_wins_and_must_be_there_to_be_read(tmp_path: Path) -> None:
    named = {VARIABLE: str(tmp_path / "safe/group.key")}
    with pytest.raises(
        RunError, match=r"group\.key does not exist: give the --key-file of the store"
    ):
        group_key(tmp_path / "store", named)
    key = made_key(tmp_path / "store", named)
    assert key == group_key(tmp_path / "other/store", named)
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    made_key(tmp_path / "a", {}).path.chmod(mode)
    with pytest.raises(RunError, match=rf"can be read by others \(mode {mode:o}\): run `chmod 600"):
        group_key(tmp_path / "a", {})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:40],
        lambda text: text.replace("key-1", "key-2"),
        lambda text: text[:20] + ("0" if text[20] != "0" else "1") + text[21:],
        lambda text: text + text,
    ],
)
def test_a_damaged_key_is_refused_and_never_replaced(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    path = made_key(tmp_path / "a", {}).path
    damaged = change(path.read_text())
    path.write_text(damaged)
    for ask in (group_key, made_key):
        with pytest.raises(RunError, match="is damaged: restore it from a copy"):
            ask(tmp_path / "a", {})
    assert path.read_text() == damaged


def test_pseudonyms_differ_by_kind_and_key(tmp_path: Path) -> None:
    one, other = made_key(tmp_path / "a/s", {}), made_key(tmp_path / "b/s", {})
    names = [b"patient 1", b"patient 1", b"patient 2"]
    patients = one.pseudonyms("patient", names)
    assert patients[0] == patients[1] != patients[2]
    assert all(len(name) == 32 for name in patients)
    assert not set(patients) & {
        *one.pseudonyms("study", names),
        *other.pseudonyms("patient", names),
    }
