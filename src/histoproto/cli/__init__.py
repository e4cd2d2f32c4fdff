"""The terminal: one file per command, each thin (parse, call one function, print), and `main`, the way in."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import NoReturn

from histoproto.printable import printable_streams

_INTERRUPTED = 130
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, *_FULL}


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on stderr and exit code 2, without a traceback."""
    with printable_streams():
        _run()


def _run() -> None:
    from histoproto.errors import HistoProtoError, sentence

    try:
        # The application is imported here so that Ctrl-C while it loads is answered like any other.
        from histoproto.cli.app import app

        app()
    except HistoProtoError as error:
        _trace_if_verbose()
        _fail(sentence(error))
    except OSError as error:
        # A full disk or a forbidden folder is a matter of the machine; any other OSError is a fault of ours.
        if error.errno not in _MACHINE:
            _last_resort(error)
        _trace_if_verbose()
        mend = "make room" if error.errno in _FULL else "ask for the right to it"
        _fail(f"{error.filename or 'the disk'}: {error.strerror}; {mend}, or choose another place")
    except MemoryError:
        _fail("the memory of this machine is used up; work on less at once (a smaller batch, fewer workers)")
    except KeyboardInterrupt:
        _interrupted()
    except Exception as error:
        _last_resort(error)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            _interrupted()
        raise
    finally:
        _close_quietly()


def _trace_if_verbose() -> None:
    """With `-v`, where the error that is being handled comes from."""
    from histoproto.cli.verbosity import is_verbose

    if is_verbose():
        traceback.print_exc()


def _last_resort(error: Exception) -> NoReturn:
    """What nobody foresaw is a fault of the program: a sentence, and the trace where it can be found and sent."""
    import tempfile

    from histoproto.errors import first_line

    with tempfile.NamedTemporaryFile("w", prefix="histoproto-", suffix=".txt", delete=False, errors="replace") as file:
        traceback.print_exception(error, file=file)
    _trace_if_verbose()
    command = " ".join(sys.argv[1:3])
    _fail(
        f"{command}: {type(error).__name__}: {first_line(error)}; this is a fault of HistoProto, please report it with "
        f"{file.name} (-v shows the trace here)"
    )


def _fail(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)


def _interrupted() -> NoReturn:
    print("\ninterrupted; what was finished until now is kept", file=sys.stderr)
    sys.exit(_INTERRUPTED)


def _close_quietly() -> None:
    """Flush while an error can still be caught: `histoproto … | head` closes our output before we are done."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
