from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from histoproto.errors import DataError
from histoproto.slides.labelling import room
from histoproto.slides.reading.protocol import Level


def slide(width: int, height: int) -> SimpleNamespace:
    return SimpleNamespace(
        path=Path("a.tif"), width=width, height=height, mpp=42.3, levels=(Level(width, height, 1.0),)
    )


def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    monkeypatch.setattr(room, "_memory", lambda: 2**30)
    out = tmp_path / "new" / "out"
    room.check_room(slide(20_000, 30_000), 1.0, 4, 224, 112, out)  # 600 MB, and a quarter more
    with pytest.raises(DataError, match=r"No space left for the map of a\.tif \(20,000 × 60,000 .* 42\.3 µm/px"):
        room.check_room(slide(20_000, 60_000), 1.0, 4, 224, 112, out)
    with pytest.raises(DataError, match=r"40,000 × 60,000 pixels"):  # read at half the µm/px, four times as many
        room.check_room(slide(20_000, 30_000), 0.5, 4, 224, 112, out)
    with pytest.raises(DataError, match=r"No memory for the map .* this machine has 1\.0 GiB"):
        room.check_room(slide(8_000_000, 50), 1.0, 4, 224, 112, out)
    assert not out.exists()
