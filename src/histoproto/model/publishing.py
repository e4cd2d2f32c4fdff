"""Pushing a trained model to the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from histoproto import hub
from histoproto.errors import OutputError, SettingError
from histoproto.model.archive import write_folder


def push(run: Path, repository: str, public: bool = False) -> str:
    """Push weights, card, licence and page to a model hub; nothing else of the run leaves this machine.

    Args:
        run: folder of a finished run, or an archive.
        repository: `OWNER/NAME`; made if it is not there.
        public: whether a new repository can be seen by everyone.

    Returns:
        Its address.

    Raises:
        RunError, WeightsError: see `load_model`.
        SettingError: that is no name of a repository, or the network is switched off.
        OutputError: the hub cannot be reached or refuses.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SettingError(f"a model is pushed to OWNER/NAME, found {repository!r}")
    if hub.switched_off():
        raise SettingError("the model hub is switched off by HF_HUB_OFFLINE; unset it to push a model")
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        write_folder(run, Path(folder))
        try:
            api = HfApi(library_name="histoproto")
            address = api.create_repo(repository, private=not public, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A model of HistoProto")
        except Exception as error:  # the hub's library, and the one it asks by, have many
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OutputError(
                f"{repository} cannot be pushed to ({reason}); is this machine online and logged in (hf auth login), "
                "and are you allowed to write there?"
            ) from error
    return str(address)
