"""Where the weights of an encoder came from, so that a run may refer to them in place of holding them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from histoproto import hub
from histoproto.errors import WeightsError

LARGE = 100 * 2**20
"""Bytes above which the weights of an encoder that was not tuned are referred to, not copied."""


class WeightsReference(BaseModel):
    """Weights that a run folder does not hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The encoder, as it was named for training."""
    sha256: str
    """Of the file."""
    size: int
    """Bytes of the file."""
    file: str
    """Where it was found."""
    repository: str | None = None
    """Of the Hugging Face hub, `OWNER/NAME`, where it came from one."""

    @property
    def beside(self) -> str:
        """What the file is called where it lies in the run folder; its own name may be that of the run's weights."""
        return f"encoder{Path(self.file).suffix}"

    def find(self, folder: Path) -> Path:
        """The file: in the run folder, where it was, or in the hub's cache; fetched from nowhere.

        Raises:
            WeightsError: it is in none of these places, or is another one.
        """
        own = folder / self.beside
        places = [own, Path(self.file)]
        if self.repository and (kept := hub.cached(self.repository, Path(self.file).name)):
            places.append(kept)
        for place in places:
            if place.is_file():
                if place.stat().st_size == self.size and sha256_of(place) == self.sha256:
                    return place
                raise WeightsError(
                    f"{place} is not the file that {folder} was trained on (weights of {self.name}, sha256 "
                    f"{self.sha256[:12]}…, {self.size} bytes); put that one in its place, or into {own}"
                )
        fetch = f", fetch it once with `histoproto encoders {self.name}`" if self.repository else ""
        raise WeightsError(
            f"{folder} refers to the weights of {self.name} (sha256 {self.sha256[:12]}…, {self.size / 2**20:.0f} MiB), "
            f"which are no longer at {self.file}; copy or link that file to {own}{fetch}, or train with --with-encoder "
            "to have the weights in the run folder"
        )


class Origin:
    """The file that an encoder's weights were read from.

    Args:
        name: of the encoder, as the user gave it.
        file: the weights file.
        repository: of the hub, where it came from one.
        may_be_copied: whether the licence is known to allow passing the weights on.
        module: with the weights loaded, to notice later whether they have changed.
    """

    def __init__(self, name: str, file: Path, repository: str | None, may_be_copied: bool, module: nn.Module):
        self.name, self.file, self.repository = name, file.absolute(), repository
        self.refer = not may_be_copied or file.stat().st_size > LARGE
        self._loaded = fingerprint(module) if self.refer else ""

    def reference(self, module: nn.Module) -> WeightsReference | None:
        """What a run says in place of these weights; None where it must hold them: small free ones, or changed ones."""
        if not self.refer or fingerprint(module) != self._loaded:
            return None
        return WeightsReference(
            name=self.name,
            sha256=sha256_of(self.file),
            size=self.file.stat().st_size,
            file=str(self.file),
            repository=self.repository,
        )


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


@torch.no_grad()
def fingerprint(module: nn.Module) -> str:
    """A hash of all parameters and buffers that are saved."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
