"""Part of a model exported by Hilum 0.1.0 (Apache-2.0, The Hilum developers).

Read chest radiographs with an exported model: ``python predict.py film.png other.jpg --out predictions.csv``.

Needs numpy, opencv-python-headless and onnxruntime, and the files that lie beside it. Films are PNG or
JPEG; `hilum predict` reads DICOM too. Research use only, not a medical device.
"""


from __future__ import annotations

import argparse
import cv2
import hashlib
import json
import numpy as np
import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from numbers import Integral
from numbers import Real
from pathlib import Path
from typing import Any
from typing import NamedTuple

# From hilum.errors

class HilumError(Exception):
    """The user can mend this: one line that says what, the value, what is allowed and the remedy."""

class DataError(HilumError):
    """A data set, table, film or store is not what the command needs."""

# From hilum.csv_files

def csv_text(
    header: Sequence[str], rows: Iterable[Sequence[Any]], float_format: str = "{!r}"
) -> str:
    r"""Return CSV with commas and line feeds; None, NaN and pandas' NA are empty cells.

    Text that a spreadsheet takes for a formula gets an apostrophe in front, in the header too:
    a film or finding may be called ``=HYPERLINK(...)``. Numbers stay as they are, also as text.

    >>> csv_text(["film", "=a"], [["-1.png", -0.5], ["-1.5", None]])
    "film,'=a\n'-1.png,-0.5\n-1.5,\n"
    """
    lines = [[_cell(value, float_format) for value in row] for row in (header, *rows)]
    return "".join(",".join(line) + "\n" for line in lines)

_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Beginnings of what spreadsheets take for a formula; the last four are full-width signs."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")

def _cell(value: Any, float_format: str) -> str:
    text = str(value)
    if isinstance(value, str):
        if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
            text = f"'{text}"
    elif value is None or text in ("nan", "<NA>", "NaT"):
        return ""
    elif isinstance(value, Real) and not isinstance(value, Integral):
        return float_format.format(float(value))
    # Python 3.11's csv leaves a lone carriage return unquoted, which ends the row for most readers.
    return '"' + text.replace('"', '""') + '"' if re.search('[",;\t\r\n]', text) else text

# From hilum.images.containers

MOST_CHUNKS = 100_000
"""PNG chunks, at most: 800 MB of pixels in chunks of 8 kB, the smallest that are usual."""

MOST_MARKERS = 10_000
"""JPEG markers outside the pixels' data, at most; restarts within it and fill bytes do not count."""

MOST_SCANS = 100
"""JPEG scans, at most: a progressive film has about ten."""

MOST_SCANNED = 2 * 10**9
"""Pixels times scans of a JPEG, at most: each scan walks over all of them, however few bytes it has."""

FILE_BYTES = 4
"""Bytes of a PNG before compression, and of any file, at most, for each pixel that a film may have."""

MOST_METADATA = 2**24
"""Bytes of a JPEG, or of any file, at most, beside those."""

_SLACK = 2**16

_BEST_RATIO = 1032
"""Largest compression ratio of deflate."""

