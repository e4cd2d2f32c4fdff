"""The command line as one hand wrote it: names, examples, near misses, old spellings, completion, `-v`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import forks
from command_lines import COMMANDS, parse
from forks import histoproto
from histoproto.cli.app import app
from histoproto.cli.command import nearest
from histoproto.cli.examples import EXAMPLES, examples_of
from histoproto.cli.renamed import RENAMED
from histoproto.errors import SettingError

ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process."""
    return forks.run(histoproto, *arguments, environment=ENVIRONMENT | more)


def test_every_command_has_examples_that_it_understands(capsys: pytest.CaptureFixture[str]) -> None:
    assert {line for path in COMMANDS for line in examples_of(path)} == {
        line for each in EXAMPLES.values() for line in each
    }
    for path, command in COMMANDS.items():
        assert examples_of(path)
        for line in examples_of(path):
            assert line.startswith(f"histoproto {path}")
            parse(line)
        assert (
            f"Examples:\n  {examples_of(path)[0]}"
            in command.make_context(path, ["x"], resilient_parsing=True).get_help()
        )
    assert "old spelling" not in capsys.readouterr().err


def test_one_vocabulary() -> None:
    for path, command in COMMANDS.items():
        visible = [param for param in command.params if not getattr(param, "hidden", False)]
        arguments = {param.name: param.metavar for param in visible if param.param_type_name == "argument"}
        options = {name: param for param in visible if param.param_type_name == "option" for name in param.opts}
        assert "out" not in arguments, f"{path}: what is written is --out"
        assert arguments.get("run", "RUN") == "RUN", path
        assert arguments.get("data", "DATA") == "DATA", path
        assert {"--verbose", "-v"} <= set(options), path
        assert all(name == name.lower() and "_" not in name for name in options), path
        if "--out" in options:
            assert options["--out"].metavar in {"OUT", "RUN"}, path


def form(param: Any) -> tuple[Any, ...]:
    """How an option is written: its spellings, its type and range, its default."""
    kind = param.type_descriptor.annotation
    return param.opts, param.secondary_opts, kind, param.min, param.max, param.default


