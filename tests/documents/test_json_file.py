import gzip
import json

import pytest

from histoproto.documents.json_file import parse_json, read_json
from histoproto.errors import DocumentError


def test_plain_values(tmp_path):
    value = {"a": [1, 2.5, -1e-300, None, True], "b": {"ä": "[[[{{{" * 10 + "]]]}}}" * 10}, "c": "😀"}
    (tmp_path / "a.json").write_text(json.dumps(value), encoding="utf-8")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(value, ensure_ascii=False).encode("utf-16")))
    assert read_json(tmp_path / "a.json") == read_json(tmp_path / "a.json.gz", unpack=True) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "line 1: .* so it is no JSON"),
        ('{"a": 1,\n"b" 2}', "line 2: .* so it is no JSON"),
        ('{"a": 1, "a": 2}', "the name 'a' is there twice"),
        ("[NaN]", "NaN is no number in JSON"),
        ("-Infinity", "-Infinity is no number"),
        ("1e999", "too large"),
        ("9" * 400, "400 digits"),
        ("9" * 5000, "5000 digits"),
        ("[" * 65 + "]" * 65, "more than 64 levels"),
        ("[" * 100_000, "more than 64 levels"),
        ('{"a":' * 100_000, "more than 64 levels"),
        (r'["\ud800"]', "half a character"),
    ],
)
def test_what_is_refused(text, what):
    with pytest.raises(DocumentError, match=f"^it.*{what}"):
        parse_json(text.encode(), "it")


def test_pairs_of_surrogates_are_one_character():
    assert parse_json(rb'"\ud83d\ude00"', "it") == "😀"
    assert parse_json(b"9" * 300, "it") == int("9" * 300)


@pytest.mark.parametrize("piece", ["[],", "{},", '"",', "1,"])
def test_memory_is_counted_before_it_is_taken(monkeypatch, piece):
    monkeypatch.setattr("histoproto.documents.json_file.MEMORY", 1 << 20)
    assert len(parse_json(f"[{piece * 1000}1]".encode(), "it")) == 1001
    with pytest.raises(DocumentError, match="memory"):
        parse_json(f"[{piece * 40_000}1]".encode(), "it")