_MOST_EXIF = 2**16

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by colour type."""

_PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"eXIf")

_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_JPEG_ALONE, _JPEG_SCAN, _JPEG_END = (0x01, 0xD8), 0xDA, 0xD9

class Encoded(NamedTuple):
    """A parsed file: the bytes for OpenCV, and the declared bits of a 16-bit sample."""

    data: bytes
    declared_bits: int | None = None

def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise UnreadableFilm("zero size", f"{width} x {height}")
    if width * height > max_pixels:
        raise UnreadableFilm(
            "too many pixels", f"{width} x {height}, at most {max_pixels} are read"
        )

def walk_png(data: bytes, max_pixels: int) -> Encoded:
    """Check size, order and checksums; keep only the chunks that grey pixels need.

    Colour profiles and gamma would change grey values in some OpenCV versions, and text chunks may
    be decompression bombs: both are left out.

    Raises:
        UnreadableFilm: It is cut, damaged or exceeds a limit.
    """
    view, at, bits, packed = memoryview(data), len(PNG_MAGIC), 0, 0
    kept, names, chunks = [view[:at]], set[bytes](), 0
    while b"IEND" not in names:
        name, body, end = _png_chunk(view, at)
        if not names:
            raw = _check_png_header(name, body, max_pixels)
        names.add(name)
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise UnreadableFilm("too many chunks", f"at most {MOST_CHUNKS} of a PNG are read")
        if name == b"sBIT" and body:
            bits = max(body)
        packed += len(body) * (name == b"IDAT")
        if name in _PNG_KEPT and (name != b"eXIf" or len(body) <= _MOST_EXIF):
            kept.append(view[at:end])
        at = end
    if b"IDAT" not in names:
        raise UnreadableFilm("damaged", "no image data")
    if not raw <= packed * _BEST_RATIO <= (2 * raw + _SLACK) * _BEST_RATIO:
        raise UnreadableFilm("damaged", f"{packed} bytes of image data do not fit its pixels")
    whole = at == len(data) and len(kept) == chunks + 1
    return Encoded(data if whole else b"".join(kept), bits if 1 <= bits <= 16 else None)

def _png_chunk(data: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """Return the chunk's name, its body and its end."""
    if at + 12 > len(data):
        raise UnreadableFilm("truncated", "the PNG ends before its IEND chunk")
    length, name = struct.unpack_from(">I4s", data, at)
    end = at + 12 + length
    if not name.isalpha():
        raise UnreadableFilm("damaged", "a PNG chunk without a name")
    if end > len(data):
        raise UnreadableFilm("truncated", f"the PNG ends inside its {name.decode()} chunk")
    body = data[at + 8 : end - 4]
    if zlib.crc32(body, zlib.crc32(name)) != struct.unpack_from(">I", data, end - 4)[0]:
        raise UnreadableFilm("damaged", f"wrong checksum of a PNG {name.decode()} chunk")
    return name, body, end

def _check_png_header(name: bytes, body: memoryview, max_pixels: int) -> int:
    """Check the size and return the bytes of the pixels before compression."""
    if name != b"IHDR" or len(body) != 13:
        raise UnreadableFilm("damaged", "a PNG without its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", body)
    _check_size(width, height, max_pixels)
    row = width * depth * _PNG_SAMPLES.get(colour, 1) // 8
    if height * row > FILE_BYTES * max_pixels:
        raise UnreadableFilm(
            "too many pixels",
            f"{width} x {height} of {8 * row // width} bits, at most {FILE_BYTES * max_pixels} bytes are read",
        )
    return int(height * row)

