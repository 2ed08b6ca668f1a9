"""The front door: what `import hilum` hands out, that it stays what it is, and that it costs nothing."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import hilum
from hilum.options import as_path, as_paths

STAGES = {
    "prepare": "PrepareOptions",
    "split": "SplitOptions",
    "card": "CardOptions",
    "pretrain": "PretrainOptions",
    "join": "JoinOptions",
    "finetune": "FinetuneOptions",
    "pseudo_label": "PseudoLabelOptions",
    "study": "StudyOptions",
    "probe": "ProbeOptions",
    "embed": "EmbedOptions",
    "evaluate": "EvaluateOptions",
    "explain": "ExplainOptions",
    "export": "ExportOptions",
    "demo": "DemoOptions",
    "write_phantoms": "PhantomOptions",
}
FUNCTIONS = (*STAGES, "predict", "compare", "report", "load", "read_source")
ORDERS = """
import importlib, pkgutil, random, sys
import hilum
names = [entry.name for entry in pkgutil.walk_packages(hilum.__path__, "hilum.")]
names = [name for name in names if not name.endswith(("__main__", "worker"))]
{order}
if {early}:
    functions = {{name: getattr(hilum, name) for name in hilum.__all__}}
for name in names:
    importlib.import_module(name)
wrong = [name for name in {functions} if not callable(getattr(hilum, name))]
assert not wrong, wrong
if {early}:
    assert all(getattr(hilum, name) is value for name, value in functions.items())
print(len(names))
"""


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_every_stage_and_its_options_are_handed_out() -> None:
    for stage, options in STAGES.items():
        assert callable(getattr(hilum, stage))
        assert is_dataclass(getattr(hilum, options))
        assert {stage, options} <= set(hilum.__all__)
    assert set(FUNCTIONS) <= set(dir(hilum))
    assert set(hilum.__all__) <= set(dir(hilum))
    for name in hilum.__all__:
        assert getattr(hilum, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'pretrian'"):
        hilum.pretrian  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_and_python_read_the_same_names() -> None:
    tree = ast.parse(Path(hilum.__file__).read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    typed = {
        (alias.asname or alias.name): f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    run = {
        name: f"hilum.{module}.{attribute}" for name, (module, attribute) in hilum._HOMES.items()
    }
    assert typed == run
    assert sorted({*typed, "__version__"}) == sorted(hilum.__all__)


def test_importing_hilum_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "pandas", "cv2", "timm", "scipy", "pyarrow", "cyclopts", "jinja2"]
    code = f"import sys, hilum; dir(hilum); print([m for m in {heavy} if m in sys.modules])"
    assert python(code).strip() == "[]"


@pytest.mark.parametrize(
    ("order", "early"),
    [("", True), ("names.reverse()", False), ("random.Random(1).shuffle(names)", True)],
    ids=["sorted", "reversed", "shuffled"],
)
def test_no_submodule_ever_replaces_a_public_function(order: str, early: bool) -> None:
    printed = python(ORDERS.format(order=order, early=early, functions=FUNCTIONS))
    assert int(printed) > 200


def test_no_module_has_the_name_of_a_public_function() -> None:
    modules = {entry.name for entry in pkgutil.iter_modules(hilum.__path__)}
    assert not modules & set(FUNCTIONS)


def options_with(kind: Callable[[Any], bool]) -> list[tuple[Any, str]]:
    """Return every options class that is handed out, with its fields of a kind of type."""
    classes = [getattr(hilum, name) for name in hilum.__all__]
    return [
        (options, entry.name)
        for options in classes
        if is_dataclass(options)
        for entry in fields(options)
        if kind(entry.type) and options.__module__.startswith("hilum.workflows")
    ]


def made(options: Any, **given: object) -> Any:
    """Return options with one field given and its other required fields filled."""
    needed = {"data": ("store",), "out": "out", "model": "MoCo", "size": 64}
    own = {entry.name for entry in fields(options)}
    if options is hilum.EvaluateOptions:
        needed["data"] = "store"
    if "unlabelled" in given:
        given["pseudo_labels"] = "table.parquet"
    return options(**{name: value for name, value in needed.items() if name in own} | given)


PATHS = options_with(lambda kind: kind == "tuple[Path, ...]")
PATH = options_with(lambda kind: kind in ("Path", "Path | None"))
WRONG: tuple[object, ...] = (7, b"store", {"a": 1}, {"store"}, iter(["store"]), object(), hilum)


@pytest.mark.parametrize(
    ("options", "field"), PATHS, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_single_store_is_one_and_what_is_no_path_is_named(options: Any, field: str) -> None:
    for given in ("store", Path("store"), ["store"], (Path("store"),)):
        assert getattr(made(options, **{field: given}), field) == (Path("store"),)
    for wrong in WRONG:
        with pytest.raises(
            TypeError, match=rf"^{field} is .*: allowed is a path .*or a list or tuple"
        ):
            made(options, **{field: wrong})
    with pytest.raises(TypeError, match=rf"^{field}\[1\] is a int: allowed is a path"):
        made(options, **{field: ["store", 7]})


@pytest.mark.parametrize(
    ("options", "field"), PATH, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_path_may_be_text_and_what_is_none_is_named(options: Any, field: str) -> None:
    assert getattr(made(options, **{field: "x"}), field) == Path("x")
    for wrong in (*WRONG, ["x"]):
        with pytest.raises(TypeError, match=rf"^{field} is .*: allowed is a path"):
            made(options, **{field: wrong})


def test_a_single_name_or_number_is_a_list_of_one() -> None:
    assert hilum.ExplainOptions(out="x", finding="Mass").finding == ("Mass",)  # type: ignore[arg-type]
    assert hilum.SplitOptions(fractions=0.1).fractions == (0.1,)  # type: ignore[arg-type]
    assert hilum.SplitOptions(fractions=[0.1, 1]).fractions == (0.1, 1)  # type: ignore[arg-type]
    assert hilum.StudyModel(init="random", fractions=1).fractions == (1,)  # type: ignore[arg-type]
    assert hilum.StudyModel(init="random").fractions is None
    assert made(hilum.FinetuneOptions, init=Path("run")).init == "run"
    with pytest.raises(TypeError, match="fractions is a str: allowed is a float, or a list"):
        hilum.SplitOptions(fractions="0.1")  # type: ignore[arg-type]


def test_paths_of_functions_are_checked_alike() -> None:
    assert as_paths("stores", "a") == as_paths("stores", ["a"]) == (Path("a"),)
    assert as_path("run", "a") == Path("a")
    with pytest.raises(TypeError, match="stores is a generator: allowed is a path"):
        as_paths("stores", (name for name in "a"))
