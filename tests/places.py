"""Where things lie outside of the package."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
REAL = ROOT.parent / "shared" / "data"
"""Real tissue, for tests that skip when it is absent."""
