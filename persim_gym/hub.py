"""Simulators and data sets to and from the Hugging Face hub, by its own calls and Minari's.

What comes from the hub is read as any file is: tensors and JSON, with a hash, and nothing in it
runs.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persim_gym import checks, files, store
from persim_gym.learned.simulator import PerSim

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["card_text", "pull_dataset", "pull_simulator", "push_dataset", "push_simulator"]

INSTALL = "pip install 'persim-gym[hub]'"


def push_simulator(
    sim: PerSim,
    repository: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Put a simulator on the hub, with a card that says what it is.

    Args:
        sim: The simulator.
        repository: ``"name/repository"``; it is made if it is not there.
        private: Whether a new one can be seen by its owner alone.
        token: The hub's; by default the one that ``hf auth login`` has kept.
        revision: Branch.

    Returns:
        Its address.

    Raises:
        ImportError: If ``huggingface_hub`` is absent.
        TypeError: If an argument has the wrong type.
        ValueError: If the name is none of a repository, or another argument is invalid.
        ConnectionError: If the hub was not reached, or refused.
    """
    repository = _checked(repository)
    checks.with_attributes("sim", sim, ("save", "card", "task"), "a simulator")
    private = checks.switch("private", private)
    api, sim = _api(token, revision), sim.without_folders()
    with tempfile.TemporaryDirectory() as folder, _reaching():
        sim.save(folder)
        files.write_text(Path(folder) / "README.md", card_text(sim, repository))
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=f"Simulators of {sim.num_agents} agents of {sim.task.name}",
        )
    return str(address)


def pull_simulator(
    repository: str,
    folder: str | Path | None = None,
    *,
    token: str | None = None,
    revision: str | None = None,
) -> PerSim:
    """Take a simulator from the hub.

    Args:
        repository: ``"name/repository"``.
        folder: Where it is kept; by default in the hub's cache.
        token: Of a private one.
        revision: Branch, tag or commit.

    Returns:
        The simulator.

    Raises:
        ImportError: If ``huggingface_hub`` is absent.
        ValueError: If the repository holds no simulator, or a damaged one.
        ConnectionError: If the hub was not reached, or refused.
    """
    repository = _checked(repository)
    out = None if folder is None else checks.output_folder("folder", folder)
    api = _api(token, revision)
    with _reaching():
        found = Path(
            str(
                api.snapshot_download(
                    repository, revision=revision, allow_patterns=["simulator.*", "README.md"]
                )
            )
        )
    if not (found / store.SIMULATOR).exists():
        raise ValueError(f"{repository} holds no simulator: it has no {store.SIMULATOR}")
    sim = PerSim.load(found)
    if out is None:
        return sim
    sim.save(out)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(found / "README.md", out / "README.md")
    return PerSim.load(out)


def push_dataset(dataset_id: str, owner: str, *, token: str | None = None) -> str:
    """Put a local Minari data set on the hub, by Minari's own call.

    Args:
        dataset_id: Such as ``"persim/cartpole/random-v0"``.
        owner: Name of a user or an organisation there.
        token: The hub's; by default the one that ``hf auth login`` has kept.

    Returns:
        What :func:`pull_dataset` takes.

    Raises:
        ImportError: If ``huggingface_hub`` is absent.
        FileNotFoundError: If there is no such data set here.
        ConnectionError: If the hub was not reached, or refused.
    """
    checks.text("dataset_id", dataset_id)
    checks.text("owner", owner)
    _api(token)
    from minari.storage.remotes.huggingface import HuggingFaceStorage

    from persim_gym.offline.datasets import load

    load(dataset_id)
    with _reaching():
        HuggingFaceStorage(owner, token=token).upload_dataset(dataset_id)
    return f"hf://{owner}/{dataset_id}"


def pull_dataset(address: str) -> str:
    """Take a data set from the hub, by Minari's own call.

    Args:
        address: Such as ``"hf://owner/persim/cartpole/random-v0"``.

    Returns:
        Its id here.

    Raises:
        ImportError: If ``huggingface_hub`` is absent.
        ValueError: If that is no address, or there is no such data set.
        ConnectionError: If the hub was not reached, or refused.
    """
    checks.text("address", address)
    if not address.startswith("hf://") or address.count("/") < 4:
        raise ValueError(
            f"address must be hf://OWNER/DATASET, such as hf://owner/persim/cartpole/random-v0, "
            f"got {address!r}"
        )
    _api(None)
    import minari

    with _reaching():
        minari.download_dataset(address)
    return address.removeprefix("hf://").split("/", 1)[1]


def card_text(sim: PerSim, repository: str) -> str:
    """The page of a simulator's repository."""
    dataset = sim.card.get("dataset", {})
    fitted = sim.card.get("fitted_by", "?")
    return f"""---
library_name: persim-gym
tags: [reinforcement-learning, offline-rl, simulator]
---
# Simulators of {sim.num_agents} agents of {sim.task.name}

One personalised simulator for each agent, learned from one recorded trajectory each by
persim_gym (fitted by: {fitted}; data: {dataset.get("id") or dataset.get("source") or "not named"}).

    from persim_gym.hub import pull_simulator
    sim = pull_simulator("{repository}")
    env = sim.env(agent=0)
"""


def _api(token: str | None, revision: str | None = None) -> HfApi:
    for name, given in {"token": token, "revision": revision}.items():
        if given is not None:
            checks.text(name, given)
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError(
            f"huggingface_hub is not installed: {INSTALL}", name="huggingface_hub"
        ) from None
    return HfApi(token=token)


def _checked(repository: Any) -> str:
    """A repository's name.

    Raises:
        ValueError: If it has not one slash in it.
    """
    repository = checks.text("repository", repository)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ValueError(f"repository must be NAME/REPOSITORY, got {repository!r}")
    return repository


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Errors of the network and of the hub as one that says what to do."""
    try:
        yield
    except Exception as error:
        room = type(error).__module__.split(".")[0]
        if not (isinstance(error, ConnectionError) or room in NETWORK):
            raise
        said = " ".join(str(error).split("\n")[0].split())
        raise ConnectionError(
            f"the hub was not reached or refused ({said}): check the network, the name and "
            "`hf auth login`"
        ) from error


#: Packages whose errors are the network's or the hub's.
NETWORK = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3", "hf_xet")
