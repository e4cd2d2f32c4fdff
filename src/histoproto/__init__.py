"""HistoProto: tissue segmentation of histology slides from image-level labels, with learnable prototypes.

The three names a script needs are loaded on first use, so that `import histoproto` stays quick:
`Segmenter`, `train` and `evaluate`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from histoproto.privacy import switch_telemetry_off
from histoproto.version import __version__

switch_telemetry_off()

if TYPE_CHECKING:
    from histoproto.evaluation.protocols import evaluate
    from histoproto.inference.segmenter import Segmenter
    from histoproto.training.run import train

__all__ = ["Segmenter", "__version__", "evaluate", "train"]

_WHERE = {
    "Segmenter": "histoproto.inference.segmenter",
    "evaluate": "histoproto.evaluation.protocols",
    "train": "histoproto.training.run",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'histoproto' has no attribute {name!r}")
