"""Methods, encoders and teachers that other packages bring, found by their entry points.

A package names them in its `pyproject.toml`, in the groups `histoproto.methods`, `histoproto.encoders` and
`histoproto.teachers`; `docs/extending.md` has an example. Nothing is imported before its name is asked for, and a name
of our own always means our own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar

from histoproto.errors import HistoProtoError, SettingError

Kind = Literal["method", "encoder", "teacher"]
KINDS: tuple[Kind, ...] = ("method", "encoder", "teacher")

Built = TypeVar("Built")

_log = logging.getLogger(__name__)


def offered(kind: Kind) -> dict[str, str]:
    """The package, with its version, of everything of a kind that other packages offer, by name; imports nothing."""
    return {entry.name: _package(entry) for entry in entry_points(group=f"histoproto.{kind}s")}


def find(kind: Kind, name: str) -> Any | None:
    """What another package offers under this name; None if none does.

    Raises:
        SettingError: two packages offer it, or it cannot be imported.
    """
    found = {(_package(entry), entry.value): entry for entry in entry_points(group=f"histoproto.{kind}s", name=name)}
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(package for package, _ in found)
        raise SettingError(
            f"the {kind} {name!r} is offered by more than one package ({packages}); uninstall all but one"
        )
    (entry,) = found.values()
    return sound(kind, name, entry.load)


def sound(kind: Kind, name: str, work: Callable[[], Built]) -> Built:
    """What `work`, which is of the package that offers `name`, returns; whatever goes wrong in it is one sentence.

    Raises:
        SettingError: it failed. Errors that are the user's to mend pass as they are.
    """
    try:
        return work()
    except HistoProtoError:
        raise
    except Exception as error:  # anything can be wrong in code that is not ours
        raise broken(kind, name, f"fails with {type(error).__name__}: {error}") from error


def broken(kind: Kind, name: str, reason: str) -> SettingError:
    """The error that says what is wrong with something of another package."""
    package = offered(kind).get(name, "unknown")
    return SettingError(f"the {kind} {name!r} of the package {package} {reason}; mend or uninstall that package")


def warn_if_hidden(kind: Kind, name: str) -> None:
    """Say that a package offers something under a name of our own, which is not used."""
    if package := offered(kind).get(name):
        _log.warning(
            "the package %s offers a %s %r, which is a name of HistoProto's own; HistoProto's is used",
            package,
            kind,
            name,
        )


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
