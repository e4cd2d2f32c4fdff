"""What the site has beside the pages in this folder: README as its front, a page per command, and the Python interface.

A hook of MkDocs. Links to files that are no pages of the site become plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from typer.main import get_command

from histoproto.cli.app import app
from histoproto.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "Using a model": ["histoproto.Segmenter", "histoproto.inference.segmenter.Segmentation"],
    "Training and scoring": [
        "histoproto.training.run.train",
        "histoproto.config.load_settings",
        "histoproto.config.Settings",
        "histoproto.evaluation.protocols.evaluate",
        "histoproto.evaluation.protocols.Protocol",
        "histoproto.report.html.write_report",
    ],
    "Data": ["histoproto.data.layouts.open_data", "histoproto.tissue.TissueSet"],
    "Slides": ["histoproto.slides.many.batch.segment_slides", "histoproto.slides.options.SlideOptions"],
    "Packages of your own": [
        "histoproto.methods.base.Method",
        "histoproto.model.encoder.Encoder",
        "histoproto.testing",
        "histoproto.plugins",
    ],
    "Errors": ["histoproto.errors"],
}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """The pages of commands and decisions in the table of contents."""
    parts = {title: pages for entry in config.nav if isinstance(entry, dict) for title, pages in entry.items()}
    parts["Commands"] += [
        {f"histoproto {_name(page)}": page} for page, _ in _command_pages() if not page.endswith("index.md")
    ]
    parts["Inside"] += [f"decisions/{path.name}" for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    return config


def _name(page: str) -> str:
    return Path(page).stem.replace("-", " ", 1) if Path(page).stem.startswith(("data-", "slide-")) else Path(page).stem


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made while the site is built."""
    pages = {"index.md": (ROOT / "README.md").read_text(encoding="utf-8"), "reference.md": _reference()}
    pages |= dict(_command_pages())
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are in the repository, to what is a page here."""
    folder = posixpath.dirname(page.file.src_uri)
    if page.file.src_uri == "index.md":
        markdown = re.sub(r"\]\(docs/", "](", markdown)

    def checked(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, _, _ = target.partition("#")
        if "://" in target or not path:
            return found.group()
        place = posixpath.normpath(posixpath.join(folder, path))
        return found.group() if files.get_file_from_path(place) else text

    return _LINK.sub(checked, markdown)


def _reference() -> str:
    lines = ["# The Python interface", "", "Everything else may change without notice.", ""]
    for title, names in PUBLIC.items():
        lines += [f"## {title}", "", *(f"::: {name}\n" for name in names)]
    return "\n".join(lines)


def _command_pages() -> Iterator[tuple[str, str]]:
    """A page for each command, as the command line describes itself."""
    index = ["# Commands", "", "Each takes `-v` to say what it does, and `--help`.", "", "| command | |", "|---|---|"]
    for path, command in _commands(get_command(app)):
        file = f"{path.replace(' ', '-')}.md"
        help_ = _plain(command.help)
        index.append(f"| [`histoproto {path}`]({file}) | {help_.splitlines()[0]} |")
        yield f"commands/{file}", _command_page(path, command, help_)
    yield "commands/index.md", "\n".join(index) + "\n"


def _commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = f"{above} {name}".strip()
        yield from _commands(command, path) if hasattr(command, "commands") else [(path, command)]


def _command_page(path: str, command: Any, help_: str) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    pieces = " ".join(command.collect_usage_pieces(context)).replace("{", "").replace("}", "")
    lines = [f"# histoproto {path}", "", help_, "", "```", f"histoproto {path} {pieces}", "```", "", "## Examples", ""]
    lines += ["```", *EXAMPLES.get(path.split()[-1], ()), "```", "", "## Arguments and options", ""]
    lines += ["| name | what | default |", "|---|---|---|"]
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
        if param.param_type_name == "argument":
            names = f"`{param.metavar or param.name.upper()}`"
        elif param.metavar:
            names += f" `{param.metavar}`"
        lines.append(f"| {_cell(names)} | {_cell(_plain(param.help or ''))} | {_cell(_default(param))} |")
    return "\n".join(lines) + "\n"


def _default(param: Any) -> str:
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return shown
    if param.required:
        return "required"
    return "" if param.default in (None, False, "", ()) else f"`{getattr(param.default, 'value', param.default)}`"


def _plain(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").strip().splitlines())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
