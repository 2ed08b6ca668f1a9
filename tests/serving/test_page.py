"""The page's files, and the page in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.serving.page_phantoms import PHANTOMS
from hilum.serving.static import FOLDER, KINDS
from service_client import Client


def test_every_phantom_is_a_film_for_the_page_and_one_is_refused(client: Client) -> None:
    outcomes = []
    for path in PHANTOMS:
        film = client.get(f"/{path}")
        assert film.headers["content-type"] == "image/png"
        answer = client.post("/v1/predictions", content=film.content).json()
        outcomes.append((answer["status"], answer.get("reason")))
    assert outcomes == [("answered", None)] * 4 + [("refused", "turned")]


def test_the_page_names_no_other_address_and_nothing_that_its_policy_forbids() -> None:
    for name, _ in KINDS.values():
        text = FOLDER.joinpath(name).read_text("utf-8")
        addresses = set(re.findall(r"https?://[^\"'\s)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"\son\w+=|style=\"|eval\(|javascript:|<script>|<style", text), name
    for name in PHANTOMS:
        assert f'src="{name}"' in FOLDER.joinpath("index.html").read_text("utf-8")
    # Everything of the page that a script fills is there, by its id.
    page = FOLDER.joinpath("index.html").read_text("utf-8")
    for script in ("page.js", "loop.js"):
        for name in set(re.findall(r"\bid\(\"([a-z-]+)\"\)", FOLDER.joinpath(script).read_text())):
            assert f'id="{name}"' in page, name


@pytest.mark.torture
def test_a_reader_uses_the_page(model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    script = Path(__file__).parents[2] / "benchmarks" / "serve_page.py"
    command = [sys.executable, str(script), str(model_folder), "--chromium", chromium, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    seen = json.loads(ended.stdout.splitlines()[-1])
    for view in ("desk", "phone", "dark"):
        assert seen[view]["heatmap"]
        assert seen[view]["notice in view"]
        assert seen[view]["overflow"] <= 0
        assert seen[view]["level"]
        assert seen[view]["two films"] == 2
    assert seen["keyboard"]["zoomed"]
    assert seen["keyboard"]["focus stays on the heatmap's button"]
    assert seen["training"]["kept"] >= 20
    assert seen["training"]["files with a name"] == []
    assert seen["console"] == seen["foreign requests"] == []
