import pytest
import typer
from typer.testing import CliRunner

from histoproto.cli.app import app
from histoproto.cli.checks import CheckedCommand
from histoproto.errors import SettingError


@pytest.fixture
def checked() -> typer.Typer:
    from pathlib import Path

    application = typer.Typer()

    @application.command(cls=CheckedCommand)
    def one(
        number: float = 1.0, count: int = 1, text: str = "x", path: Path = Path("x"), many: list[Path] | None = None
    ) -> None:
        typer.echo("done")

    return application


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--number", "nan", "--number is nan, no finite number"),
        ("--number", "-inf", "no finite number"),
        ("--number", "5e9", "larger than any"),
        ("--count", "9" * 30, "--count is 99999.*, larger than any"),
        ("--count", "-" + "9" * 400, "larger than any"),
        ("--number", "9" * 400, "no finite number"),
        ("--text", "a\nb", r"control character '\\n'"),
        ("--text", "\x1b[31m", "control character"),
        ("--text", "\udcff", "not UTF-8"),
        ("--path", "", "a path is empty"),
        ("--path", "a/" + "x" * 256, "longer than the 255 bytes"),
        ("--path", "a/" + "ü" * 128, "longer than the 255 bytes"),
        ("--many", "a\udcffb", "--many is 'a\\\\udcffb'"),
    ],
)
def test_what_is_no_option(checked: typer.Typer, option: str, value: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        CliRunner().invoke(checked, [option, value], catch_exceptions=False)


@pytest.mark.parametrize("options", [["--number", "-3"], ["--text", ""], ["--text", "é" * 999], ["--path", "."]])
def test_what_is_one(checked: typer.Typer, options: list[str]) -> None:
    assert CliRunner().invoke(checked, options).output == "done\n"


def test_a_file_that_ends_early_is_not_aborted() -> None:
    application = typer.Typer()

    @application.command(cls=CheckedCommand)
    def one() -> None:
        raise EOFError("Ran out of input")

    with pytest.raises(RuntimeError, match="Ran out of input"):
        CliRunner().invoke(application, catch_exceptions=False)


def test_all_commands_are_checked() -> None:
    groups = [app, *(group.typer_instance for group in app.registered_groups)]
    assert all(issubclass(command.cls, CheckedCommand) for group in groups for command in group.registered_commands)
