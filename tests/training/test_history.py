"""The table of losses, as it is written while a training goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from histoproto.documents.tables import read_table
from histoproto.training.callbacks import History


def test_what_fails_before_its_first_row_leaves_the_table_of_an_earlier_try(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,epoch\n1,1\n", encoding="utf-8")
    history = History(path, interval=1, steps_per_epoch=1, every=60)
    trainer: Any = SimpleNamespace(global_step=0, is_global_zero=True, callback_metrics={}, optimizers=[])
    history.on_exception(trainer, None, RuntimeError())
    assert path.read_text(encoding="utf-8") == "step,epoch\n1,1\n"
    history.rows.append({"step": 7, "epoch": 7, "total": 0.5})
    history.on_exception(trainer, None, RuntimeError())
    assert [row["step"] for row in read_table(path).rows] == ["7"]