def walk_jpeg(data: bytes, max_pixels: int) -> Encoded:
    """Check the size and follow the markers, scan by scan, to the end of the picture.

    Raises:
        UnreadableFilm: It is cut, damaged or exceeds a limit.
    """
    at, pixels, scans, markers = 2, 0, 0, 0
    while True:
        match = _JPEG_MARKER.search(data, at)
        if match is None:
            raise UnreadableFilm("truncated", "the JPEG ends before its end marker")
        marker, at = match[1][0], match.end()
        markers += 1
        if markers > MOST_MARKERS:
            raise UnreadableFilm("too many markers", f"at most {MOST_MARKERS} of a JPEG are read")
        if marker == _JPEG_END:
            break
        if marker in _JPEG_ALONE:
            continue
        body, at = _jpeg_segment(data, at)
        if marker in _JPEG_FRAMES and not pixels:
            pixels = _check_jpeg_frame(body, max_pixels)
        scans += marker == _JPEG_SCAN
        most = min(MOST_SCANS, MOST_SCANNED // max(1, pixels))
        if scans > most:
            raise UnreadableFilm("too many scans", f"at most {most} of a JPEG of its size are read")
    if not (pixels and scans):
        raise UnreadableFilm("damaged", "no image data")
    if at > FILE_BYTES * pixels + MOST_METADATA:
        raise UnreadableFilm("damaged", f"{at} bytes do not fit its {pixels} pixels")
    return Encoded(data)

def _jpeg_segment(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the segment's body and its end."""
    if at + 2 > len(data):
        raise UnreadableFilm("truncated", "the JPEG ends inside a segment")
    end = at + max(2, struct.unpack_from(">H", data, at)[0])
    if end > len(data):
        raise UnreadableFilm("truncated", "the JPEG ends inside a segment")
    return data[at + 2 : end], end

def _check_jpeg_frame(body: bytes, max_pixels: int) -> int:
    """Check the size and return the number of pixels."""
    if len(body) < 6:
        raise UnreadableFilm("damaged", "a JPEG frame without its header")
    height, width = struct.unpack_from(">HH", body, 1)
    _check_size(width, height, max_pixels)
    return int(height * width)

CONTAINERS: dict[bytes, Callable[[bytes, int], Encoded]] = {
    PNG_MAGIC: walk_png,
    JPEG_MAGIC: walk_jpeg,
}

# From hilum.images.unreadable

class UnreadableFilm(DataError):  # noqa: N818 - named after the film
    """A film cannot be read.

    Attributes:
        reason: One of a handful of short phrases, fit for counting: "missing", "empty", "not a PNG,
            JPEG or DICOM image", "truncated", "damaged", "zero size", "too many pixels", "too many
            chunks", "too many markers", "too many scans", "not a plain file", "unreadable", "not
            supported".
        detail: Details, or an empty string. Never a path.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

# From hilum.images.read

MAX_PIXELS = 100_000_000
"""Default limit of pixels; a large mammograph has 30 million."""

MARKER_SHARE = 0.01
"""Largest share of samples that count as markers whatever their values; see ``bulk_bits``."""

_JPEG_DAMAGE = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS)[^\n]*"
)

_BLOCK = 2**19
"""Samples that are looked at together, in little memory; OpenCV counts exactly up to 2^24."""

NO_MEMORY = -4
"""OpenCV's code of an error for want of memory."""

_MEMORY = re.compile(rb"(?i)(?:insufficient|out of|failed to allocate) (?:memory|\d+ bytes)")
"""What libjpeg and libpng say then."""

_ERROR_OUTPUT = threading.Lock()

def decode_grey(
    data: bytes, max_pixels: int = MAX_PIXELS, *, keep_damaged: bool = False
) -> np.ndarray:
    """Return an encoded PNG or JPEG as grey, uint8 [H, W]; see `read_grey`.

    Args:
        data: The file's content.
        max_pixels: The most pixels that the film may have.
        keep_damaged: Return a JPEG although its decoder reports damaged data.

    Raises:
        UnreadableFilm: As for `read_grey`.
    """
    for magic, walk in CONTAINERS.items():
        if data.startswith(magic):
            encoded = walk(data, max_pixels)
            return to_eight_bits(_decode(encoded.data, keep_damaged), encoded.declared_bits)
    raise UnreadableFilm("not a PNG, JPEG or DICOM image") if data else UnreadableFilm("empty")

def to_eight_bits(grey: np.ndarray, declared_bits: int | None = None) -> np.ndarray:
    """Return grey samples as uint8 [H, W]; 8-bit samples are returned as they are.

    16-bit samples are divided by their full scale, never shifted, for many hold 10 to 15 bits. The
    full scale is ``2 ** bits - 1``, and what exceeds it (a marker) becomes white. The bits are those
    declared if the bulk of the film stays within them; 16 where the bulk exceeds what is declared
    (PNG's own rule: samples scaled up to the whole depth); those of the bulk, by `bulk_bits`, where
    nothing is declared. Files and arrays are scaled alike.

    Args:
        grey: uint8 or uint16, [H, W].
        declared_bits: Significant bits a sample (PNG's sBIT chunk), None if the film has none.
    """
    if grey.dtype == np.uint8:
        return grey
    bits = bulk_bits(grey)
    if declared_bits is not None:
        bits = declared_bits if bits <= max(8, declared_bits) else 16
    full = 2**bits - 1
    scaled = np.empty(grey.shape, np.uint8)
    rows = max(1, _BLOCK // grey.shape[1])
    for top in range(0, len(grey), rows):
        part = np.minimum(grey[top : top + rows], full).astype(np.uint32)
        part *= 255
        part += full // 2
        part //= full
        scaled[top : top + rows] = part
    return scaled

def bulk_bits(grey: np.ndarray) -> int:
    """Return the bits, from 8 to 16, that the bulk of a film uses: the fewest that hold all samples but markers.

    Samples above ``2 ** bits - 1`` are markers if either

    - they are at most 1 % of those above the film's lowest value, and an empty range of at least
      half of ``2 ** bits`` lies below them, or they reach three times ``2 ** bits`` (letters with
      soft edges);
    - they all have one value, which is 65,535 or above three times ``2 ** bits``, and are at most
      90 % (padding, a background at the top).

    The lowest value is not counted, so that a collimator's border is not taken for the bulk.

    Args:
        grey: uint16 [H, W].
    """
    samples, counts = grey.reshape(1, -1), np.zeros(65_536, np.int64)
    for start in range(0, samples.shape[1], _BLOCK):
        part = np.ascontiguousarray(samples[:, start : start + _BLOCK])
        counts += (
            cv2.calcHist([part], [0], None, [65_536], [0, 65_536]).reshape(-1).astype(np.int64)
        )
    values = np.flatnonzero(counts)
    largest, total = int(values[-1]), int(counts[values[1:]].sum())
    for bits in range(8, max(8, largest.bit_length())):
        above = values[values >= 2**bits]
        share = counts[above].sum() / max(1, total)
        apart, far = above[0] >= 1.5 * 2**bits, largest > 3 * 2**bits
        constant = len(above) == 1 and (far or largest == 65_535)
        if (share <= MARKER_SHARE and (apart or far)) or (constant and share <= 0.9):
            return bits
    return max(8, largest.bit_length())

def _decode(data: bytes, keep_damaged: bool) -> np.ndarray:
    """Return the decoded grey, uint8 or uint16 [H, W]."""
    # OpenCV's libjpeg prints its warnings and returns a picture: standard error is the only report.
    with _ERROR_OUTPUT, tempfile.TemporaryFile() as report:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            kept = -1
        os.dup2(report.fileno(), 2)
        try:
            grey = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
            )
        except cv2.error as error:
            if error.code == NO_MEMORY:
                raise MemoryError from error
            raise UnreadableFilm("damaged", "the decoder refuses it") from error
        finally:
            if kept < 0:
                os.close(2)
            else:
                os.dup2(kept, 2)
                os.close(kept)
        report_text = os.pread(report.fileno(), 2**16, 0)
    if grey is None and _MEMORY.search(report_text):
        raise MemoryError
    warning = _JPEG_DAMAGE.search(report_text)
    if grey is None or grey.ndim != 2 or grey.dtype not in (np.uint8, np.uint16):
        raise UnreadableFilm("damaged", "the decoder refuses it")
    if warning and data.startswith(JPEG_MAGIC) and not keep_damaged:
        raise UnreadableFilm("damaged", warning[0].decode("ascii", "replace")[:100])
    return grey

# From hilum.images.resize

def resize(film: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the film, uint8 [H, W], at another size: area means to shrink a side, linear interpolation to enlarge it.

    In two calls, since OpenCV's area mode becomes linear (and aliases) if one side is enlarged.
    """
    small = (min(width, film.shape[1]), min(height, film.shape[0]))
    if small != film.shape[::-1]:
        film = cv2.resize(film, small, interpolation=cv2.INTER_AREA)
    if small != (width, height):
        film = cv2.resize(film, (width, height), interpolation=cv2.INTER_LINEAR)
    return film

# From hilum.images.enhance

def keep(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], as it is."""
    return film

def denoise_and_equalise(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], by the published recipe: non-local means, then histogram equalisation.

    OpenCV's own defaults (strength 3, 7 px patches, 21 px search), as the recipe states none.
    """
    return cv2.equalizeHist(cv2.fastNlMeansDenoising(film))

def equalise_locally(film: np.ndarray) -> np.ndarray:
    """Return the film, uint8 [H, W], with contrast-limited adaptive equalisation (limit 2, 8 x 8 tiles)."""
    return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(film)

ENHANCEMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": keep,
    "paper": denoise_and_equalise,
    "clahe": equalise_locally,
}
"""Enhancements of the resized film, by name."""

def squashed_size(_height: int, _width: int, size: int) -> tuple[int, int]:
    """Return the whole square: both sides are brought to ``size``, the aspect ratio is lost."""
    return size, size

def padded_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the height and width of a film whose longer side becomes ``size``, its aspect ratio kept."""
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))

FITS: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "squash": squashed_size,
    "pad": padded_size,
}
"""Ways to make a film square, by name."""

