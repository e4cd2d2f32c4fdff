"""Errors that a user can cause, each of which says what was found, what was expected and how to mend it.

The command line prints the sentence and exits with code 2; no traceback is shown for any of them.
"""

from histoproto.printable import one_line


class HistoProtoError(Exception):
    """Base of all errors that are a user's to mend. Its text is one clear sentence."""


def sentence(error: HistoProtoError) -> str:
    """The text of an error in one line.

    PyTorch raises the error of a loading process anew, with that process's whole traceback as its text: the sentence
    is what follows the last name of the class. Parsers of YAML and the like report on several lines.
    """
    return one_line(str(error).rpartition(f"{type(error).__qualname__}: ")[2])


def shown(value: object, most: int = 80) -> str:
    """A value of a user's as it is named in a sentence: on one line, not too long, whatever is in it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]} …"


def first_line(error: Exception) -> str:
    """What an error of a library says, in short; its name if it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


class SettingError(HistoProtoError):
    """A setting is unknown, of the wrong type or out of range."""


class TissueError(HistoProtoError):
    """Tissue classes are malformed, or two sources disagree about them."""


class DataError(HistoProtoError):
    """A data folder, table or label is missing, malformed or in no known layout."""


class ImageError(HistoProtoError):
    """An image or mask cannot be read, or is not what was asked for."""


class WeightsError(HistoProtoError):
    """Weights are not at hand, cannot be read or do not fit the network."""


class RunError(HistoProtoError):
    """A run folder is missing, incomplete, or not the one a command may write to."""


class OutputError(HistoProtoError):
    """A result cannot be written where it should go."""


class DocumentError(HistoProtoError):
    """A file of text (YAML, JSON, a table) cannot be read, or does not hold what it should."""
