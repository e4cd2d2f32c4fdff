import pytest

from histoproto.documents.yaml_file import parse_yaml, read_yaml
from histoproto.errors import DocumentError


def test_plain_values():
    text = "a: 1\nb: [1.5, no, null, 'x']\nc: {d: 2001-02-03, e: .inf}"
    assert parse_yaml(text, "it") == {"a": 1, "b": [1.5, False, None, "x"], "c": {"d": "2001-02-03", "e": float("inf")}}
    assert parse_yaml("", "it") is None
    assert parse_yaml("2001-99-99", "it") == "2001-99-99"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &x [1]\nb: *x", r"line 2: aliases \(\*x\)"),
        ("a: 1\nb:\n  a: 1\n  a: 2", "line 4: the key 'a' is there twice"),
        ("{1: 2, 1.0: 3}", "twice"),
        ("? [1]\n: 2", "line 1: a key must be"),
        ("[" * 33, "more than 32 levels"),
        ("[" * 100_000, "more than 32 levels"),
        ("{a: " * 5_000, "more than 32 levels"),
        ("- " * 5_000 + "1", "more than 32 levels"),
        ("9" * 6000, "a number is too long"),
        ("!!int x", "a number is too long"),
        ("!!timestamp x", "a number is too long"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a\0b", "cannot be read as YAML: unacceptable"),
        ("a: [", "line 1"),
        ("a: b: c", "line 1: mapping values are not allowed"),
        ("--- 1\n--- 2", "line 2"),
        ('"\\ud800"', "half a character"),
        ("x" * 300_000, "more than 256 KiB"),
    ],
)
def test_what_is_refused(text, what):
    with pytest.raises(DocumentError, match=f"^it.*{what}"):
        parse_yaml(text, "it")


def test_a_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1\nb: 2", encoding="utf-16")
    with pytest.raises(DocumentError, match=r"a\.yaml, line 2"):
        read_yaml(tmp_path / "a.yaml")
