"""From what a user names to how the encoder is built and where its weights are.

A name is one of `NAME`, `NAME@FILE` (a file, or a folder that holds one), `hf-hub:OWNER/NAME[@REVISION]` and
`local-dir:PATH`, a folder laid out like a repository of the hub: `config.json` of timm or transformers, and weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from histoproto import hub, plugins
from histoproto.documents.json_file import read_json
from histoproto.errors import SettingError, WeightsError
from histoproto.model.blueprint import Blueprint, three_depths
from histoproto.model.known_encoder import KnownEncoder
from histoproto.model.known_encoders import KNOWN, find_known
from histoproto.model.timm_tokens import count_blocks
from histoproto.model.weights import NO_HUB

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
HUB, FOLDER = "hf-hub", "local-dir"
_REPOSITORY = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}(@[\w./-]+)?", re.ASCII)
Place = Callable[[str], Path | None]
"""Name of a file → where it is, None if there is none."""


class Plan(NamedTuple):
    """How an encoder is built, and with which weights."""

    name: str
    blueprint: Blueprint
    file: Path | None
    """With its weights; None: random ones, or those that timm fetches."""
    fetch: bool = False
    """Let timm fetch them."""
    repository: str | None = None
    may_be_copied: bool = False


def plan_encoder(name: str, weights: str | None, arguments: Mapping[str, Any], input_scale: float) -> Plan:
    """See the top of this file.

    Args:
        name: what the user named.
        weights: `imagenet` for the published ones, the path of a file, or None for random ones.
        arguments: of the architecture, beyond those of the name.
        input_scale: see `Blueprint`.

    Raises:
        SettingError: there is no such encoder, or it cannot be one.
        WeightsError: its configuration or weights are not at hand.
    """
    source, _, place = name.partition(":") if ":" in name else ("", "", name)
    file = None if weights in {"imagenet", None} else weights
    if not source and "@" in name:
        if file is not None:
            raise SettingError(f"{name} names a file, and so does model.weights={weights}; give one of them")
        place, _, file = name.partition("@")
    known = find_known(name if source else place)
    if known and known.problem:
        raise SettingError(f"{known.name} can be no encoder here: {known.problem}")
    if source not in {"", HUB, "hf_hub", FOLDER}:
        raise SettingError(f"{name!r}: an encoder is NAME, NAME@FILE, hf-hub:OWNER/NAME or local-dir:PATH")
    if source in {HUB, "hf_hub"} and not _REPOSITORY.fullmatch(place):
        raise SettingError(f"{name!r}: a repository of the hub is OWNER/NAME, or OWNER/NAME@REVISION")
    if source == FOLDER or (known and file and Path(file).is_dir()):
        folder = Path(place if source == FOLDER else file or "")
        if not (folder / "config.json").is_file() and not known:
            raise WeightsError(f"{folder} is no folder of an encoder (config.json is missing)")
        plan = _from_repository(name, _files_in(folder), known, arguments)
    elif file is None and weights == "imagenet" and (source or (known and known.repository and not _of_timm(known))):
        repository = known.repository if known and not source else place
        assert repository is not None
        plan = _from_repository(name, _files_of(name, repository), known, arguments)._replace(repository=repository)
    elif source:
        raise SettingError(
            f"{name} brings its own weights; leave out model.weights={weights}, or name its architecture"
        )
    else:
        plan = _by_name(place, known, arguments)
        if file is not None:
            licence = f"{known.licence} ({known.name})" if known else f"that of the file {Path(file).name}"
            blueprint = plan.blueprint.model_copy(update={"licence": licence})
            plan = plan._replace(name=name, blueprint=blueprint, file=_weights_at(Path(file)), fetch=False)
    if weights is None:
        plan = plan._replace(file=None, fetch=False)
    blueprint = plan.blueprint.model_copy(update={"input_scale": input_scale})
    return plan._replace(blueprint=blueprint, may_be_copied=bool(known and known.may_be_copied))


def _of_timm(known: KnownEncoder) -> bool:
    return (known.repository or "").startswith("timm/")


def _files_in(folder: Path) -> Place:
    return lambda file: folder / file if (folder / file).is_file() else None


def _files_of(name: str, repository: str) -> Place:
    def find(file: str) -> Path | None:
        try:
            return hub.fetch(repository, file)
        except ConnectionError as error:
            raise WeightsError(NO_HUB.format(name=name, reason=error)) from error

    return find


def _weights_at(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next(filter(None, map(_files_in(path), WEIGHT_FILES)), None)
    if found is None:
        raise WeightsError(f"{path} holds no weights ({' or '.join(WEIGHT_FILES)})")
    return found


def _by_name(name: str, known: KnownEncoder | None, arguments: Mapping[str, Any]) -> Plan:
    if known and known.library == "transformers":
        raise SettingError(
            f"{known.name} is built as its config.json says; give {known.name}@FOLDER, or hf-hub:{known.repository}"
        )
    _require_timm(name, known)
    architecture = known.architecture if known and not _of_timm(known) else name
    more = {**(known.arguments if known else {}), **arguments}
    mean, std = (known.mean, known.std) if known and not _of_timm(known) else (None, None)
    return Plan(name, _timm(architecture, more, mean, std, ""), None, fetch=True)


def _require_timm(name: str, known: KnownEncoder | None) -> None:
    import timm

    if known is None and not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "those of timm.list_models()"
        others = ", ".join([*(each.name for each in KNOWN if not each.problem), *plugins.offered("encoder")])
        raise SettingError(
            f"there is no encoder {name!r}; there are {close}, {others}, and those that other packages offer, once "
            "these are installed"
        )


def _from_repository(name: str, find: Place, known: KnownEncoder | None, arguments: Mapping[str, Any]) -> Plan:
    path = find("config.json")
    weights = next(filter(None, map(find, WEIGHT_FILES)), None)
    if weights is None:
        raise WeightsError(f"{name} holds no weights ({' or '.join(WEIGHT_FILES)})")
    if path is None:
        if known is None or known.library != "timm":
            raise WeightsError(f"{name} has no config.json, which says how the encoder is built")
        return _by_name(known.name, known, arguments)._replace(name=name, file=weights, fetch=False)
    config = read_json(path)
    values: Mapping[str, Any] = config if isinstance(config, dict) else {}
    own = {**(known.arguments if known else {}), **arguments}
    if isinstance(values.get("architecture"), str):
        published = values.get("pretrained_cfg", values)
        licence = f"{known.licence if known else published.get('license', 'not stated by the publisher')} ({name})"
        more = {**values.get("model_args", {}), **own}
        mean, std = (tuple(published[key]) if key in published else None for key in ("mean", "std"))
        return Plan(name, _timm(values["architecture"], more, mean, std, licence), weights)
    if isinstance(values.get("model_type"), str):
        return Plan(name, _transformers(name, {**values, **own}, find, known), weights)
    raise SettingError(f"{path} names neither an architecture of timm nor a model_type of transformers")


def _timm(architecture: str, arguments: Mapping[str, Any], mean: Any, std: Any, licence: str) -> Blueprint:
    blocks = count_blocks(architecture, arguments)
    return Blueprint(
        library="timm",
        architecture=architecture,
        arguments=dict(arguments),
        maps="tokens" if blocks >= 3 else "stages",
        depths=three_depths(blocks) if blocks >= 3 else None,
        mean=mean,
        std=std,
        licence=licence,
    )


def _transformers(name: str, values: Mapping[str, Any], find: Place, known: KnownEncoder | None) -> Blueprint:
    from histoproto.model.transformers_tokens import described

    model_type, arguments, blocks = described(values["model_type"], values)
    if blocks < 3:
        raise SettingError(f"{name} has {blocks} blocks; an encoder needs three, for maps of three depths")
    path = find("preprocessor_config.json")
    found = read_json(path) if path else {}
    mean, std = found.get("image_mean"), found.get("image_std")
    if known and mean is None:
        mean, std = known.mean, known.std
    if mean is None or std is None:
        raise WeightsError(f"{name} does not say how images are normalised (preprocessor_config.json is missing)")
    return Blueprint(
        library="transformers",
        architecture=model_type,
        arguments=arguments,
        maps="tokens",
        depths=three_depths(blocks),
        mean=mean,
        std=std,
        licence=f"{known.licence if known else 'not stated here'} ({name})",
    )
