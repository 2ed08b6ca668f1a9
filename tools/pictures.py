"""The pictures of the README: ``python tools/pictures.py DEMO``, where DEMO is the folder of ``make demo``.

Takes the data card, the study's report and the service's page with a phantom by a headless Chromium that it speaks
to over a pipe. Everything shown is drawn; the service listens on 127.0.0.1. Needs `chromium`
on the path and Pillow, which the development tools bring.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH, PAGE_WIDTH, HEIGHT = 1100, 1360, 840
COLOURS = 200
ANSWERED = "document.querySelector('.findings:not([hidden]) td') !== null"
FIRST_HEATMAP = "document.querySelector('.findings button').click()"
HEATMAP_THERE = "document.querySelector('.findings [aria-pressed=true]') !== null"


class Browser:
    """A headless Chromium with one page, by the DevTools protocol over a pipe."""

    def __init__(self, profile: Path) -> None:
        requests, self._out = os.pipe()
        self._in, answers = os.pipe()

        def as_three_and_four() -> None:
            kept = os.dup(requests), os.dup(answers)
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", *flags],
            close_fds=False,
            preexec_fn=as_three_and_four,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(requests)
        os.close(answers)
        self._count, self._rest = 0, b""
        target = self._send("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session = self._send("Target.attachToTarget", attach, None)["sessionId"]

    def call(self, method: str, **params: Any) -> Any:
        """Return the page's answer to a command."""
        return self._send(method, params, self._session)

    def _send(self, method: str, params: dict[str, Any], session: str | None) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._in, 1 << 20)
                if not piece:
                    raise SystemExit("Chromium ended")
                self._rest += piece
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def true(self, script: str) -> bool:
        """Return what a script gives."""
        return bool(self.call("Runtime.evaluate", expression=script)["result"].get("value"))

    def wait(self, script: str) -> None:
        """Wait until a script gives true."""
        for _ in range(600):
            if self.true(script):
                return
            time.sleep(0.1)
        raise SystemExit(f"never came true in the page: {script}")

    def open(self, url: str, width: int = WIDTH) -> None:
        """Open an address, in light."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        light = {"name": "prefers-color-scheme", "value": "light"}
        self.call("Emulation.setEmulatedMedia", features=[light])
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")
        time.sleep(1)

    def picture(self, path: Path) -> None:
        """Write what is in the window, in a few colours."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image = Image.open(io.BytesIO(data)).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path} {path.stat().st_size / 1000:.0f} kB", flush=True)

    def choose(self, selector: str, files: list[Path]) -> None:
        """Give files to an input of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(address: str) -> None:
    """Wait for a service."""
    for _ in range(300):
        try:
            urllib.request.urlopen(address + "ready", timeout=5).close()
        except OSError:  # not there yet, or busy with its first imports
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the service is not ready")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument(
        "--run", default="moco-100-ignore-seed-0", help="run of the demo that is served"
    )
    options = parser.parse_args()
    demo = options.demo.resolve()
    films = sorted((demo / "phantoms" / "valid").rglob("*frontal*.jpg"))[:3]
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / "card"
        command = [sys.executable, "-m", "hilum", "card", str(demo / "store"), "--out", str(card)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        address = f"http://127.0.0.1:{port}/"
        command = [
            sys.executable,
            "-m",
            "hilum",
            "serve",
            str(demo / "runs" / options.run),
            "--port",
            str(port),
        ]
        service = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        browser = Browser(Path(folder) / "profile")
        IMAGES.mkdir(exist_ok=True)
        try:
            wait_until_ready(address)
            results = (demo / "report.html").as_uri() + "#results"
            for name, page in (("study", results), ("card", next(card.glob("*.html")).as_uri())):
                browser.open(page)
                browser.picture(IMAGES / f"{name}.png")
            browser.open(address, PAGE_WIDTH)
            browser.choose("#files", films)
            browser.wait(ANSWERED)
            browser.true(FIRST_HEATMAP)
            browser.wait(HEATMAP_THERE)
            time.sleep(2)
            browser.picture(IMAGES / "page.png")
        finally:
            browser.end()
            service.terminate()
            service.wait(60)


if __name__ == "__main__":
    main()
