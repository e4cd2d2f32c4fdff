"""Nothing that is done here is told to anyone: no socket, and nothing in the user's home folder."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import tiny_run
from histoproto.inference.export import export_model
from histoproto.privacy import SWITCHES, switch_telemetry_off
from silence import assert_silent, needs_seccomp, run_silently

RESOLVE = "import socket; socket.getaddrinfo('localhost', 80); socket.socket(socket.AF_INET)"
ONNX = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    root = tmp_path_factory.mktemp("privacy")
    export_model(tiny_run(root / "run", mpp=0.5), root / "exported", "onnx")
    return root / "exported"


def test_the_watch_sees_a_socket(tmp_path: Path) -> None:
    needs_seccomp()
    assert run_silently(["-c", RESOLVE], tmp_path).returncode == -signal.SIGSYS
    assert run_silently(["-c", "import socket; socket.socketpair()"], tmp_path).returncode == 0


def test_an_exported_model_tells_nobody(exported: Path, tmp_path: Path) -> None:
    needs_seccomp()
    image = tmp_path / "a.png"
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(image)
    (tmp_path / "home").mkdir()
    command = ["-m", "histoproto", "predict", exported, image, "--out", tmp_path / "out"]
    assert_silent(run_silently(command, tmp_path / "home"))
    assert (tmp_path / "out" / "mask" / "a.png").is_file()
    assert not list((tmp_path / "home").rglob("*"))


def test_the_library_by_itself_would_keep_an_identifier(exported: Path, tmp_path: Path) -> None:
    """What the test above would see if the switch did nothing; newer versions may have thought better of it."""
    run_silently(["-c", ONNX, exported / "model.onnx"], tmp_path, forbid=False)
    if not list(tmp_path.rglob("deviceid")):
        pytest.skip("the installed ONNX Runtime keeps nothing by itself")


def test_a_script_that_imports_the_package_is_silent_whatever_comes_after(exported: Path, tmp_path: Path) -> None:
    needs_seccomp()
    assert_silent(run_silently(["-c", f"import histoproto; {ONNX}", exported / "model.onnx"], tmp_path))
    assert not list(tmp_path.rglob("*"))


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    switch_telemetry_off()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == SWITCHES["RAY_USAGE_STATS_ENABLED"]


ONE_AFTER_THE_OTHER = """
import json, sys
from histoproto.cli import main
for words in json.loads(sys.argv[1]):
    print(*words, file=sys.stderr, flush=True)
    sys.argv = ["histoproto", *words]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""
TINY = ["model.encoder=test_efficientnet", "model.weights=null", "model.prototypes=2", "training.epochs=1"]
TILES = ["--classes", "a,b", "--mpp", "1", "--size", "64"]
SLIDE = ["--width", "512", "--height", "512", "--seed", "1"]
PATCHES = ["--train", "24", "--val", "2", "--test", "4", "--size", "64"]


@pytest.mark.slow
def test_no_other_command_touches_the_network_or_the_home_folder(tmp_path: Path) -> None:
    """All that `docs/network.md` says of; what is allowed there (`doctor`, the hub's encoders, Ray) is left out."""
    needs_seccomp()
    home, data, run = tmp_path / "home", tmp_path / "data", tmp_path / "run"
    home.mkdir()
    settings = [part for setting in TINY for part in ("--set", setting)]
    rows = ["--methods", "cam", "--seeds", "1", "--no-pictures"]
    commands: list[list[object]] = [
        ["data", "phantom", "--out", data, *PATCHES],
        ["data", "check", data],
        ["data", "phantom-slide", "--out", tmp_path / "slide.tif", *SLIDE],
        ["data", "tiles", tmp_path / "slide.tif", "--out", tmp_path / "tiles", *TILES],
        ["data", "cut", data / "test", "--out", tmp_path / "cut", "--size", "32"],
        ["train", data, "--out", run, *settings],
        ["evaluate", run, data, "--protocol", "all"],
        ["predict", run, data / "test" / "img", "--out", tmp_path / "masks"],
        ["segment", run, tmp_path / "slide.tif", "--out", tmp_path / "slides"],
        ["prototypes", run, data, "--out", tmp_path / "prototypes"],
        ["report", run, data],
        ["export", run, "--out", tmp_path / "exported"],
        ["predict", tmp_path / "exported", data / "test" / "img", "--out", tmp_path / "by-onnx"],
        ["compare", data, "--out", tmp_path / "compared", *rows, *settings],
        ["--help"],
    ]
    words = [[str(word) for word in command] for command in commands]
    assert_silent(run_silently(["-c", ONE_AFTER_THE_OTHER, json.dumps(words)], home))
    left = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    # matplotlib's list of the fonts of this machine, as docs/network.md says, and nothing else.
    assert all(path.match(".cache/matplotlib/fontlist-*.json") for path in left), left
