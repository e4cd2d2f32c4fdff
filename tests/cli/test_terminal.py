import pytest
from rich.table import Table

from histoproto.cli.terminal import progress_bars, terminal

ODD = "[/x][red]:smile:"


def test_no_text_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(ODD, title=ODD, caption=ODD)
    table.add_row(ODD)
    terminal().print(table)
    terminal().print(ODD)
    assert capsys.readouterr().out.count(ODD) == 5


def test_no_name_of_a_bar_is_markup() -> None:
    with progress_bars() as bars:
        bars.add_task(ODD, total=1)
        assert any(ODD in str(cell) for column in bars.make_tasks_table(bars.tasks).columns for cell in column.cells)
