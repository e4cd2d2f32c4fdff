from __future__ import annotations

import io
import subprocess
import sys

import pytest

from histoproto.cli.terminal import terminal
from histoproto.printable import PrintableStream, one_line, printable, printable_streams

ODD = "a\x1b[2J\x9b31m\u202eb\x07"
SEEN = "a\\x1b[2J\\x9b31m\\u202eb\\x07"


def test_commands_are_spelt_out() -> None:
    assert printable(ODD) == SEEN
    assert printable("\n\t\r ä 組織 🫀") == "\\n\\t\\r ä 組織 🫀"
    assert one_line(f" {ODD}\r\n\tb ") == f"{SEEN} b"


def test_streams_spell_out_what_is_printed_and_let_rich_work() -> None:
    stream = PrintableStream(io.BytesIO(), "utf-8")
    stream.write(f"{ODD}\n\tb")
    stream.rich_proxied_file.write("\x1b[1mbold")
    stream.flush()
    assert stream.buffer.getvalue().decode() == f"{SEEN}\n\tb\x1b[1mbold"


def test_tables_spell_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("x", title=ODD)
    table.add_row(Text(ODD))
    table.add_row(ODD)
    terminal().print(table)
    out = capsys.readouterr().out
    assert out.count("a\\x1b[2J") == 3  # cells that were measured before are cut off
    assert not set(out) & {"\x1b", "\x9b", "\u202e"}


def test_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    with printable_streams():
        pass
    assert (sys.stdout, sys.stderr) == before


def test_a_name_that_the_terminal_cannot_show() -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    code = f"from histoproto.printable import *\nwith printable_streams(): print({ODD!r}, '組')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout.decode() == f"{SEEN} \\u7d44\n"
