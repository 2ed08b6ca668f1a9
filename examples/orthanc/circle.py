"""Films from an archive to a model and its results back into the archive, with Orthanc on this machine.

What a hospital would set up, in one file: Orthanc (Debian's `orthanc` and `orthanc-dicomweb`) receives
films; `fetch` copies each new one into a folder; `hilum watch` reads it; `store` sends both results back
by STOW-RS, reads them back, and only then removes them. With ``--kills`` the watcher is killed at random
moments and started again. At the end every film that was read must have exactly one secondary
capture and one report in the archive, and what was sent is what was read, what was refused for each reason, and
what was not fetched for its modality.

Run: ``python examples/orthanc/circle.py RUN [--films 130] [--kills 10] [--json]``. Everything listens on
127.0.0.1 and lies in a temporary folder. Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from highdicom.sr import srread

PLUGINS = "/usr/share/orthanc/plugins"
FILMS = ("CR", "DX", "RG")
"""Modalities that are fetched: results are OT and SR, and must not be read as films."""
BOUNDARY = "hilum-result"
MOST_SECONDS, SLOWEST_START = 1200, 20
"""Of the whole, and of a watcher until its first line, after which it is killed anyway."""
OUTCOME = re.compile(r"(\w+): (read|refused: [\w ]+|unreadable: [\w ]+) \(\d")
"""A line of the watcher about a film, by its pseudonym."""


class Archive:
    """Orthanc's REST and DICOMweb routes."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.since = 0
        self.fetched: Counter[str] = Counter()
        """Instances that were fetched, and those that were not by their modality."""

    def call(self, path: str, data: bytes | None = None, **headers: str) -> bytes:
        """Return the answer to a GET, or to a POST of data."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.root + path, data, named)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def ask(self, path: str, question: Any = None) -> Any:
        """Return the JSON answer to a GET, or to a POST of JSON."""
        data = None if question is None else json.dumps(question).encode()
        return json.loads(self.call(path, data))

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(300):
            try:
                self.ask("/system")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise SystemExit("Orthanc does not answer")

    def fetch(self, folder: Path) -> int:
        """Copy films that came since the last call into a folder; a file appears there whole."""
        count = 0
        while True:
            changes = self.ask(f"/changes?since={self.since}&limit=100")
            for change in changes["Changes"]:
                if change["ChangeType"] != "NewInstance":
                    continue
                instance = change["ID"]
                tags = self.ask(f"/instances/{instance}/simplified-tags")
                is_film = tags.get("Modality") in FILMS
                if is_film:
                    part = folder / f".{instance}"
                    part.write_bytes(self.call(f"/instances/{instance}/file"))
                    part.rename(folder / f"{instance}.dcm")
                    count += 1
                self.fetched["fetched" if is_film else f"modality {tags.get('Modality')}"] += 1
            self.since = changes["Last"]
            if changes["Done"]:
                return count

    def store(self, results: Path) -> int:
        """Send results by STOW-RS; remove those that can be read back."""
        count = 0
        for file in sorted(results.glob("*.dcm")):
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = head + file.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
            kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
            answer = self.call(
                "/dicom-web/studies", body, Content_Type=kind, Accept="application/dicom+json"
            )
            stored = json.loads(answer)["00081199"]["Value"]
            uids = [one["00081155"]["Value"][0] for one in stored]
            if not self.ask(
                "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": uids[0]}}
            ):
                raise SystemExit("a result was stored and cannot be read back")
            file.unlink()
            count += 1
        return count


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_orthanc(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start Orthanc with its files in a folder, on loopback, without DICOM's own protocol."""
    options = {
        "Name": "Archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [f"{PLUGINS}/libOrthancDicomWeb.so"],
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "OverwriteInstances": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(options), "utf-8")
    log = (folder / "orthanc.log").open("wb")
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    return subprocess.Popen([program, str(path)], stdout=log, stderr=log)


def read_films(out: Path) -> list[str]:
    """Return the pseudonyms of the films in the watcher's ledger; a line that is being written does not count."""
    ledger = out / "ledger.jsonl"
    lines = ledger.read_text("utf-8").split("\n")[:-1] if ledger.is_file() else []
    return [json.loads(line)["film"] for line in lines]


def in_archive(archive: Archive) -> dict[str, Counter[str]]:
    """Return how many captures and reports the archive has of each film, by its SOP Instance UID."""
    captures: Counter[str] = Counter()
    reports: Counter[str] = Counter()
    for instance in archive.ask("/instances"):
        tags = archive.ask(f"/instances/{instance}/tags?simplify")
        if tags["Modality"] == "OT":
            captures[tags["SourceImageSequence"][0]["ReferencedSOPInstanceUID"]] += 1
        elif tags["Modality"] == "SR":
            evidence = tags["CurrentRequestedProcedureEvidenceSequence"][0]
            series = evidence["ReferencedSeriesSequence"][0]
            reports[series["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"]] += 1
    return {"captures": captures, "reports": reports}


