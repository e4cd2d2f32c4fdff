"""No file is written over that is not, or no longer, what HistoProto wrote there."""

from __future__ import annotations

from pathlib import Path

import pytest

from histoproto.errors import OutputError
from histoproto.ledger import LEDGER_FILE, Ledger, own


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with own(path):
        path.write_text(text)


def test_what_was_written_here_may_be_written_again(tmp_path: Path) -> None:
    for text in ("1", "2", "3"):
        write(tmp_path / "out", "a.csv", text)
    assert (tmp_path / "out" / "a.csv").read_text() == "3"


def test_what_others_wrote_or_changed_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.csv is there already and is not of HistoProto's making"):
        write(tmp_path, "a.csv", "1")
    write(tmp_path, "b.csv", "1")
    (tmp_path / "b.csv").write_text("corrected by hand")
    with pytest.raises(OutputError, match=r"b\.csv is there already and was changed since"):
        write(tmp_path, "b.csv", "2")
    (tmp_path / "c.csv").mkdir()
    (tmp_path / "d.csv").symlink_to(tmp_path / "nowhere")
    for name in "cd":
        with pytest.raises(OutputError, match="is not of"):
            Ledger(tmp_path).require_own([tmp_path / f"{name}.csv"])
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert (tmp_path / "b.csv").read_text() == "corrected by hand"


def test_a_kill_between_file_and_ledger_bars_nobody(tmp_path: Path) -> None:
    path, ledger = tmp_path / "a.csv", Ledger(tmp_path)
    begun = ledger.writing(path)
    begun.__enter__()
    path.write_text("1")  # and killed
    write(tmp_path, "a.csv", "2")
    with (tmp_path / LEDGER_FILE).open("a") as file:
        file.write('\n["a.csv", "torn by a power c')
    write(tmp_path, "a.csv", "3")
    write(tmp_path, "a.csv", "4")
    assert path.read_text() == "4"


def test_what_failed_to_be_written_is_nobodys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), own(tmp_path / "a.csv"):
        raise ValueError("no")
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        write(tmp_path, "a.csv", "1")


def test_two_processes_may_write_the_same_file_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    first, second = Ledger(tmp_path).writing(path), Ledger(tmp_path).writing(path)
    first.__enter__(), second.__enter__()
    path.write_text("1")
    first.__exit__(None, None, None)
    path.write_text("2")
    second.__exit__(None, None, None)
    write(tmp_path, "a.csv", "3")


def test_a_moved_or_copied_folder_keeps_its_ledger(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", "mask/x.png", "1")
    (tmp_path / "a").rename(tmp_path / "c")
    write(tmp_path / "c" / "b", "mask/x.png", "2")
