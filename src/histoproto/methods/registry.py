"""The methods by name. A new one is a file in this room and a line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from histoproto.config import Settings
from histoproto.errors import SettingError
from histoproto.methods.base import Method
from histoproto.methods.lpd import LPD

METHODS: dict[str, Callable[[Settings, Tensor], Method]] = {"lpd": LPD}


def build_method(settings: Settings, frequency: Tensor) -> Method:
    """The method that `settings.method` names.

    Args:
        settings: of the run.
        frequency: C, part of the training patches that hold each tissue.

    Raises:
        SettingError: there is no such method.
    """
    if settings.method not in METHODS:
        raise SettingError(f"there is no method {settings.method!r}; there are {', '.join(METHODS)}")
    return METHODS[settings.method](settings, frequency)
