"""The service's page in headless Chromium, as a reader would use it, down to a training on what was stored.

Example: ``python benchmarks/serve_page.py BUNDLE --shots DIR --data ../shared/data --json``. Needs
playwright (``pip install playwright``) and Chromium (--chromium). Films are phantoms, drawn here; the leg is the one
of the shared data and is left out without. The bundle's preparation must be the store's.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.phantoms.options import PhantomOptions

LEG = Path("dicom") / "leg_mono1_10bit_jpeg2000.dcm"
HILUM = (sys.executable, "-m", "hilum")
VIEWS = {"desk": (1280, "light"), "phone": (390, "light"), "dark": (1280, "dark")}


def drawn_films(folder: Path, count: int) -> list[Path]:
    """Write frontal phantoms as PNG, and return their paths."""
    films = [film for film in cohort(PhantomOptions(count=2 * count, size=256)) if film.view == 1]
    films = [film for film in films if film.position != "LATERAL"][:count]
    paths = []
    for number, film in enumerate(films):
        paths.append(folder / f"Roe-Jane-{number}.png")
        cv2.imwrite(str(paths[-1]), draw(film, 256, 0)[0])
    return paths


def drawn_index(model: Path, folder: Path) -> Path:
    """Draw phantoms and prepare them as a model's films were; return the store."""
    from hilum.serving.model import open_model

    flags = shlex.split(open_model(model, "cpu", 1).facts.preparation.flags())
    store = folder / "index"
    for command in (
        ["phantom", str(folder / "phantoms"), "--count", "60", "--size", "128"],
        ["prepare", "chexpert", str(folder / "phantoms"), *flags, "--out", str(store)],
    ):
        subprocess.run([*HILUM, *command], capture_output=True, check=True)
    return store


