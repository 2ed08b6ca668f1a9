# Read by gpu_speed.sh and gpu_quality.sh: which Python runs, and what it lacks. Sets PYTHON.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PYTHONPATH="$PWD/src:$PWD/benchmarks" PYTHONUNBUFFERED=1
for PYTHON in "${PYTHON:-}" .venv/bin/python python3; do
  [ -n "$PYTHON" ] && command -v "$PYTHON" >/dev/null && break
done
# Nothing is installed: the machine may have no network. What is missing is named, with the remedy.
"$PYTHON" - <<'CHECK' || exit 1
import importlib.util, sys
needed = "torch timm lightning_fabric safetensors huggingface_hub cyclopts cv2 pyarrow numpy scipy pandas jinja2 imagecodecs yaml pydicom"
missing = [name for name in needed.split() if importlib.util.find_spec(name) is None]
if sys.version_info < (3, 11):
    sys.exit(f"Python {sys.version.split()[0]} is too old: 3.11 or later is needed; PYTHON=... names another")
if missing:
    sys.exit(f"{sys.executable} lacks {', '.join(missing)}: pip install -e . where there is a network, "
             "or pip install --no-index --find-links WHEELS -e . from wheels brought along; PYTHON=... names another Python")
CHECK
