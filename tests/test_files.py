"""Writing files: under their final name whole or not at all, and what is said when it cannot be done."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from histoproto.errors import DataError, OutputError
from histoproto.files import replace_atomically
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
