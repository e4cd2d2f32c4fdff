"""The terminal: one file per command, each thin (parse, call one function, print), and `main`, the way in."""

from __future__ import annotations

import errno
import os
import sys
import traceback

_INTERRUPTED = 130
_MACHINE = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT}


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on stderr and exit code 2, without a traceback."""
    from histoproto.errors import HistoProtoError, sentence

    try:
        # The application is imported here so that Ctrl-C while it loads is answered like any other.
        from histoproto.cli.app import app

        app()
    except HistoProtoError as error:
        _trace_if_verbose()
        _fail(sentence(error))
    except OSError as error:
        # A full disk or a forbidden folder is a matter of the machine; any other OSError is ours and keeps its trace.
        if error.errno not in _MACHINE:
            raise
        _trace_if_verbose()
        _fail(f"{error.filename or 'the disk'}: {error.strerror}; make room or choose another place")
    except KeyboardInterrupt:
        _interrupted()
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


def _fail(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)


def _interrupted() -> None:
    print("\ninterrupted; what was finished until now is kept", file=sys.stderr)
    sys.exit(_INTERRUPTED)


def _close_quietly() -> None:
    """Flush while an error can still be caught: `histoproto … | head` closes our output before we are done."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
