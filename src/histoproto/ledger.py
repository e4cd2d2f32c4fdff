"""What HistoProto has written into a folder, so that it writes over nothing else.

`.histoproto` of the folder has a line of JSON for each writing: the file, before, and a hash of its content, after. So
a process that was killed in between does not bar the next one, and a file that somebody has changed or put there since
is never lost. Lines are only added, each in one step, as several processes may write into one folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from histoproto.errors import OutputError

LEDGER_FILE = ".histoproto"
_BEGUN = "begun"


class Ledger:
    """The ledger of a folder, which need not be there yet; files may lie deeper in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[str, list[str]] = defaultdict(list)
        try:
            lines = (folder / LEDGER_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            with suppress(ValueError, TypeError, RecursionError):  # torn by a power cut
                name, content = json.loads(line)
                self._known[str(name)].append(str(content))

    def require_own(self, paths: Iterable[Path]) -> None:
        """Make sure that nothing is lost when these files are written.

        Raises:
            OutputError: one is there already and is not, or is no longer, what HistoProto wrote there.
        """
        for path in paths:
            if os.path.lexists(path) and not self.is_own(path):
                what = "was changed since" if self._known.get(self._name(path)) else "is not of HistoProto's making"
                raise OutputError(
                    f"{path} is there already and {what}; nothing is written over it: move it away, or choose another "
                    "place for the results"
                )

    @contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Enter that a file is written in this block.

        Raises:
            OutputError: the ledger cannot be written.
        """
        self._add(path, _BEGUN)
        try:
            yield
        finally:
            with suppress(OSError):  # it could not be written
                self._add(path, _content(path))

    def is_own(self, path: Path) -> bool:
        """Whether a file is as HistoProto wrote it, or was writing it when it was killed."""
        known = self._known.get(self._name(path), [])
        return bool(known) and path.is_file() and (known[-1] == _BEGUN or _content(path) in known)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _add(self, path: Path, content: str) -> None:
        line = "\n" + json.dumps([self._name(path), content])  # the break comes first: the line before may be torn
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LEDGER_FILE).open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise OutputError(f"the folder {self.folder} cannot be written: {error.strerror or error}") from error
        self._known[self._name(path)].append(content)


@contextmanager
def own(path: Path) -> Iterator[None]:
    """Write a file in this block, over nothing but what HistoProto wrote there before (see `Ledger`).

    Raises:
        OutputError: something else is there.
    """
    ledger = Ledger(path.parent)
    ledger.require_own([path])
    with ledger.writing(path):
        yield


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        return "none"
