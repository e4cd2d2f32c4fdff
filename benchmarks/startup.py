"""How long until a new process answers: `histoproto --help`, and `predict` on one patch.

    python benchmarks/startup.py [RUN IMAGE] [--repeats 5] [--imports]

Each turn is a process of its own, the commands take turns; the least time on the clock and the least processor time are
shown. `import timm` is what `predict` cost more when it built the default encoder with timm (torch is in both).
`--imports` adds the modules whose loading costs `predict` most.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WATCHED = {"torch", "torchvision", "torch._dynamo", "timm", "scipy.ndimage", "pydantic", "onnxruntime", "rich"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--imports", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        commands = {f"import {name}": ["-c", f"import {name}"] for name in ("torch", "timm")}
        commands = {"(python alone)": ["-c", "pass"], **commands}
        commands["histoproto --help"] = ["-m", "histoproto", "--help"]
        if arguments.run and arguments.image:
            predict = ["-m", "histoproto", "predict", str(arguments.run), str(arguments.image), "--out", out]
            commands["histoproto predict, one patch"] = predict
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                times[name].append(seconds(command))
        print(f"| command | s on the clock, least of {arguments.repeats} | processor s |\n|---|---|---|")
        for name, found in times.items():
            wall, processor = (min(column) for column in zip(*found, strict=True))
            print(f"| {name} | {wall:.2f} | {processor:.2f} |")
        if arguments.imports and arguments.run and arguments.image:
            print("\n| module | s, with what it loads |\n|---|---|")
            for module, cost in imports(predict):
                print(f"| {module} | {cost:.2f} |")


def seconds(command: list[str]) -> tuple[float, float]:
    """Time on the clock and processor time of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(command: list[str]) -> list[tuple[str, float]]:
    """What the packages on which we depend cost to load, most first (`python -X importtime`)."""
    report = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True).stderr
    found = re.findall(r"^import time: +\d+ \| +(\d+) \| +([\w.]+)$", report, re.MULTILINE)
    cost = {module: int(total) / 1e6 for total, module in found if module in WATCHED}
    return sorted(cost.items(), key=lambda item: -item[1])


if __name__ == "__main__":
    main()
