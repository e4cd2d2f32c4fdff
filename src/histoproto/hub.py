"""Whether the Hugging Face hub can be reached, asked before its library is: that one tries again for half a minute."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

PATIENCE = 8.0
"""Seconds within which a slow connection must answer one request without content."""


class Answer(NamedTuple):
    """Whether anything answered, whether it was content, and one clause about it."""

    reached: bool
    content: bool
    text: str


def switched_off() -> bool:
    """Whether the user told the hub's library not to use the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def ask(seconds: float) -> Answer:
    """Ask in a thread of its own: a name server that does not answer ignores the time-out of the connection."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    answers: list[Answer] = []

    def request() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds):
                answers.append(Answer(True, True, f"{address} answers"))
        except urllib.error.HTTPError as error:
            answers.append(Answer(True, False, f"{address} answers with status {error.code}"))
        except (OSError, ValueError) as error:
            answers.append(Answer(False, False, f"{address} is not reachable ({error})"))

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(seconds + 0.5)
    return answers[0] if answers else Answer(False, False, f"{address} did not answer within {seconds:.0f} s")


def require(repository: str) -> None:
    """Return if `OWNER/NAME` is in the hub's cache, or the hub answers, or its library will refuse at once anyway.

    Raises:
        ConnectionError: the hub cannot be reached.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    kept = Path(HF_HUB_CACHE) / f"models--{repository.partition('@')[0].replace('/', '--')}" / "snapshots"
    if switched_off() or any(kept.glob("*/*")):
        return
    answer = ask(PATIENCE)
    if not answer.reached:
        raise ConnectionError(answer.text)


def cached(repository: str, name: str) -> Path | None:
    """A file of `OWNER/NAME[@REVISION]` as the hub gave it before, without asking the hub; None if it did not."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    found = try_to_load_from_cache(repository, name, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def fetch(repository: str, name: str) -> Path | None:
    """A file of `OWNER/NAME[@REVISION]`, from the cache or else from the hub; None where the repository has none such.

    Raises:
        ConnectionError: the hub cannot be reached, or does not let this user have the file.
    """
    if found := cached(repository, name):
        return found
    require(repository)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    owner, _, revision = repository.partition("@")
    try:
        return Path(hf_hub_download(owner, name, revision=revision or None))
    except LocalEntryNotFoundError as error:
        raise ConnectionError(f"{name} of {repository} is not in the hub's cache, and the hub gave none") from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # of the hub's library, of its connection, of a repository that is gated or unknown
        raise ConnectionError((str(error).strip().splitlines() or [type(error).__name__])[0]) from error