def square_film(grey: np.ndarray, size: int, enhance: str, fit: str) -> np.ndarray:
    """Return a grey film, uint8 [H, W], resized, enhanced and made square, uint8 [size, size].

    Args:
        grey: The film.
        size: Side of the square in pixels.
        enhance: A name of ENHANCEMENTS.
        fit: A name of FITS.
    """
    height, width = FITS[fit](grey.shape[0], grey.shape[1], size)
    film = ENHANCEMENTS[enhance](resize(grey, height, width))
    if (height, width) == (size, size):
        return np.ascontiguousarray(film)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = film
    return square

BATCH = 16

MOST_BYTES = 2**29

def main(arguments: Sequence[str] | None = None) -> int:
    """Write a row for each film; return 1 if one could not be read, 2 if nothing could."""
    parser = argparse.ArgumentParser(description="Probabilities of findings on chest radiographs.")
    parser.add_argument("films", nargs="+", type=Path, help="PNG or JPEG files")
    parser.add_argument("--out", type=Path, help="CSV file to write; printed unless given")
    options = parser.parse_args(arguments)
    folder = Path(__file__).resolve().parent
    try:
        model, session = load(folder)
        failed = 0
        rows = []
        for film, values in predictions(options.films, model, session):
            if isinstance(values, str):
                failed += 1
                sys.stderr.write(f"{film} could not be read: {values}\n")
            else:
                rows.append(
                    [str(film), *(f"{value:.6f}" for value in values), called(values, model)]
                )
        write(rows, model, options.out)
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    return 1 if failed else 0

