"""A trained model in one file: a zip with weights, card, licence and a page that says what it is.

Reading one takes its members by name and writes them under names of our own, so that no archive can write anywhere
else; what else is in it is refused.
"""

from __future__ import annotations

import atexit
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

from histoproto.data.staging import new_folder
from histoproto.errors import OutputError, RunError
from histoproto.files import replace_atomically
from histoproto.ledger import own
from histoproto.model.saving import CARD_FILE, FAMILIAR_FILE, WEIGHTS_FILE, ModelCard, load_model

PAGE_FILE, LICENCE_FILE = "README.md", "LICENSE"
MEMBERS = (WEIGHTS_FILE, CARD_FILE, FAMILIAR_FILE, PAGE_FILE, LICENCE_FILE)
NEEDED = (WEIGHTS_FILE, CARD_FILE)
MOST_BYTES = dict.fromkeys(MEMBERS, 16 * 2**20) | {WEIGHTS_FILE: 64 * 2**30}
"""Largest size of each member when unpacked."""
MOST_SQUEEZED = 20
"""Times that a member may be smaller than what it holds; numbers of a network hardly shrink, and texts to a third."""


def write_archive(run: Path, archive: Path) -> Path:
    """Write the model of a run into a zip.

    Raises:
        RunError, WeightsError: see `load_model`.
        OutputError: the file cannot be written, is no `.zip`, or is there already and not of our making.
    """
    if archive.suffix != ".zip":
        raise OutputError(f"{archive}: an archive of a model ends in .zip")
    run = opened(run)
    _, card = load_model(run)
    with (
        own(archive),
        replace_atomically(archive) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file,
    ):
        for name in _files(card):
            file.write(run / name, name)
        file.writestr(PAGE_FILE, describe(card))
        file.writestr(LICENCE_FILE, licence_text())
    return archive


def write_folder(run: Path, folder: Path) -> None:
    """Write the files of an archive into a folder, as a model hub takes them."""
    run = opened(run)
    _, card = load_model(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _files(card):
        shutil.copyfile(run / name, folder / name)
    (folder / PAGE_FILE).write_text(describe(card), encoding="utf-8")
    (folder / LICENCE_FILE).write_text(licence_text(), encoding="utf-8")


def _files(card: ModelCard) -> tuple[str, ...]:
    return NEEDED if card.familiar is None else (*NEEDED, FAMILIAR_FILE)


def opened(run: Path) -> Path:
    """The folder of a run, or of what was unpacked from a zip for as long as this process lives.

    Raises:
        RunError: a zip that holds no model of ours.
    """
    return _unpacked(run.resolve(), run.stat().st_mtime_ns) if is_archive(run) else run


def is_archive(run: Path) -> bool:
    """Whether this is a file that ends in `.zip`."""
    return run.suffix.lower() == ".zip" and run.is_file()


def unpack_beside(archive: Path) -> tuple[Path, bool]:
    """The folder of an archive's name beside it, for commands that write results into a run, and whether it is new.

    Raises:
        RunError: see `unpack`; or there is something else of that name.
    """
    folder = archive.with_suffix("")
    if os.path.lexists(folder):
        with _readable(archive) as file:
            held = {info.filename: (info.file_size, info.CRC) for info in file.infolist()}
        if any(_size_and_crc(folder / name) != held.get(name) for name in NEEDED):
            raise RunError(
                f"the results of {archive} would go to {folder}, which is there and does not hold this model; rename "
                "one of them, or name the folder if its model is meant"
            )
        return folder, False
    with new_folder(folder) as part:
        unpack(archive, part)
    return folder, True


def _size_and_crc(path: Path) -> tuple[int, int] | None:
    try:
        with path.open("rb") as file:
            crc = 0
            while block := file.read(2**20):
                crc = zlib.crc32(block, crc)
            return file.tell(), crc
    except OSError:
        return None


def unpack(archive: Path, folder: Path) -> None:
    """Write the members of an archive into a folder.

    Raises:
        RunError: it is damaged, holds no model, or anything that is not part of one.
    """
    with _readable(archive) as file:
        found = [info.filename for info in file.infolist()]
        if strange := [name for name in found if name not in MEMBERS or found.count(name) > 1]:
            raise RunError(f"{archive} holds {strange[0]!r}, which is no part of a model that `export` wrote")
        if missing := [name for name in NEEDED if name not in found]:
            raise RunError(f"{archive} holds no model of HistoProto ({missing[0]} is missing)")
        for info in file.infolist():
            squeezed = info.file_size > MOST_SQUEEZED * info.compress_size + 2**20
            if info.flag_bits & 1 or info.file_size > MOST_BYTES[info.filename] or squeezed:
                raise RunError(f"{archive}: {info.filename} is encrypted or larger than any model")
        for info in file.infolist():
            with replace_atomically(folder / info.filename) as part, part.open("wb") as target:
                for block in _blocks(file, info):
                    target.write(block)


@contextmanager
def _readable(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as file:
            yield file
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise RunError(f"{archive} cannot be read as a zip and may be damaged: {error}") from error


def _blocks(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """What a member holds; whatever is wrong with it is no fault of the disk that it is written to."""
    try:
        with file.open(info) as source:
            while block := source.read(2**20):
                yield block
    except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise zipfile.BadZipFile(f"{info.filename}: {error}") from error


@cache
def _unpacked(archive: Path, _: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="histoproto-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unpack(archive, folder)
    return folder


def describe(card: ModelCard) -> str:
    """A page about the model in Markdown, with the header that model hubs read."""
    apache = card.encoder_licence.startswith("Apache-2.0")
    tissues = "\n".join(f"- {tissue.name} (`{tissue.colour}`)" for tissue in card.tissues.tissues)
    scale = f"{card.mpp:g} µm/px" if card.mpp else "an unknown scale"
    return f"""---
license: {"apache-2.0" if apache else "other"}
library_name: histoproto
pipeline_tag: image-segmentation
tags: [pathology, histology, weakly-supervised]
---
# {card.method} for {", ".join(card.tissues.names)}

Tissue segmentation of H&E histology, trained by HistoProto {card.histoproto} on image-level labels.
Research software, not a medical device.

{tissues}

- patches of {card.patch_size} px at {scale}
- encoder `{card.model.encoder}`; licence of its weights: {card.encoder_licence}
- thresholds calibrated on {card.calibrated_on}
- chances of tissues: {_calibration(card)}
- strangeness: {"images unlike the training patches are told" if card.familiar else "nothing is known"}

```
histoproto segment MODEL SLIDES --out OUT     # MODEL: the zip, or the folder with these files
```
"""


def _calibration(card: ModelCard) -> str:
    found = card.temperature
    return f"temperature {found.value:.2f}, fitted on {found.calibrated_on}" if found else "not calibrated"


def licence_text() -> str:
    """The licence that HistoProto's own part of a model is under."""
    for path in metadata.files("histoproto") or []:
        if path.name == LICENCE_FILE:
            return path.read_text(encoding="utf-8")
    return "Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0; the encoder's weights as model.json says\n"
