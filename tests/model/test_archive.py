"""A model in one zip: whole, read by everything, and unable to write anywhere."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fakes import tiny_run
from histoproto.cli.app import app
from histoproto.errors import OutputError, RunError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.strangeness import Strangeness, fit_spread
from histoproto.model import archive
from histoproto.model.archive import MEMBERS, opened, unpack, unpack_beside, write_archive
from histoproto.model.publishing import push
from histoproto.model.saving import FAMILIAR_FILE, load_model, write_card


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tiny_run(tmp_path / "run", mpp=1.0)


def test_a_zip_gives_the_same_masks(run: Path, tmp_path: Path) -> None:
    file = write_archive(run, tmp_path / "model.zip")
    with zipfile.ZipFile(file) as content:
        assert set(content.namelist()) == set(MEMBERS) - {FAMILIAR_FILE}
        page = content.read("README.md").decode()
    assert page.startswith("---\nlicense: other\n")
    assert "red, green, blue" in page
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one, other = (Segmenter.load(path, "cpu").segment(image) for path in (run, file))
    np.testing.assert_array_equal(one.scores, other.scores)  # type: ignore[union-attr]
    again = write_archive(file, tmp_path / "again.zip")
    assert opened(again) != opened(file)


def test_a_zip_carries_what_is_known_of_the_training_patches(run: Path, tmp_path: Path) -> None:
    network, card = load_model(run)
    width = network.class_maps(torch.zeros(1, 3, 64, 64)).pooled.shape[1]  # type: ignore[union-attr]
    spreads = tuple(fit_spread(torch.randn(40, many)) for many in (width, 3, 1))
    familiar = Strangeness(spreads, (2.0, 2.0, 2.0)).save(run, "a test")
    write_card(run, card.model_copy(update={"familiar": familiar}))
    file = write_archive(run, tmp_path / "model.zip")
    with zipfile.ZipFile(file) as content:
        assert set(content.namelist()) == set(MEMBERS)
    assert Segmenter.load(file, "cpu").strangeness is not None


def test_what_was_replaced_is_unpacked_again(run: Path, tmp_path: Path) -> None:
    file = write_archive(run, tmp_path / "model.zip")
    first = opened(file)
    write_archive(tiny_run(tmp_path / "other"), file)
    assert opened(file) != first


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../outside", r"'\.\./\.\./outside', which is no part of a model"),
        ("/tmp/outside", "no part of a model"),
        ("model.pt", "no part of a model"),
        ("model.json", "no part of a model"),  # twice
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_zip_with_anything_else_is_refused(name: str, reason: str, run: Path, tmp_path: Path) -> None:
    file = write_archive(run, tmp_path / "model.zip")
    with zipfile.ZipFile(file, "a") as content:
        content.writestr(name, "x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=reason):
        unpack(file, tmp_path / "deep" / "folder")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_without_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(RunError, match="cannot be read as a zip"):
        Segmenter.load(tmp_path / "a.zip", "cpu")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as content:
        content.writestr("model.json", "{}")
    with pytest.raises(RunError, match=r"model\.safetensors is missing"):
        Segmenter.load(tmp_path / "b.zip", "cpu")
    file = write_archive(run, tmp_path / "c.zip")
    monkeypatch.setitem(archive.MOST_BYTES, "model.safetensors", 100)
    with pytest.raises(RunError, match="larger than any model"):
        Segmenter.load(file, "cpu")
    with pytest.raises(OutputError, match=r"ends in \.zip"):
        write_archive(run, tmp_path / "model.tar")


def test_commands_that_write_into_a_run_unpack_the_zip_beside_itself(run: Path, tmp_path: Path) -> None:
    file = write_archive(run, tmp_path / "model.zip")
    done = CliRunner().invoke(app, ["report", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (tmp_path / "model" / "report.html").is_file()
    assert f"unpacked to {tmp_path / 'model'}" in done.output
    assert "unpacked" not in CliRunner().invoke(app, ["report", str(file)]).output


def test_a_folder_beside_a_zip_that_is_something_else_is_neither_used_nor_filled(run: Path, tmp_path: Path) -> None:
    file = write_archive(run, tmp_path / "model.zip")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("mine")
    with pytest.raises(RunError, match="does not hold this model"):
        unpack_beside(file)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["README.md"]
    tiny_run(tmp_path / "model")  # of the same sizes, with other weights
    with pytest.raises(RunError, match="does not hold this model"):
        unpack_beside(file)
    shutil.rmtree(tmp_path / "model")
    assert unpack_beside(file) == (tmp_path / "model", True)
    assert unpack_beside(file) == (tmp_path / "model", False)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_told_however_it_is_compressed(method: int, run: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w", method) as file:
        for name in ("model.safetensors", "model.json"):
            file.write(run / name, name)
    unpack(tmp_path / "model.zip", tmp_path / "fine")
    assert (tmp_path / "fine" / "model.json").read_bytes() == (run / "model.json").read_bytes()
    content = bytearray((tmp_path / "model.zip").read_bytes())
    for place in range(100, len(content) - 300, 97):
        content[place] ^= 0xFF
    (tmp_path / "model.zip").write_bytes(content)
    with pytest.raises(RunError, match="may be damaged"):
        unpack(tmp_path / "model.zip", tmp_path / "out")


def test_what_would_fill_the_disk_is_not_unpacked(run: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(run / "model.json", "model.json")
        file.writestr("model.safetensors", bytes(30 << 20))
    with pytest.raises(RunError, match="larger than any model"):
        unpack(tmp_path / "model.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_zip_is_written_over_nothing_else(run: Path, tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_text("mine")
    with pytest.raises(OutputError, match="not of HistoProto's making"):
        write_archive(run, tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_text() == "mine"


class FakeHub:
    """What `push` uses of the hub's library."""

    made: tuple[str, bool] | None = None
    files: dict[str, int]
    error: Exception | None = None

    def __init__(self, library_name: str):
        del library_name

    def create_repo(self, name: str, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        if FakeHub.error:
            raise FakeHub.error
        FakeHub.made = (name, private)
        return f"https://hub/{name}"

    def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
        assert repo_id == FakeHub.made[0]  # type: ignore[index]
        FakeHub.files = {path.name: path.stat().st_size for path in Path(folder_path).iterdir()}


def test_pushing_sends_the_model_and_nothing_else(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (run / "record.json").write_text('{"host": "ward-3"}')
    done = CliRunner().invoke(app, ["export", str(run), "--push", "lab/tissue"], catch_exceptions=False)
    assert "pushed: https://hub/lab/tissue" in done.output
    assert FakeHub.made == ("lab/tissue", True)
    assert set(FakeHub.files) == set(MEMBERS) - {FAMILIAR_FILE}
    assert push(run, "lab/tissue", public=True)
    assert FakeHub.made == ("lab/tissue", False)
    monkeypatch.setattr(FakeHub, "error", ConnectionError("401 Unauthorized\nand more"))
    with pytest.raises(OutputError, match=r"lab/tissue cannot be pushed to \(401 Unauthorized\); is this machine"):
        push(run, "lab/tissue")
    with pytest.raises(SettingError, match="OWNER/NAME, found 'tissue'"):
        push(run, "tissue")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SettingError, match="switched off"):
        push(run, "lab/tissue")
    with pytest.raises(SettingError, match="say where the model goes"):
        CliRunner().invoke(app, ["export", str(run)], catch_exceptions=False)