@contextmanager
def service(model: Path, *options: str) -> Iterator[str]:
    """Run ``hilum serve``, and give its address."""
    command = [*HILUM, "serve", str(model), "--port", "0", "--decoders", "1", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if address := re.search(r"ready at (http://\S+)", line):
            break
    else:
        sys.exit("no service: " + "".join(lines))
    try:
        yield address[1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


class Reader:
    """A page of the browser, and what it should never do."""

    def __init__(self, browser: Any, url: str, width: int, scheme: str, shots: Path | None) -> None:
        """Open the page."""
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1
        )
        self.page, self.url, self.shots = context.new_page(), url, shots
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto(url)
        self.wait("document.getElementById('model').textContent.includes('findings')")

    def _hear(self, message: Any) -> None:
        if "getImageData" not in message.text:  # which this script calls, over and over
            self.complaints.append(message.text)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def drop(self, *files: Path) -> None:
        """Drag files from outside over the page and drop them, as the browser's own events; wait for all answers."""
        before = self.page.locator("#list li").count()
        drag = self.page.context.new_cdp_session(self.page)
        held = {
            "items": [],
            "files": [str(file) for file in files],
            "dragOperationsMask": 1,
        }
        for event in ("dragEnter", "dragOver", "drop"):
            drag.send("Input.dispatchDragEvent", {"type": event, "x": 150, "y": 300, "data": held})
        drag.detach()
        self.answered(before + len(files))

    def choose(self, *files: Path) -> None:
        """Choose files by the file input, and wait for all answers."""
        before = self.page.locator("#list li").count()
        self.page.set_input_files("#files", [str(file) for file in files])
        self.answered(before + len(files))

    def paste(self, file: Path) -> None:
        """Put a picture into the browser's clipboard, press Ctrl-V, and wait for the answer."""
        before = self.page.locator("#list li").count()
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.evaluate(
            "async (text) => { const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));"
            " const picture = new Blob([bytes], {type: 'image/png'});"
            " await navigator.clipboard.write([new ClipboardItem({'image/png': picture})]); }",
            base64.b64encode(file.read_bytes()).decode(),
        )
        self.page.keyboard.press("Control+V")
        self.answered(before + 1)

    def answered(self, films: int) -> None:
        """Wait until so many films have an answer."""
        self.wait(
            "count => { const told = [...document.querySelectorAll('#list span')].map((one) => one.textContent);"
            " return told.length === count && !told.some((one) => ['waits', 'is read', ''].includes(one)); }",
            films,
        )

    def wait(self, script: str, argument: Any = None) -> None:
        """Wait until a line of JavaScript is true.

        Playwright's own way evaluates a text within the page, which the page's policy forbids.
        """
        until = time.monotonic() + 60
        while not self.page.evaluate(script, argument):
            if time.monotonic() > until:
                sys.exit(f"never true on the page: {script}")
            self.page.wait_for_timeout(50)

    def texts(self, where: str) -> list[str]:
        """Return the text of all elements."""
        return [text.strip() for text in self.page.locator(where).all_text_contents()]

    def value(self, script: str) -> Any:
        """Return what a line of JavaScript gives."""
        return self.page.evaluate(script)

    def shot(self, name: str, full: bool = True) -> None:
        """Keep a picture, where pictures are kept."""
        if self.shots is not None:
            self.page.wait_for_timeout(400)
            self.page.screenshot(path=str(self.shots / f"{name}.png"), full_page=full)


def read_a_film(reader: Reader, films: list[Path], leg: Path | None, name: str) -> dict[str, Any]:
    """Do what a reader does: a film, a heatmap, the sliders, two films, the leg, phantoms, all by one view."""
    page = reader.page
    reader.drop(films[0])
    rows = reader.texts("tbody th")
    page.locator("td button", has_text="Show").first.click()
    page.wait_for_selector("td button[aria-pressed=true]")
    heat = (
        "(() => { const one = document.querySelector('canvas.heat');"
        " return one.getContext('2d').getImageData(0, 0, one.width, one.height).data.reduce((a, b) => a + b); })()"
    )
    shown = reader.value(heat)
    page.locator("td input[type=range]:not([hidden])").first.fill("10")
    fainter = reader.value(heat)
    bright = (
        "document.querySelector('canvas.film').getContext('2d').getImageData(128,128,1,1).data[0]"
    )
    before = reader.value(bright)
    page.locator(".level").first.fill("10")
    after = reader.value(bright)
    page.locator(".reset").first.click()
    reader.shot(f"{name}-one")
    seen: dict[str, Any] = {
        "findings": len(rows),
        "heatmap": shown > fainter > 0,
        "level": before != after,
    }
    page.wait_for_selector(".near li")
    seen["nearest"] = len(reader.texts(".near li"))
    if leg is not None:
        reader.choose(leg)
        page.locator("#list li").last.click()
        seen["leg"] = reader.texts(".gate:not([hidden])")
        reader.shot(f"{name}-leg", full=False)
    reader.paste(films[1])
    seen["dropped, pasted"] = reader.texts("#list li")[:1] + reader.texts("#list li")[-1:]
    count = page.locator("#list li").count()
    page.locator("#phantoms button").nth(4).click()
    reader.answered(count + 1)
    page.wait_for_selector(".gate:not([hidden])")
    seen["turned phantom"] = reader.texts(".gate:not([hidden])")
    page.locator("#phantoms button").nth(1).click()
    reader.answered(count + 2)
    page.locator("#list li").first.click()
    page.check("#compare")
    reader.wait("document.querySelectorAll('.pane').length === 2")
    seen["two films"] = len(reader.texts(".pane h2"))
    reader.shot(f"{name}-two")
    page.uncheck("#compare")
    seen["overflow"] = reader.value(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    seen["notice in view"] = reader.value(
        "(() => { const box = document.querySelector('footer').getBoundingClientRect();"
        " return box.bottom <= innerHeight + 1 && box.height > 0; })()"
    )
    seen["dark"] = reader.value("document.documentElement.dataset.theme")
    return seen


def read_by_keyboard(reader: Reader) -> dict[str, Any]:
    """Reach two phantoms, the list, zoom, heatmap and verdict by keys alone."""
    page = reader.page
    script = (
        "(() => { const one = document.activeElement; return [one.className, one.closest('#list') ? 'list' : '', "
        "one.getAttribute('aria-label') ?? ''].join('|'); })()"
    )

    def tab_to(words: str) -> str:
        for _ in range(150):
            page.keyboard.press("Tab")
            if words in (here := reader.value(script)):
                return str(here)
        sys.exit(f"the key Tab never reached {words!r}")

    skip = tab_to("skip")
    tab_to("Phantom without")
    page.keyboard.press("Enter")
    reader.answered(1)
    tab_to("Phantom with a pneumothorax")
    page.keyboard.press("Enter")
    reader.answered(2)
    tab_to("|list|")
    page.keyboard.press("ArrowUp")
    chosen = reader.value("document.querySelector('[aria-selected=true]').textContent")
    tab_to("stage")
    for key in "++wd":
        page.keyboard.press(key)
    moved = reader.value("document.querySelector('.layers').style.transform")
    tab_to("heatmap of")
    page.keyboard.press("Enter")
    page.wait_for_selector("td button[aria-pressed=true]")
    kept = "heatmap of" in reader.value(script)
    verdict = tab_to(" present")
    page.keyboard.press("Space")
    reader.wait("document.querySelector('.stored').textContent.startsWith('Stored')")
    return {
        "skip link": skip,
        "chosen by arrows": chosen,
        "zoomed": "scale(1.5" in moved,
        "focus stays on the heatmap's button": kept,
        "verdict": verdict.rpartition("|")[2],
    }


def give_verdicts(reader: Reader, films: list[Path]) -> dict[str, Any]:
    """Read films with agreement and corrections; every other film is called by the first finding."""
    page = reader.page
    reader.page.fill("#reader", "R1")
    reader.drop(*films)
    for number in range(len(films)):
        page.locator("#list li").nth(number).click()
        if "refused" in reader.texts("#list span")[number]:
            continue
        page.wait_for_selector(".verdict:not([hidden])")
        if number == 0 and reader.value(
            "Object.values(model.thresholds).some((one) => one !== null)"
        ):
            page.locator(".agree").first.click()
            reader.wait("document.querySelector('.stored').textContent !== ''")
        word = "present" if number % 2 else "absent"
        for finding in reader.value("model.findings.slice(0, 2)"):
            button = page.locator(f".readings button[aria-label='{finding} {word}']").first
            if button.get_attribute("aria-pressed") != "true":
                button.click()
        reader.wait(
            "word => document.querySelectorAll(`.readings button[data-word=${word}][aria-pressed=true]`).length >= 2",
            word,
        )
    reader.shot("verdict")
    return {"stored": reader.texts(".stored")[-1], "films": len(films)}


def train_on(table: Path, model: Path, prepare: str, folder: Path) -> dict[str, Any]:
    """Prepare what was collected and fine-tune on it, by the commands of docs/serving.md."""
    with table.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    stated = [name for name in list(lines[0])[4:] if any(line[name] for line in lines)]
    prepared = [
        "prepare",
        "folder",
        str(table.parent),
        "--csv",
        table.name,
        "--path-column",
        "film",
    ]
    prepared += ["--patient-column", "patient", "--join", "majority", *shlex.split(prepare)]
    prepared += [
        "--finding-columns",
        *stated,
        "--out",
        str(folder / "store"),
        "--workers",
        "1",
        "--json",
    ]
    trained = [
        "finetune",
        "--data",
        str(folder / "store"),
        "--init",
        str(model),
        "--out",
        str(folder / "run"),
    ]
    trained += [
        "--train.epochs",
        "1",
        "--train.min-steps",
        "4",
        "--train.batch-size",
        "8",
        "--json",
    ]
    results = []
    for command in (prepared, trained):
        ended = subprocess.run([*HILUM, *command], capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"hilum {' '.join(command)}: {ended.stderr[-800:]}")
        results.append(json.loads(ended.stdout.splitlines()[-1]))
    kept = [file for file in table.parent.rglob("*") if file.is_file()]
    named = [file.name for file in kept if "Roe" in file.name or b"Roe" in file.read_bytes()]
    return {
        "rows": len(lines),
        "kept": len(list((table.parent / "films").iterdir())),
        "files with a name": named,
        "trained films": results[1].get("films"),
        "steps": results[1].get("steps"),
    }


def main() -> None:
    """Drive the page, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--index", type=Path, help="store to compare films with; else one is drawn")
    parser.add_argument("--data", type=Path, help="shared data, for the leg")
    parser.add_argument("--shots", type=Path, help="folder for pictures")
    parser.add_argument("--films", type=int, default=24, help="phantoms that get a verdict")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    leg = options.data / LEG if options.data and (options.data / LEG).is_file() else None
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    began, seen = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        films = drawn_films(folder, options.films)
        table = folder / "collected" / "verdicts.csv"
        extra = ["--verdicts", str(table), "--verdict-films"]
        index = options.index or drawn_index(options.model, folder)
        extra += ["--index", str(index), "--index-pictures"]
        complaints: list[str] = []
        foreign: list[str] = []
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox"]
        )
        with service(options.model, *extra) as url:
            for name, (width, scheme) in VIEWS.items():
                reader = Reader(browser, url, width, scheme, options.shots)
                seen[name] = read_a_film(reader, films, leg, name)
                complaints, foreign = complaints + reader.complaints, foreign + reader.foreign
            reader = Reader(browser, url, 1280, "light", options.shots)
            seen["keyboard"] = read_by_keyboard(reader)
            complaints, foreign = complaints + reader.complaints, foreign + reader.foreign
            reader = Reader(browser, url, 1280, "light", options.shots)
            seen["verdicts"] = give_verdicts(reader, films)
            prepare = reader.value("model.prepare")
            reader.page.goto(url + "docs")
            reader.shot("docs")
            complaints, foreign = complaints + reader.complaints, foreign + reader.foreign
        browser.close()
        seen["training"] = train_on(table, options.model, prepare, folder)
        seen |= {"console": complaints, "foreign requests": foreign}
    seen["seconds"] = round(time.monotonic() - began)
    print(json.dumps(seen, indent=None if options.json else 1, ensure_ascii=False))
    sys.exit(1 if complaints or foreign else 0)


if __name__ == "__main__":
    main()
