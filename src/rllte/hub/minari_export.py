"""Write demonstrations as a dataset of Minari (Younis et al., 2024), which other libraries read."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.hub.demonstrations import Demonstrations
from rllte.names import Cell

_AUTHOR = "RLLTE Hub"


def minari_id(cell: Cell, level: str) -> str:
    """Return the id of a dataset in Minari: ``rllte/minigrid/empty5x5/expert-v0``."""
    env = re.sub("[^a-z0-9]", "", re.sub(r"-v\d+$", "", cell.env_id).lower())
    return f"rllte/{cell.benchmark}/{env}/{level}-v0"


def export_minari(
    demonstrations: Demonstrations,
    dataset_id: str,
    folder: Path | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Path:
    """Write demonstrations as a Minari dataset, and return its folder.

    Nothing is left of an attempt that fails. Observations are stored without loss. They are stacks of frames
    unless ``demonstrations`` has single ones.

    Args:
        demonstrations: The episodes.
        dataset_id: The id of the dataset in Minari.
        folder: The folder of Minari's datasets; the default is Minari's own.
        low: The mean return of random actions, Minari's ``ref_min_score``.
        high: The mean return of the expert, Minari's ``ref_max_score``.

    Raises:
        MissingExtraError: Minari is not installed.
        HubError: A dataset with this id exists, or Minari does not allow the id.
    """
    with requires_extra("Minari datasets need"):
        import minari
        import PIL  # noqa: F401  # Minari needs it, but does not declare it
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_dataset import parse_dataset_id
    try:
        parse_dataset_id(dataset_id)
    except ValueError:
        raise HubError(
            f"{dataset_id!r} is not an id of Minari. Write one such as rllte/dmc/cheetahrun/expert-v0."
        ) from None
    root = folder or minari.storage.get_dataset_path()
    target = root / dataset_id
    if target.exists():
        raise HubError(f"{target} exists. Delete it, or choose another id with --id.")
    root.mkdir(parents=True, exist_ok=True)
    seeds = demonstrations.metadata["env_seeds"]
    episodes = [
        EpisodeBuffer(
            id=number,
            seed=int(seeds[number]),
            observations=episode["observations"],
            actions=episode["actions"],
            rewards=episode["rewards"],
            terminations=episode["terminateds"],
            truncations=episode["truncateds"],
        )
        for number, episode in enumerate(demonstrations.values())
    ]
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as begun, _datasets_path(begun):
        with warnings.catch_warnings():  # about what is left out on purpose: an email, an environment
            warnings.simplefilter("ignore", UserWarning)
            dataset = minari.create_dataset_from_buffers(
                dataset_id, episodes, jpeg_encoding=False, data_format="arrow", **_facts(demonstrations)
            )
        scores = {"ref_min_score": low, "ref_max_score": high}
        dataset.storage.update_metadata({key: value for key, value in scores.items() if value is not None})
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(begun) / dataset_id, target)
    with _datasets_path(str(root)), suppress(ValueError):  # the namespace exists
        minari.namespace.create_namespace(dataset_id.rpartition("/")[0])
    return target


def _facts(demonstrations: Demonstrations) -> dict[str, Any]:
    """Return the spaces of the environment, and what Minari says of a dataset."""
    import gymnasium as gym

    metadata = demonstrations.metadata
    cell, episode = Cell.parse(metadata["cell"]), demonstrations[0]
    obs, actions = episode["observations"], episode["actions"]
    low, high = (0, 255) if obs.dtype == np.uint8 else (-np.inf, np.inf)
    found = re.fullmatch(r"Discrete\((\d+)\)", metadata["action_space"])
    by = f"the policy {metadata['model']}" if "model" in metadata else "uniformly random actions"
    noise = f" with noise {metadata['noise']}" if "noise" in metadata else ""
    return {
        "observation_space": gym.spaces.Box(low, high, obs.shape[1:], obs.dtype.type),
        "action_space": gym.spaces.Discrete(int(found[1]))
        if found
        else gym.spaces.Box(-1.0, 1.0, actions.shape[1:], np.float32),
        "algorithm_name": cell.agent,
        "author": _AUTHOR,
        "description": f"{cell.env_id} ({cell.benchmark}), played by {by}{noise}.",
    }


@contextmanager
def _datasets_path(folder: str) -> Iterator[None]:
    """Let Minari keep its datasets in a folder inside the block."""
    name = "MINARI_DATASETS_PATH"
    before = os.environ.get(name)
    os.environ[name] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