def problems(archive: Archive, folder: Path) -> list[str]:
    """Return what dciodvfy (dicom3tools) calls an error in any result, and what dsrdump or highdicom cannot read."""
    found: set[str] = set()
    for instance in archive.ask("/instances"):
        modality = archive.ask(f"/instances/{instance}/simplified-tags")["Modality"]
        if modality not in ("OT", "SR"):
            continue
        file = folder / "result.dcm"
        file.write_bytes(archive.call(f"/instances/{instance}/file"))
        tools = ["dciodvfy"] + (["dsrdump"] if modality == "SR" else [])
        for tool in filter(shutil.which, tools):
            done = subprocess.run([tool, str(file)], capture_output=True, text=True, check=False)
            lines = (done.stdout + done.stderr).splitlines()
            found |= {f"{tool}: {line}" for line in lines if line.startswith(("Error", "E:"))}
            if done.returncode and tool == "dsrdump":
                found.add(f"dsrdump: exit status {done.returncode}")
        if modality == "SR":
            try:
                srread(file).content  # noqa: B018 - the template is read when it is asked for
            except Exception as error:  # noqa: BLE001 - whatever it is, the report cannot be read
                found.add(f"highdicom: {type(error).__name__}: {error}")
    return sorted(found)


def main() -> None:
    """Do the circle and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a fine-tuned run or a bundle")
    parser.add_argument("--films", type=int, default=130, help="phantoms; some are laterals")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=256, help="pixels of the phantoms' sides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    hilum = [sys.executable, "-m", "hilum"]
    with tempfile.TemporaryDirectory(prefix="circle-") as name:
        root = Path(name)
        incoming, out = root / "incoming", root / "out"
        incoming.mkdir()
        drawn = [*hilum, "phantom", str(root / "drawn"), "--count", str(options.films)]
        drawn += ["--size", str(options.size), "--format", "dicom", "--seed", str(options.seed)]
        subprocess.run(drawn, check=True, stdout=subprocess.DEVNULL)
        archive = Archive(free_port())
        orthanc = start_orthanc(root, int(archive.root.rpartition(":")[2]))
        watch = [*hilum, "watch", str(options.run), str(incoming), "--out", str(out)]
        watch += ["--every", "0.2", "--settle", "0.2", "--device", "cpu"]
        watcher = None
        log_file = root / "watch.log"
        log = log_file.open("wb")
        try:
            archive.wait()
            sent = sorted(path for path in (root / "drawn").rglob("*") if path.is_file())
            sent = [path for path in sent if path.read_bytes()[128:132] == b"DICM"]
            waiting, kills, stored, told = list(sent), options.kills, 0, dict[str, str]()
            until, size, kill_at = time.monotonic() + MOST_SECONDS, 0, 0.0
            while (
                waiting
                or kills
                or stored < 2 * Counter(told.values())["read"]
                or not (len(told) == archive.fetched["fetched"] > 0)
            ):
                if time.monotonic() > until:
                    break
                for path in waiting[:5]:  # films come in little by little
                    archive.call("/instances", path.read_bytes())
                waiting = waiting[5:]
                archive.fetch(incoming)
                lines = log_file.read_text("utf-8", "replace")
                # Refused films are in no ledger, and each start of the watcher looks at them again.
                told = dict(OUTCOME.findall(lines)) | dict.fromkeys(read_films(out), "read")
                if watcher is None or watcher.poll() is not None:
                    watcher = subprocess.Popen(watch, stdout=log, stderr=log)
                    size, kill_at = len(lines), time.monotonic() + SLOWEST_START
                elif len(lines) > size:  # it works: it is killed in the midst of it
                    size, kill_at = sys.maxsize, time.monotonic() + rng.uniform(0, 3)
                stored += archive.store(out / "results") if (out / "results").is_dir() else 0
                if kills and time.monotonic() > kill_at:
                    watcher.send_signal(signal.SIGKILL)
                    watcher.wait()
                    kills -= 1
                time.sleep(0.1)
            watcher.send_signal(signal.SIGTERM)
            ended = watcher.wait(60)
            outcomes = Counter(["read"] * len(read_films(out)))
            refused = Counter(outcome for outcome in told.values() if outcome != "read")
            kept = in_archive(archive)
            wrong = problems(archive, root)
        finally:
            for process in (watcher, orthanc):
                if process is not None and process.poll() is None:
                    process.terminate()
                    process.wait(60)
    once = all(
        len(counts) == outcomes["read"] and set(counts.values()) <= {1} for counts in kept.values()
    )
    answer = {
        "sent": len(sent),
        "kills": options.kills,
        "fetched": archive.fetched.pop("fetched"),
        "not_fetched": {
            kind: count
            for kind, count in archive.fetched.items()
            if kind not in ("modality OT", "modality SR")  # the results themselves
        },
        "outcomes": {**outcomes, **refused},
        "results_stored": stored,
        "captures": sum(kept["captures"].values()),
        "reports": sum(kept["reports"].values()),
        "exactly_once": once and stored == 2 * outcomes["read"],
        "exit_after_sigterm": ended,
        "errors_of_validators": wrong,
    }
    print(json.dumps(answer) if options.json else json.dumps(answer, indent=1))
    every = sum(answer["outcomes"].values()) == answer["fetched"]
    if not answer["exactly_once"] or wrong or not outcomes["read"] or not every:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
