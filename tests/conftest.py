"""What every test shares: real data where it lies beside the checkout, and one thread a worker."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# No test measures time: a busy machine must not fail one.
settings.register_profile("hilum", deadline=None)
settings.load_profile("hilum")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real radiographs, or a skip that says so."""
    if not SHARED.is_dir():
        pytest.skip("no real radiographs beside the checkout (../shared/data)")
    return SHARED
