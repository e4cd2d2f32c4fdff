"""Every command line and every setting that the documentation names is one that there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_lines import COMMANDS, parse_words
from histoproto.config import Settings, load_settings
from histoproto.errors import HistoProtoError
from histoproto.methods.registry import PRESETS
from places import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = {"extending.md"}  # whose method and encoder come from the package that it shows
GROUPS = [name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")]
PARTS_OF_A_WHOLE = ("missing argument", "missing option", "missing parameter", "requires an argument")
END = {"|", "||", "&&", "&", ";", ">", ">>", "<", "(", ")"}


def blocks(text: str) -> Iterator[str]:
    """What stands in fences, whatever its language."""
    yield from re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def inline(text: str) -> Iterator[str]:
    """What stands between backticks in running text, also over the end of a line."""
    outside = re.sub(r"^ *```[^\n]*\n.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", outside):
        yield " ".join(found.split())


def calls(script: str) -> Iterator[list[str]]:
    """The words behind each `histoproto` in lines of a shell.

    >>> list(calls("A=1 histoproto train D --out R # quickly\\nfor x in a; do histoproto report R | head; done"))
    [['train', 'D', '--out', 'R'], ['report', 'R']]
    """
    for line in script.replace("\\\n", " ").splitlines():
        if "histoproto" not in line:
            continue
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.commenters, lexer.whitespace_split = "#", True
            words = list(lexer)
        except ValueError:
            continue  # no line of a shell
        starts = [i for i, word in enumerate(words) if re.fullmatch(r"(?:\S*/)?histoproto", word)]
        for start in starts:
            before = words[start - 1] if start else ";"
            if not (before in END or before in {"do", "time", "then", "-m", "$", "nice"} or "=" in before):
                continue
            end = next((i for i in range(start + 1, len(words)) if words[i] in END), len(words))
            yield words[start + 1 : end]


def wrong(words: list[str], whole: bool) -> str | None:
    """What is wrong with a command line; a part of one may leave out what is needed, or name a command alone."""
    if not words or words[0] in {"--help", "--version", "--install-completion", "--show-completion"}:
        return None
    if "…" in words:  # a value that is left out, or more of the line
        words = [word for word, before in zip(words, ["", *words], strict=False) if word != "…" or before[:2] == "--"]
        whole = False
    # A variable of the shell, and what stands for any value.
    words = [re.sub(r"\$\{?\w+\}?|(?<![\w./-])[A-Z]+$", "1", word) for word in words]
    if not whole and any(path == " ".join(words) or path.startswith(f"{' '.join(words)} ") for path in COMMANDS):
        return None
    try:
        given = parse_words(words)
        overrides = list(given.get("overrides") or ())
        method = given.get("method")
        settings_of([*([f"method={method}"] if isinstance(method, str) else []), *overrides])
    except KeyError:
        return "no such command"
    except HistoProtoError as error:
        return str(error)
    except Exception as error:  # click's and typer's own, which have no common name
        said = str(getattr(error, "format_message", error.__str__)())
        if not whole and any(part in said.lower() for part in PARTS_OF_A_WHOLE):
            return None
        return said
    return None


def settings_of(overrides: list[str]) -> Settings:
    return load_settings(overrides=overrides, presets=PRESETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_line_is_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = [(words, True) for block in blocks(text) for words in calls(block)]
    found += [(words, False) for code in inline(text) if code.startswith("histoproto ") for words in calls(code)]
    faults = {" ".join(words): fault for words, whole in found if (fault := wrong(words, whole))}
    if page.name in OTHERS:
        faults = {line: fault for line, fault in faults.items() if "sure-cam" not in line}
    assert not faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_setting_is_one(page: Path) -> None:
    names, faults = "|".join(GROUPS), {}
    for code in inline(page.read_text(encoding="utf-8")):
        for key, value in re.findall(rf"(?<![\w./-])((?:{names})\.[a-z]\w*)(?:=([^\s`,;'\"]+))?", code):
            group, _, name = key.partition(".")
            known = Settings.model_fields[group].annotation.model_fields  # type: ignore[union-attr]
            if name not in known:
                if (ROOT / "src" / "histoproto" / group).is_dir() or name in {"json", "safetensors", "onnx", "zip"}:
                    continue  # a module or a file of that name
                faults[code] = f"no setting {key}"
            elif value and not re.search(r"[A-Z…{]|^\W+$", value):
                try:
                    load_settings(overrides=[f"{key}={value.rstrip('.')}"])
                except HistoProtoError as error:
                    if "needs" not in str(error):  # another setting beside it
                        faults[code] = str(error)
    assert not faults


def test_every_benchmark_and_test_that_is_named_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\b(?:benchmarks|tests)/[\w/]+\.(?:py|sh)", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page.name} names {name}"


def test_what_is_wrong_is_found() -> None:
    assert wrong(["segment", "RUN", "S", "--out", "O", "--overlap", "3"], True)
    assert wrong(["segment", "RUN", "S", "--out", "O", "--nosuch"], False)
    assert wrong(["segmnt", "RUN"], False) == "no such command"
    assert wrong(["train", "D", "--out", "R", "--set", "model.prototype=3"], True)
    assert wrong(["segment", "RUN"], True)
    assert wrong(["segment", "RUN"], False) is None
    assert not wrong(["train", "D", "--out", "R", "--set", "model.prototypes=3"], True)
