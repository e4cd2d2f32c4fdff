import gzip
import os

import pytest

from histoproto.documents.content import read_bytes, read_text
from histoproto.errors import DocumentError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_in_the_encoding_of_its_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("größer\n", encoding=encoding)
    assert read_text(tmp_path / "a.txt") == "größer\n"


@pytest.mark.parametrize("content", [b"ok\n\xff\xfegr\xf6\xdfer", b"ok\na\x00b"])
def test_what_is_no_text_is_named_with_its_line(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DocumentError, match=r"a\.txt, line 2.*UTF-8"):
        read_text(tmp_path / "a.txt")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, what in (
        ("pipe", "is a pipe"),
        (".", "Is a directory"),
        ("loop", "symbolic links"),
        ("none", "No such file"),
        ("x" * 300, "too long"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(DocumentError, match=what):
            read_bytes(tmp_path / name)


def test_the_most_is_counted_unpacked(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(1000)))
    assert len(read_bytes(tmp_path / "a", 1000)) == len(read_bytes(tmp_path / "a.gz", 1000, unpack=True)) == 1000
    for name in ("a", "a.gz"):
        with pytest.raises(DocumentError, match="has more than"):
            read_bytes(tmp_path / name, 999, unpack=True)


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:20] + b"\xff" * 9 + c[29:], lambda c: c[:2]])
def test_damaged_gzip(tmp_path, damage):
    (tmp_path / "a.gz").write_bytes(damage(gzip.compress(os.urandom(500))))
    with pytest.raises(DocumentError, match="damaged gzip"):
        read_bytes(tmp_path / "a.gz", unpack=True)
