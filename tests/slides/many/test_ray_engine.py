"""The same batch on a cluster of two machines (both of them here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_run
from histoproto.data.images import write_image
from histoproto.errors import SettingError
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.task import SlideTask


@pytest.fixture
def tasks(tmp_path: Path) -> list[SlideTask]:
    """Four slides, one of them cut off."""
    paths = [tmp_path / "slides" / f"{name}.png" for name in "abcd"]
    for path in paths:
        write_image(path, np.full((90, 120, 3), (200, 30, 90), dtype=np.uint8))
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    return [SlideTask(path, mpp=0.5) for path in paths]


@pytest.mark.slow
def test_two_machines(tasks: list[SlideTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # at Ray's 15, a busy machine starts no worker for minutes
    run, out = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out"
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    try:
        cluster.add_node(num_cpus=1, num_gpus=0)
        cluster.wait_for_nodes()
        report = segment_slides(run, tasks, out, engine="ray", address=cluster.address, device="cpu")
        assert {outcome.job.name: outcome.state for outcome in report.outcomes} == {
            "a": "done",
            "b": "failed",
            "c": "done",
            "d": "done",
        }
        assert "b.png" in report.failed[0].sentence
        assert {path.name for path in out.iterdir() if path.is_dir()} == {"a", "c", "d"}
        assert {path.name for path in out.glob(".*")} <= {".histoproto"}
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_no_cluster_at_that_address(tasks: list[SlideTask], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    run = tiny_run(tmp_path / "run", mpp=0.5)
    with pytest.raises(SettingError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        segment_slides(run, tasks, tmp_path / "out", engine="ray", address="127.0.0.1:1")


def test_without_ray(tasks: list[SlideTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    run = tiny_run(tmp_path / "run", mpp=0.5)
    with pytest.raises(SettingError, match=r"pip install 'histoproto\[ray\]'"):
        segment_slides(run, tasks, tmp_path / "out", engine="ray")
    with pytest.raises(SettingError, match="add --engine ray"):
        segment_slides(run, tasks, tmp_path / "out", address="auto")
