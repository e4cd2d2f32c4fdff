"""Changing the settings that a model was saved with."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from histoproto.config import InferenceSettings
from histoproto.errors import SettingError, shown


def change_settings(settings: InferenceSettings, **changes: Any) -> InferenceSettings:
    """The settings with some of them changed.

    Raises:
        SettingError: a value of the wrong type or out of range.

    >>> change_settings(InferenceSettings(), views=6).views
    6
    """
    try:
        return InferenceSettings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingError(f"inference setting {where}: {first['msg']}, found {shown(first['input'])}") from error
