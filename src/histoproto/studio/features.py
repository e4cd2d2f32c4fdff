"""The features of a project's tiles stay with the project: what one worker computes, the others look up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histoproto.features.place import VARIABLE, features_folder
from histoproto.features.shelf import Shelf, describe
from histoproto.features.stored import StoredEncoder, use_stored_features
from histoproto.model.encoders import build_encoder
from histoproto.model.network import Network
from histoproto.model.weights import OFFLINE_ENCODER
from histoproto.studio.project import Project


@contextmanager
def kept_with(project: Project) -> Iterator[Path]:
    """Features are kept in the project's folder meanwhile, unless the user named another place for all; where."""
    given = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = given or str(project.folder)
    try:
        yield features_folder()
    finally:
        if given is None:
            del os.environ[VARIABLE]


def stored_encoder(project: Project) -> StoredEncoder:
    """The default encoder, frozen, which looks up what it was asked before."""
    encoder = build_encoder(OFFLINE_ENCODER).eval()
    with kept_with(project) as place:
        return StoredEncoder(encoder, Shelf(place, describe(encoder, OFFLINE_ENCODER, project.settings.tile)))


def with_features(project: Project, network: Network, encoder: str) -> Network:
    """A network with a frozen encoder of this name, changed to look features up."""
    with kept_with(project):
        return use_stored_features(network, encoder, project.settings.tile)
