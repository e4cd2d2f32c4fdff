"""What libraries would tell their makers of is switched off, before any of them is imported.

ONNX Runtime (since 1.29, on all systems) looks up a host of its maker, keeps an identifier of the machine and names of
models in the user's cache folder, and sends both; Ray and MLflow report how they are used; the hub's library sends the
names of models and the version with each request. What the user has set is left as it is.
"""

from __future__ import annotations

import os

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",  # its name before it was released
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}


def switch_telemetry_off() -> None:
    """Set the variables that the libraries look at, for this process and its children."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
