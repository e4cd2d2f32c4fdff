"""Writing files: under their final name whole or not at all, and what is said when it cannot be done."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from histoproto.errors import DataError, OutputError
from histoproto.files import replace_atomically, reserve, sweep_partial
from histoproto.training.callbacks import Checkpoints


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    def write() -> None:
        with replace_atomically(tmp_path / "weights.bin") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(OutputError, match=r"weights\.bin cannot be written: No space left on device$"):
        write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), DataError("a mistake of the user's")])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error), match="a mistake"), replace_atomically(tmp_path / "weights.bin"):
        raise error


def test_a_checkpoint_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    def save_checkpoint(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(tmp_path, 1, None)
    checkpoints.resume_path.write_bytes(b"former")
    trainer = SimpleNamespace(global_step=1, is_global_zero=True, save_checkpoint=save_checkpoint)
    with pytest.raises(OutputError, match="No space left"):
        checkpoints.on_train_batch_end(trainer, None, None, None, 0)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"former"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("lasting", [False, True])
def test_files_have_the_permissions_of_the_umask_whatever_the_library(
    tmp_path: Path, umask: int, lasting: bool
) -> None:
    former = os.umask(umask)
    try:
        for name, write in WRITERS.items():
            with replace_atomically(tmp_path / name, lasting=lasting) as temporary:
                write(temporary)
    finally:
        os.umask(former)
    found = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert found == dict.fromkeys(WRITERS, oct(0o666 & ~umask))


def private(path: Path) -> None:
    """As `tempfile` writes, and libraries that use it."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    os.close(handle)
    Path(name).replace(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.safetensors": lambda path: save_file({"x": torch.zeros(2)}, path),
    "b.ckpt": lambda path: torch.save({"x": torch.zeros(2)}, path),
    "c.bin": private,
    "d.txt": lambda path: path.write_text("x"),
}


def test_a_lasting_file_is_synchronised_before_and_its_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def fsync(descriptor: int) -> None:
        here = "there" if (tmp_path / "card.json").exists() else "not yet"
        seen.append(f"{'folder' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'file'}, {here}")

    monkeypatch.setattr(os, "fsync", fsync)
    with replace_atomically(tmp_path / "card.json") as temporary:
        temporary.write_text("a")
    assert not seen
    (tmp_path / "card.json").unlink()
    with replace_atomically(tmp_path / "card.json", lasting=True) as temporary:
        temporary.write_text("b")
    assert seen == ["file, not yet", "folder, there"]


def test_the_former_file_is_kept_once_the_new_one_is_whole(tmp_path: Path) -> None:
    path, former = tmp_path / "a", tmp_path / "b"
    for text in "123":
        with replace_atomically(path, former=former) as temporary:
            temporary.write_text(text)
    with pytest.raises(ValueError, match="no"), replace_atomically(path, former=former) as temporary:
        raise ValueError("no")
    assert (path.read_text(), former.read_text()) == ("3", "2")


@pytest.mark.parametrize("able", [True, False])
def test_reserved_space_is_taken_on_the_disk(tmp_path: Path, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not able:
        monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "a"
    path.write_bytes(b"head")
    reserve(path, 3 << 20)
    found = path.stat()
    assert found.st_size == 3 << 20
    assert found.st_blocks * 512 >= 3 << 20
    assert path.read_bytes()[:4] == b"head"


def test_what_has_no_room_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"big \(8192.0 GiB\) cannot be written: .*GiB are free"):
        reserve(tmp_path / "big", 1 << 43)
    assert not list(tmp_path.iterdir())


def test_sweeping_takes_the_half_written_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.12-abcd.partial.png", ".b.12-0123abcd.partial", "a.partial.png", ".hidden", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / ".d.77.partial").mkdir()
    (tmp_path / ".d.77.partial" / "x").touch()
    sweep_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.partial.png", ".hidden", "c.png"}