def test_what_means_the_same_is_called_the_same() -> None:
    """Options that two of the commands share are written alike; where a default differs, the help says why."""
    shared: dict[str, dict[str, Any]] = {}
    for path in ("predict", "segment", "evaluate"):
        for param in COMMANDS[path].params:
            if param.param_type_name == "option" and not getattr(param, "hidden", False):
                shared.setdefault(max(param.opts, key=len), {})[path] = param
    shared = {name: seen for name, seen in shared.items() if len(seen) > 1}
    of_the_model = {"--views", "--crf", "--fusion", "--background", "--abstain"}
    assert set(shared) >= of_the_model | {"--out", "--mpp", "--model-mpp", "--device", "--fast", "--verbose"}
    for name, seen in shared.items():
        assert len({str(form(param)) for param in seen.values()}) == 1, name
        assert len({param.name for param in seen.values()}) == 1, name
        if name in {"--mpp", "--model-mpp"}:
            assert all("µm/px of the " in param.help for param in seen.values())
        elif name != "--out":  # which says what is written
            assert len({param.help for param in seen.values()}) == 1, name
        for path, param in seen.items():
            if name in of_the_model:
                assert param.default is None
                assert param.show_default.startswith("protocol's" if path == "evaluate" else "the model's"), (
                    path,
                    name,
                )
    assert "comes from the protocol and not from the model" in COMMANDS["evaluate"].help
    assert "Options that are not given are those saved with the model" in COMMANDS["predict"].help


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("segmnt", "did you mean segment?"),
        ("cut", "did you mean data cut?"),
        ("zzz", "there are demo, "),
        ("data tils", "did you mean tiles?"),
        ("predict RUN x --ouput OUT", "did you mean --out?"),
        ("segment RUN x --out OUT --prob", "did you mean --probabilities?"),
        ("segment RUN x --out OUT --xyz", "histoproto segment --help lists them"),
        ("data tiles x --class a", "did you mean --classes?"),
    ],
)
def test_the_nearest_name_is_told(wrong: str, meant: str) -> None:
    with pytest.raises(SettingError) as told:
        CliRunner().invoke(app, wrong.split(), catch_exceptions=False)
    assert str(told.value).endswith(meant) or meant.endswith(" ")
    assert meant in str(told.value)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("predict RUN x --ouput OUT", "there is no option --ouput; did you mean --out?"),
        ("--frob", "there is no option --frob; histoproto --help lists them"),
        ("data --hlp", "there is no option --hlp; did you mean --help?"),
        ("segment RUN x", "missing option '--out'; see histoproto segment --help"),
        ("segment RUN x --out", "option '--out' requires an argument"),
        ("segment RUN x --out O --engine foo", "invalid value for '--engine': 'foo' is not one of 'local', 'ray'; see"),
        ("segment RUN x --out O --overlap 3", "invalid value for '--overlap': "),
        ("doctor one two", "got unexpected extra argument(s) (one two); see histoproto doctor --help"),
    ],
)
def test_a_wrong_line_is_one_line(wrong: str, sentence: str) -> None:
    """No box, no usage: what all other mistakes look like."""
    done = run(*wrong.split())
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_nearest() -> None:
    assert nearest("--min-fracton", ["--minimum", "--min-fraction"]) == "--min-fraction"
    assert nearest("--q", ["--out"]) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data cut R --out O --minimum 0.2", "data cut R --out O --min-fraction 0.2"),
        ("data tiles S --out O --mpp 1 --tissues=a,b", "data tiles S --out O --mpp 1 --classes=a,b"),
        (
            "data tiles S --out O --mpp 1 --classes a --tissue 0.3",
            "data tiles S --out O --mpp 1 --classes a --min-tissue 0.3",
        ),
        ("evaluate R D --background ignored", "evaluate R D --score-background ignored"),
        ("evaluate R D --background=counted --groups", "evaluate R D --score-background=counted --per-group"),
        ("evaluate R D --find-background glass", "evaluate R D --background glass"),
    ],
)
def test_old_spellings_work_and_say_so(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(f"histoproto {old}") == parse(f"histoproto {new}")
    said = capsys.readouterr().err
    assert said.count("is the old spelling; write --") == (2 if "--groups" in old else 1)


def test_a_new_spelling_that_was_an_old_one_with_another_meaning_is_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("histoproto evaluate R D --background glass")["background"].value == "glass"
    assert not capsys.readouterr().err


def test_everything_renamed_is_gone_from_the_help() -> None:
    for path, command in COMMANDS.items():
        options = {name for param in command.params for name in param.opts}
        for renamed in RENAMED.get(path.split()[-1], ()):
            assert renamed.new in options
            assert renamed.values or renamed.old not in options


@pytest.mark.parametrize("command", ["phantom --train 2 --val 1 --test 1", "phantom-slide --width 300 --height 300"])
def test_the_output_as_an_argument_works_and_says_so(command: str, tmp_path: Path) -> None:
    name, *options = command.split()
    old = run("data", name, str(tmp_path / "old.tif"), *options)
    assert old.returncode == 0, old.stderr
    assert f"write histoproto data {name} --out {tmp_path / 'old.tif'}" in old.stderr
    new = run("data", name, "--out", str(tmp_path / "new.tif"), *options)
    assert new.returncode == 0, new.stderr
    assert "old" not in new.stderr
    for where in ((), (str(tmp_path / "a.tif"), "--out", str(tmp_path / "b.tif"))):
        with pytest.raises(SettingError, match=f"say once where to write: histoproto data {name} --out OUT"):
            CliRunner().invoke(app, ["data", name, *where], catch_exceptions=False)


def test_completion_of_a_shell() -> None:
    def complete(words: str, place: int) -> set[str]:
        asked = {"_HISTOPROTO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        return set(run(**asked).stdout.split())

    assert complete("histoproto s", 1) == {"schema", "segment", "slide", "studio"}
    assert "cut" in complete("histoproto data c", 2)
    assert "--out" in complete("histoproto train DATA --o", 3)
    assert (
        "_HISTOPROTO_COMPLETE"
        in run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    )


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose_shows_where_an_error_comes_from(place: str) -> None:
    words = ["-v", "report", "nowhere"] if place == "before" else ["report", "nowhere", "--verbose"]
    done = run(*words)
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: nowhere holds no ")
    quiet = run("report", "nowhere")
    assert quiet.stderr == done.stderr.splitlines()[-1] + "\n"


def test_verbose_says_what_is_done(tmp_path: Path) -> None:
    import numpy as np

    from fakes import tiny_run
    from histoproto.data.images import write_image

    write_image(tmp_path / "a.png", np.zeros((64, 64, 3), dtype=np.uint8))
    folder = tiny_run(tmp_path / "run")
    said = run("predict", str(folder), str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "-v")
    assert said.returncode == 0
    assert "D histoproto.inference.segmenter: model" in said.stderr
    assert "D " not in run("predict", str(folder), str(tmp_path / "a.png"), "--out", str(tmp_path / "b")).stderr
