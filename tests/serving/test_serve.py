"""The command itself, in a process of its own: it starts, answers, drains at SIGTERM, and says what it did."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.errors import OptionError
from hilum.serving.options import ServeOptions
from hilum.serving.serve import serve
from service_client import FILE, NAMES, dicom, refuse_secrets


def test_it_answers_until_sigterm_and_what_is_on_its_way_is_answered_too(
    bundle: Path,
    pngs: list[bytes],
    films: list[np.ndarray],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "hilum",
        "serve",
        str(bundle),
        "--port",
        "0",
        "--json",
        "--decoders",
        "1",
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            lines = []
            while not (
                match := re.search(r"http://127\.0\.0\.1:(\d+)/", lines[-1] if lines else "")
            ):
                lines.append(process.stderr.readline())
                assert lines[-1], "".join(lines)
            port = int(match[1])
            usual = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            usual.request("POST", "/v1/predictions", pngs[0])
            first = json.loads(usual.getresponse().read())
            assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text("utf-8")
            named = dicom(tmp_path_factory.mktemp("named"), films[0], **NAMES)
            refuse_secrets(texts_about(process.pid, port, named))
            with socket.create_connection(("127.0.0.1", port), timeout=60) as late:
                head = f"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(pngs[0])}\r\n\r\n"
                late.sendall(head.encode() + pngs[0][:100])
                arrived = False
                while not arrived:  # so that the half film has arrived
                    usual.request("GET", "/metrics")
                    arrived = b"hilum_uploads_arriving 1" in usual.getresponse().read()
                process.send_signal(signal.SIGTERM)
                late.sendall(pngs[0][100:])
                data = b""
                while piece := late.recv(2**16):
                    data += piece
            assert json.loads(data.partition(b"\r\n\r\n")[2]) == first
            usual.close()
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(output)["answered"] == 3
    assert "Traceback" not in errors
    refuse_secrets([output, errors])
    assert not list(tmp_path.iterdir())  # no file of a film, and none of anything else


def texts_about(pid: int, port: int, film: bytes) -> list[str]:
    """Return what answers, metrics and open files hold of a film, whole and damaged, and of requests that are none."""
    texts = []
    for body in (film, film[:-200], FILE.encode()):
        usual = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        usual.request("POST", f"/v1/predictions?{FILE[:9]}", body, {"X-Patient": FILE})
        texts.append(usual.getresponse().read().decode())
        usual.close()
    assert '"answered"' in texts[0]
    for raw in (FILE.encode() + b"\r\n\r\n", b"GET / HTTP/1.1\r\nKowalczyk\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as broken:
            broken.sendall(raw)
            texts.append(broken.recv(2**16).decode())
    usual = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    usual.request("GET", "/metrics")
    texts.append(usual.getresponse().read().decode())
    usual.close()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    for process in (str(pid), *children):
        for handle in Path(f"/proc/{process}/fd").iterdir():
            if handle.is_file() and "(deleted)" in str(handle.readlink()):
                texts.append(handle.read_bytes().decode("latin-1"))
    return texts


def test_an_address_that_is_taken_is_one_line(model_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"--port {port}"):
            serve(model_folder, ServeOptions(port=port))
    with pytest.raises(OptionError, match="--keep 'all'"):
        serve(model_folder, ServeOptions(port=0, keep=("all",)))
