"""The shelf: what is written is read, what is damaged is not, and processes share the work."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from histoproto.data.augment import dihedral
from histoproto.errors import DataError, OutputError
from histoproto.features import filling, views
from histoproto.features.filling import fill
from histoproto.features.place import VARIABLE, clear, features_folder, holdings
from histoproto.features.shelf import Shelf, describe, weights_fingerprint
from histoproto.features.stored import StoredEncoder
from histoproto.model.encoder import Encoder

SIZE = 32


class Pooling(Encoder):
    """Means of the image at three scales, times a weight; counts what it was asked."""

    def __init__(self, weight: float = 1.0):
        super().__init__((3, 3, 3), (0.0,) * 3, (1.0,) * 3, "none")
        self.weight = torch.nn.Parameter(torch.tensor([weight]))
        self.seen = 0

    def features(self, x: Tensor) -> list[Tensor]:
        self.seen += len(x)
        return [self.weight * torch.nn.functional.avg_pool2d(x, stride) for stride in (8, 16, 16)]


def images(count: int = 6) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8))


def shelf_of(place: Path, encoder: Encoder) -> Shelf:
    return Shelf(place, describe(encoder, "pooling", SIZE))


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def test_features_of_every_view_are_those_of_the_encoder(tmp_path: Path) -> None:
    encoder, pictures = Pooling(), images()
    shelf, names = shelf_of(tmp_path, encoder), [views.digest(image) for image in pictures]
    assert fill(shelf, encoder, pictures.__getitem__, names, count=3, jitter=0.2) == 18
    for image, name in zip(pictures, names, strict=True):
        for view in range(3):
            stained = views.stained(image, name, view, 0.2)
            assert (view == 0) == np.array_equal(stained, image)
            turned = dihedral(as_tensor(stained), views.turn(name, view))
            for found, expected in zip(shelf.read(views.key(name, view, 0.2)), encoder(turned[None]), strict=True):
                torch.testing.assert_close(found.float(), expected[0], atol=1e-3, rtol=1e-3)


def test_nothing_is_computed_twice_and_more_can_be_added(tmp_path: Path) -> None:
    encoder, pictures, lines = Pooling(), images(), []
    names = [views.digest(image) for image in pictures]
    fill(shelf_of(tmp_path, encoder), encoder, pictures.__getitem__, names[:4], count=2, tell=lines.append)
    assert len(lines) == 1
    assert "8 views (4 images)" in lines[0]
    seen = encoder.seen
    assert fill(shelf_of(tmp_path, encoder), encoder, pictures.__getitem__, names, count=2) == 4
    assert encoder.seen == seen + 4 + 1  # and one to describe itself
    assert fill(shelf_of(tmp_path, encoder), encoder, pictures.__getitem__, names, count=2) == 0


def test_other_weights_and_normalisation_have_another_shelf(tmp_path: Path) -> None:
    one, two = Pooling(), Pooling(2.0)
    assert shelf_of(tmp_path, one).folder != shelf_of(tmp_path, two).folder
    other = Pooling()
    other.mean += 0.5
    assert weights_fingerprint(other) != weights_fingerprint(one) == weights_fingerprint(Pooling())
    larger = Pooling()
    larger.input_scale = 2.0
    assert weights_fingerprint(larger) != weights_fingerprint(one)


@pytest.mark.parametrize("harm", ["cut", "header", "flipped", "foreign"])
def test_a_damaged_chunk_is_computed_anew(tmp_path: Path, harm: str) -> None:
    encoder, pictures = Pooling(), images()
    names = [views.digest(image) for image in pictures]
    shelf = shelf_of(tmp_path, encoder)
    fill(shelf, encoder, pictures.__getitem__, names)
    (path,) = shelf.folder.glob("*.features")
    content = bytearray(path.read_bytes())
    if harm == "cut":
        content = content[:-10]
    elif harm == "header":
        content[:6] = b"\0" * 6
    elif harm == "flipped":
        content[-3] ^= 1
    else:
        content = bytearray(b"something else")
    path.write_bytes(content)
    again = shelf_of(tmp_path, encoder)
    assert fill(again, encoder, pictures.__getitem__, names) == len(names)
    for image, name in zip(pictures, names, strict=True):
        found = again.read(name)[0].float()
        torch.testing.assert_close(found, encoder(as_tensor(image)[None])[0][0], atol=1e-3, rtol=1e-3)
    assert not shelf_of(tmp_path, encoder).missing(names)


def test_damage_after_the_look_is_one_sentence(tmp_path: Path) -> None:
    encoder, pictures = Pooling(), images()
    names = [views.digest(image) for image in pictures]
    fill(shelf_of(tmp_path, encoder), encoder, pictures.__getitem__, names)
    shelf = shelf_of(tmp_path, encoder)
    (path,) = shelf.folder.glob("*.features")
    with path.open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\xff")
    with pytest.raises(DataError, match="damaged"):
        [shelf.read(name) for name in names]


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    encoder, pictures = Pooling(1e6), images()
    names = [views.digest(image) for image in pictures]
    with pytest.raises(DataError, match="half precision"):
        fill(shelf_of(tmp_path, encoder), encoder, pictures.__getitem__, names)


def _fill_slowly(place: Path, order: int, done: multiprocessing.Queue) -> None:
    filling.CHUNK_BYTES = 2 * 256
    encoder, pictures = Pooling(), images(24)
    names = [views.digest(image) for image in pictures][::order]
    own = dict(zip(names, pictures[::order], strict=True))
    shelf, seen = shelf_of(place, encoder), encoder.seen
    fill(shelf, encoder, lambda index: own[names[index]], names)
    done.put(encoder.seen - seen)


def test_processes_share_the_work(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    done: multiprocessing.Queue = context.Queue()
    processes = [context.Process(target=_fill_slowly, args=(tmp_path, order, done)) for order in (1, -1)]
    for process in processes:
        process.start()
    assert sum(done.get(timeout=60) for _ in processes) == 24
    for process in processes:
        process.join()


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, pictures = Pooling(), images()
    names = [views.digest(image) for image in pictures]
    shelf = shelf_of(tmp_path, encoder)
    usage = type("Usage", (), {"free": 100})
    with monkeypatch.context() as patch:
        patch.setattr(filling.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match="GB free"):
            fill(shelf, encoder, pictures.__getitem__, names)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # writing beyond it fails, as on a full disk
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            fill(shelf, encoder, pictures.__getitem__, names)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(shelf.folder.glob("*.features*"))
    assert fill(shelf, encoder, pictures.__getitem__, names) == len(names)


def test_stored_encoder_looks_up_and_keeps(tmp_path: Path) -> None:
    encoder, pictures = Pooling(), images()
    shelf = shelf_of(tmp_path, encoder)
    stored, batch = StoredEncoder(encoder, shelf), torch.stack([as_tensor(image) for image in pictures])
    seen = encoder.seen
    first, second = stored(batch), stored(batch.flip(0))
    assert encoder.seen == seen + len(batch)
    for a, b, c in zip(first, second, encoder(batch), strict=True):
        torch.testing.assert_close(a, b.flip(0))
        torch.testing.assert_close(a, c, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(stored(batch * 0.9)[0], encoder(batch * 0.9)[0])  # no whole numbers: not looked up
    assert stored(batch[..., :16])[0].shape[-1] == 2


def test_what_is_there_and_clearing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    encoder, pictures = Pooling(), images()
    shelf = shelf_of(features_folder(), encoder)
    fill(shelf, encoder, pictures.__getitem__, [views.digest(image) for image in pictures])
    (found,) = holdings()
    assert found.description == shelf.description == pickle.loads(pickle.dumps(shelf)).description
    assert found.chunks == 1
    assert found.size > 6 * shelf.description.length * 2
    assert json.loads((found.folder / "shelf.json").read_text())["encoder"] == "pooling"
    assert clear([found]) == found.size
    assert not holdings()
