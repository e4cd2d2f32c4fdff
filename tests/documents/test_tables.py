import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoproto.documents.tables import read_table, safe_cell, write_table
from histoproto.errors import DocumentError

CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8).map(str.strip)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_with_the_lines_of_an_editor(tmp_path, delimiter, encoding):
    text = 'image,tumour\r\n\r\n a.png , 1\r\n"b\r\nb",0\r\n,,\r\nc,1\r\n'.replace("\r\n,,", "\r\n,")
    (tmp_path / "a.csv").write_text(text.replace(",", delimiter), encoding=encoding, newline="")
    table = read_table(tmp_path / "a.csv")
    assert table.header == ["image", "tumour"]
    assert [row["image"] for row in table.rows] == ["a.png", "b\r\nb", "c"]
    assert table.lines == [3, 4, 7]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("\n , \n", "is empty"),
        ("a,a\n1,2", "line 1: .*'a' is there twice"),
        ("a,,b\n1,2,3", "one has none"),
        ("a,b\n\n1,2,3", "line 3: found 3 cells, expected 2"),
        ('a,b\n"x"y,2', "line 2: this is no CSV"),
        ('a,b\n1,"2\n3', "line 2: this is no CSV"),
        ("a\n" + "x" * 200_000, "line 2: this is no CSV"),
        ("a,b\n1,\0", "line 2: there is a NUL"),
        ("a,b\n1,\x1b[31m", "line 2: there is the control character"),
        (",".join(map(str, range(2000))), "2000 columns"),
    ],
)
def test_what_is_refused(tmp_path, text, what):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match=f"a\\.csv.*{what}"):
        read_table(tmp_path / "a.csv")


@given(st.lists(st.tuples(CELL, CELL), max_size=5))
def test_what_is_written_comes_back_and_is_no_formula(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "a.csv"
    write_table(path, ["=a", "b"], rows)
    with path.open(encoding="utf-8", newline="") as file:
        assert not [cell for row in csv.reader(file) for cell in row if cell[:1] in "=@" and cell[:1]]
    table = read_table(path)
    assert table.header == ["=a", "b"]
    assert [tuple(row.values()) for row in table.rows] == [row for row in rows if any(row)]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "-", "-=1"])
def test_formulas(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, "-1.5", "+3", "-1e-5", "a=1", "'a", None, "-inf"])
def test_numbers_and_text_stay(value):
    assert safe_cell(value) == ("" if value is None else str(value))


def test_commands_to_a_terminal_are_spelt_out(tmp_path):
    write_table(tmp_path / "t.csv", ["a"], [["\x1b[2J\x00\x9b \u200e\n"]])
    assert read_table(tmp_path / "t.csv").rows == [{"a": "\\x1b[2J\\x00\\x9b \u200e"}]
