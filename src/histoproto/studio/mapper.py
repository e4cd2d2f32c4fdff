"""A process that works out blocks of maps, at low priority, so that whatever a person waits for goes first."""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from histoproto.errors import HistoProtoError, sentence
from histoproto.studio.maps import Place
from histoproto.studio.processes import begin, logged
from histoproto.studio.project import Project

if TYPE_CHECKING:
    from histoproto.studio.mapping import Maps

LOW = 15
"""By how much its priority is below that of the server (`nice`)."""


class Mapper:
    """The process. It is begun when a block is asked for, and another one after it was stopped."""

    def __init__(self, project: Project):
        self.project = project
        self._lock = threading.Lock()
        self._process: Any = None
        self._orders: Any = None

    def work_out(self, number: int, slide: str, block: Place) -> str:
        """See `Worker`."""
        with self._lock:
            process, orders = self._ready()
        try:
            orders.send((number, slide, block))
            return str(orders.recv())
        except (EOFError, OSError) as error:
            process.join()
            raise InterruptedError(
                f"the process that works out maps ended (exit code {process.exitcode}); logs/mapping.log of the "
                "project says more"
            ) from error

    def stop(self) -> None:
        """See `Worker`."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process = None

    def _ready(self) -> tuple[Any, Any]:
        if self._process is None or not self._process.is_alive():
            self._process, self._orders = begin(_work, self.project.folder)
        return self._process, self._orders


def _work(folder: Path, connection: Connection) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().nice(LOW if os.name == "posix" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
    with contextlib.suppress(EOFError, OSError), logged(folder, "mapping.log"):  # until the server has ended
        import torch  # seconds, for which the server shall not wait

        from histoproto.studio.mapping import Maps
        from histoproto.studio.open_slides import OpenSlides

        torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # the others are for the person
        project = Project.open(folder)
        maps = Maps(project, OpenSlides(project))
        try:
            while True:
                number, slide, block = connection.recv()
                connection.send(_problem(maps, number, slide, block))
        finally:
            project.store.close()


def _problem(maps: Maps, number: int, slide: str, block: Place) -> str:
    try:
        maps.work_out(number, slide, block)
    except HistoProtoError as error:
        return sentence(error)
    except Exception as error:  # told on the page, whatever it is; the other blocks go on
        traceback.print_exc()
        return f"a piece of the map cannot be worked out: {type(error).__name__}: {error}"
    return ""
