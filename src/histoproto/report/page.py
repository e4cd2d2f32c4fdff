"""Rendering a template of `templates/` into one HTML file without links to anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from histoproto.files import replace_atomically
from histoproto.ledger import own
from histoproto.version import __version__


def render(path: Path, template: str, **content: Any) -> Path:
    """Write a page from one of the templates, atomically; what is put in is escaped.

    Raises:
        OutputError: the file cannot be written, or is there and not of HistoProto's making.
    """
    environment = Environment(
        loader=PackageLoader("histoproto.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(version=__version__, **content)
    with own(path), replace_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