def load(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return model.json and the session of model.onnx, which must be the one that was exported."""
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # onnxruntime reports to its maker otherwise
    import onnxruntime

    model = json.loads((folder / "model.json").read_text("utf-8"))
    if model["format"] != 2:
        raise ValueError(
            f"{folder} is of another format than this script: take both from one export"
        )
    if model["preparation"].get("fix_polarity"):
        raise ValueError(
            "this model inverts films that look inverted, which needs Hilum: run `hilum predict` on this folder"
        )
    content = (folder / "model.onnx").read_bytes()
    checks = json.loads((folder / "checks.json").read_text("utf-8"))
    if hashlib.sha256(content).hexdigest() != checks["files"]["model.onnx"]["sha256"]:
        raise ValueError(f"{folder / 'model.onnx'} is not what was exported: fetch it again")
    return model, onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

def prepared(path: Path, model: dict[str, Any]) -> np.ndarray:
    """Return a film as the model's training films were prepared, uint8 [side, side]."""
    if not path.is_file():
        raise UnreadableFilm("missing" if not path.exists() else "not a plain file")
    if path.stat().st_size > MOST_BYTES:
        raise UnreadableFilm("too many pixels", f"a file of more than {MOST_BYTES} bytes")
    data = path.read_bytes()
    if data[128:132] == b"DICM":
        raise UnreadableFilm("not supported", "DICOM is read by `hilum predict`")
    steps = model["preparation"]
    return square_film(decode_grey(data, MAX_PIXELS), steps["size"], steps["enhance"], steps["fit"])

def predictions(
    films: Sequence[Path], model: dict[str, Any], session: Any
) -> Iterator[tuple[Path, Any]]:
    """Yield each film with its probabilities (or features), or with the reason why it cannot be read."""
    graph = model["graph"]
    for start in range(0, len(films), BATCH):
        images: dict[Path, np.ndarray] = {}
        faults: dict[Path, str] = {}
        for film in films[start : start + BATCH]:
            try:
                images[film] = prepared(film, model)
            except (UnreadableFilm, OSError, MemoryError, cv2.error) as error:
                faults[film] = " ".join(str(error).split()) or type(error).__name__
        outputs: dict[Path, Any] = dict(faults)
        if images:
            given = {graph["input"]: np.stack(list(images.values()))[:, None]}
            values = session.run([graph["output"]], given)[0].astype(np.float64)
            if not np.isfinite(values).all():
                raise ValueError("the model's output is not finite")
            if model["findings"]:
                values = np.exp(-np.logaddexp(0, -values))  # the sigmoid of the logits
            outputs.update(zip(images, values, strict=True))
        yield from ((film, outputs[film]) for film in films[start : start + BATCH])

def called(values: np.ndarray, model: dict[str, Any]) -> str:
    """Return the findings whose probability reaches their threshold."""
    cuts = [model["thresholds"].get(name) for name in model["findings"]]
    return "|".join(
        name
        for name, value, cut in zip(model["findings"], values, cuts, strict=False)
        if cut is not None and value >= cut
    )

def write(rows: Sequence[Sequence[str]], model: dict[str, Any], out: Path | None) -> None:
    """Write the table; what a spreadsheet takes for a formula gets an apostrophe in front."""
    columns = model["findings"] or [
        f"feature_{number}" for number in range(model["graph"]["width"])
    ]
    text = csv_text(["film", *columns, "called"], rows)
    if out is None:
        sys.stdout.write(text)
        return
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    aside.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    aside.replace(out)

if __name__ == "__main__":
    sys.exit(main())
