"""Examples below the help of each command; a test runs each of them as far as its arguments are read."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("histoproto demo", "histoproto demo --quick --out /tmp/demo"),
    "check": ("histoproto data check DATA",),
    "cut": (
        "histoproto data cut REGIONS --out DATA --size 224 --group-regex '^[^_]+' --test-fraction 0.2",
        "histoproto data cut SLIDES --out DATA --mpp 0.5 --classes tumour,stroma --split test",
    ),
    "tiles": ("histoproto data tiles SLIDES --out DATA --classes tumour,stroma --mpp 0.5 --per-slide 100",),
    "phantom": ("histoproto data phantom --out DATA --train 300 --test 60",),
    "phantom-slide": ("histoproto data phantom-slide --out slide.tif --width 8192 --height 8192 --mpp 0.5",),
    "encoders": ("histoproto encoders", "histoproto encoders uni2-h"),
    "studio": (
        "histoproto studio SLIDES --project lung",
        "histoproto studio --project lung --no-browser --port 8080",
        "histoproto studio --demo",
        "histoproto studio PATCHES --labels PATCHES/labels.csv --mpp 0.5 --project lung",
    ),
    "studio merge": ("histoproto studio merge PROJECT PROJECT-2 --out PROJECT-3",),
    "data export": ("histoproto data export PROJECT --out DATA",),
    "train": (
        "histoproto train DATA --out RUN",
        "histoproto train DATA --out RUN --method lpd+decoder+mosaic --second-stage --set training.epochs=10",
        "histoproto train DATA --out RUN --resume",
    ),
    "calibrate": ("histoproto calibrate RUN DATA",),
    "evaluate": (
        "histoproto evaluate RUN DATA",
        "histoproto evaluate RUN DATA --protocol all",
        "histoproto evaluate RUN DATA --split val --views 6",
    ),
    "predict": (
        "histoproto predict RUN image.png other.png --out OUT",
        "histoproto predict RUN IMAGES --out OUT --mpp 0.5 --crf",
    ),
    "info": ("histoproto slide info SLIDES", "histoproto slide info a.svs --thumbnail a.png"),
    "segment": (
        "histoproto segment RUN slide.svs --out OUT",
        "histoproto segment RUN SLIDES slides.csv --out OUT --regions ANNOTATIONS --workers 2",
    ),
    "measure": (
        "histoproto measure MAPS --out measures.csv",
        "histoproto measure MAPS --near lymphocytes:tumour:50 --regions HOTSPOTS --out near.csv",
    ),
    "compare": (
        "histoproto compare DATA --out OUT --methods lpd,cam --second-stage lpd --seeds 3",
        "histoproto compare DATA --out OUT --row 'few: lpd model.prototypes=3'",
        "histoproto compare DATA --out OUT --table-only",
    ),
    "prototypes": ("histoproto prototypes RUN DATA --out OUT",),
    "features": ("histoproto features", "histoproto features --clear"),
    "report": ("histoproto report RUN", "histoproto report RUN DATA"),
    "export": (
        "histoproto export RUN --out OUT",
        "histoproto export RUN --out OUT --format torch-export",
        "histoproto export RUN --out model.zip --format zip",
        "histoproto export RUN --push OWNER/NAME",
    ),
    "doctor": ("histoproto doctor", "histoproto doctor --bundle fault.zip --run RUN"),
    "schema": ("histoproto schema config --out config.schema.json", "histoproto schema model"),
}


def examples_of(path: str) -> tuple[str, ...]:
    """Of a command by its path: of two with one name, that of a group is told by its last two words."""
    words = path.split()
    return EXAMPLES.get(" ".join(words[-2:])) or EXAMPLES.get(words[-1], ())
