"""`calibrate`: what newer runs know of doubt and of strangeness, for a run that was trained without."""

from __future__ import annotations

from pathlib import Path

from histoproto.config import load_settings
from histoproto.data.fingerprint import fingerprint
from histoproto.errors import RunError
from histoproto.lock import folder_lock
from histoproto.model.archive import is_archive
from histoproto.model.network import EncodedNetwork
from histoproto.model.saving import ModelCard, load_card, load_model, write_card
from histoproto.training.folder import CONFIG_FILE
from histoproto.training.looking_back import look_back
from histoproto.training.material import gather
from histoproto.training.saving import know_more


def calibrate(run: Path, data: Path) -> ModelCard:
    """Fit the temperature of a run's chances and the look of its training patches, and add them to its card.

    Weights, thresholds and so the label maps stay as they are.

    Args:
        run: the folder of a finished run.
        data: the data folder that it was trained on.

    Returns:
        The new card; `familiar` and `temperature` are None where there are too few patches or groups, or none held out.

    Raises:
        RunError: no run with its settings, or it was trained on other patches.
    """
    if is_archive(run):
        raise RunError(f"{run} does not say how patches were held out; give the run folder that it was made of")
    card = load_card(run)
    if not (run / CONFIG_FILE).is_file():
        raise RunError(f"{run} holds no {CONFIG_FILE}, which says how patches were held out; give the run folder")
    material = gather(data, load_settings(run / CONFIG_FILE))
    if fingerprint(material.patches) != card.training_data.get("fingerprint"):
        raise RunError(f"{run} was not trained on the patches of {data}; give the data folder of its training")
    network, _ = load_model(run)
    assert isinstance(network, EncodedNetwork)
    seen = look_back(network, material.training.plain(), material.held_out, card.inference)
    with folder_lock(run):
        card = know_more(run, card, seen, network)
        write_card(run, card)
    return card
