"""Runs commands of HistoProto one after the other, each in a fork of a process that has imported everything.

`python -m campaign.server`: a line of JSON on stdin is a job, a line on stdout its result. A fork costs a hundredth
of what starting the interpreter and importing torch does, and keeps apart whatever a command does to its process.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

HEAVY = (
    "histoproto.cli.app",
    "histoproto.training.run",
    "histoproto.slides.many.batch",
    "histoproto.compare.session",
    "histoproto.report.html",
    "histoproto.inference.predict",
    "histoproto.evaluation.colour",
    "timm",
    "onnxruntime",
    "histoproto.slides.patches.annotated",
    "histoproto.slides.patches.unlabelled",
    "histoproto.data.check",
)


def main() -> None:
    for module in HEAVY:
        importlib.import_module(module)
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(job: dict) -> dict:
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(job)
    state = None
    while time.monotonic() - started < job["seconds"]:
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        state = None
        time.sleep(0.01)
    seconds = time.monotonic() - started
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # also what it has started and left behind
    if state is None:
        os.waitpid(pid, 0)
        return {"code": None, "seconds": seconds}
    return {"code": os.waitstatus_to_exitcode(state), "seconds": seconds}


def child(job: dict) -> None:
    """Become the command; never returns."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the server
    os.chdir(job["folder"])
    for number, name in ((0, os.devnull), (1, job["stdout"]), (2, job["stderr"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + job["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    sys.argv = [
        "histoproto",
        *map(os.fsdecode, (argument.encode("utf-8", "surrogateescape") for argument in job["arguments"])),
    ]
    code = 1
    try:
        from histoproto.cli import main as run

        run()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
