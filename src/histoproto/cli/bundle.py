"""What a report of a fault needs, in one zip that can be sent: versions, settings, the last logs; no images, no names.

Names of slides and patients live in paths, so every path is cut down to a mark that is the same wherever the same path
stands; the names of the user and of the machine go as well. Only text is taken, never an image or a weight.
"""

from __future__ import annotations

import getpass
import hashlib
import platform
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from histoproto.errors import OutputError, RunError
from histoproto.files import replace_atomically
from histoproto.ledger import own

KEPT_OF_A_RUN = ("config.yaml", "history.csv", "begun.json")
"""Files of a run folder that hold settings and losses."""
LAST_LINES, LAST_BYTES = 400, 2**20
"""Of each log."""
_PATH = re.compile(
    r"""(?P<quoted>['"])(?=[^'"\n]*[\\/])[^'"\n]+(?P=quoted)  # anything with a slash between quotes
    | (?:[A-Za-z]:)?[^\s'"=,;:()\[\]]*[\\/][^\s'",;:()\[\]]*  # or without blanks
    | [^\s'"=,;:()\[\]\\/]+\.(?:svs|tiff?|ndpi|mrxs|dcm|czi|scn|png|jpe?g|geojson|csv|json|zip)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_OURS = re.compile(r"(?:site-packages|dist-packages|src)[\\/](?P<rest>[\w\\/.-]+\.py)$|[\\/](?P<own>\w+\.py)$")


def write_bundle(file: Path, findings: Iterable[str], run: Path | None = None) -> Path:
    """Write the bundle.

    Args:
        file: a `.zip`.
        findings: lines of what `doctor` found.
        run: a run folder whose settings, history and logs belong to the fault.

    Raises:
        OutputError: the file is no zip, cannot be written, or is there already and not of our making.
        RunError: there is no such run folder.
    """
    if file.suffix != ".zip":
        raise OutputError(f"{file}: a bundle ends in .zip")
    if run is not None and not run.is_dir():
        raise RunError(f"there is no run folder {run}")
    with (
        own(file),
        replace_atomically(file) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr("doctor.txt", without_names("\n".join(findings) + "\n"))
        for name, text in _logs(run):
            archive.writestr(name, without_names(text))
    return file


def without_names(text: str) -> str:
    """The text without paths, the user's name and the machine's.

    >>> without_names("cannot read /data/Smith_John/s1.svs") == without_names("cannot read /data/Smith_John/s1.svs")
    True
    >>> "Smith" in without_names("cannot read '/data/Smith John/s1.svs', nor Smith.tif")
    False
    """
    text = _PATH.sub(_mark, text)
    names = [Path.home().name, platform.node()]
    with suppress(Exception):  # no such user, as in a container
        names.append(getpass.getuser())
    for name in names:
        if len(name) > 1:
            text = re.sub(rf"\b{re.escape(name)}\b", "…", text)
    return text


def _mark(found: re.Match[str]) -> str:
    """A file of a program keeps its name, which a trace needs; of all others, only the ending stays."""
    path = found.group().strip("'\"")
    if code := _OURS.search(path):
        return code["rest"] or code["own"]
    mark = hashlib.sha256(path.encode()).hexdigest()[:6]
    ending = Path(path).suffix
    return f"‹path {mark}{ending if ending.isascii() and len(ending) < 9 else ''}›"


def _logs(run: Path | None) -> Iterator[tuple[str, str]]:
    traces = sorted(Path(tempfile.gettempdir()).glob("histoproto-*.txt"), key=lambda path: path.stat().st_mtime)
    for path in traces[-1:]:
        yield "last-fault.txt", _tail(path)
    if run is not None:
        for name in KEPT_OF_A_RUN:
            if (run / name).is_file():
                yield f"run/{name}", _tail(run / name)
        logs = [*run.glob("*.log"), run.with_name(f"{run.resolve().name}.log")]
        for number, path in enumerate(path for path in logs if path.is_file()):
            yield f"run/log-{number}.txt", _tail(path)


def _tail(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_BYTES))
        lines = file.read(LAST_BYTES).decode("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:]) + "\n"
    return "cannot be read\n"
