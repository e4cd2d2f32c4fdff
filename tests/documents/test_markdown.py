from histoproto.compare.table import markdown_table


def test_cells_are_shown_as_they_are() -> None:
    lines = markdown_table(["a|b"], [["[x](javascript:1)\n<b>"], ["lpd+decoder ± 0.5"]]).splitlines()
    assert lines == ["| a\\|b |", "| --- |", "| \\[x\\](javascript:1) \\<b\\> |", "| lpd+decoder ± 0.5 |"]
