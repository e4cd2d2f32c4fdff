from __future__ import annotations

import os
from pathlib import Path

import pytest

from histoproto.data.staging import refuse_if_filled
from histoproto.errors import OutputError


def test_what_is_in_the_way_of_results_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        refuse_if_filled(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for path in (tmp_path / "pipe", tmp_path / "dead", tmp_path / "file", Path("/dev/null")):
        with pytest.raises(OutputError, match="is there already"):
            refuse_if_filled(path)
