"""The benchmarks as the user loads from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from rllte import registry
from rllte.errors import UnknownNameError
from rllte.hub.catalogue import Catalogue, read_catalogue
from rllte.hub.store import default_repo, fetch
from rllte.names import Cell, Run

if TYPE_CHECKING:
    import torch

    from rllte.agent.base import Agent


class Curves(dict[str, npt.NDArray[np.float32]]):
    """Learning curves: ``{"train": …, "eval": …}``, each ``(num_seeds, num_points)``.

    Attributes:
        train_steps: ``(num_points,)`` int64, the env steps of ``"train"``.
        eval_steps: ``(num_points,)`` int64, the env steps of ``"eval"``.
    """

    train_steps: npt.NDArray[np.int64]
    eval_steps: npt.NDArray[np.int64]


def available(
    benchmark: str | None = None, agent: str | None = None, env_id: str | None = None
) -> list[dict[str, Any]]:
    """Return one row for each published cell, of those names where names are given.

    Returns:
        Rows with ``benchmark``, ``agent``, ``env_id``, ``scale``, ``num_train_steps``, ``seeds``,
        ``num_episodes`` of each seed, ``mean`` score over all seeds, and the 95 % bootstrap
        ``interval`` of that mean over seeds (with three seeds, the range of their means).

    Raises:
        UnknownNameError: No cell, published or planned, has such a name.
    """
    return [dict(row) for row in read_catalogue(default_repo()).rows("published", benchmark, agent, env_id)]


class Benchmark:
    """A benchmark whose artifacts can be loaded.

    Args:
        repo: A checkout of RLLTE Hub; by default ``RLLTE_HUB_REPO``, else the one that this package
            runs from.
    """

    name: ClassVar[str]

    def __init__(self, repo: str | Path | None = None) -> None:
        self.repo = Path(repo).expanduser().absolute() if repo else default_repo()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(repo={str(self.repo)!r})"

    @property
    def catalogue(self) -> Catalogue:
        """What the repository lists."""
        return read_catalogue(self.repo)

    def _fetch(self, owner: Cell | Run, kind: str) -> bytes:
        return fetch(self.repo, self.catalogue.artifact(owner, kind))

    def load_curves(self, env_id: str, agent: str) -> Curves:
        """Load the learning curves of an agent on an environment.

        Returns:
            ``{"train": …, "eval": …}``, each ``(num_seeds, num_points)`` float32: the mean
            undiscounted return of the training episodes that ended since the previous point, and of
            the evaluation episodes played at the point. The env steps of the points are the
            attributes ``train_steps`` and ``eval_steps``, ``(num_points,)`` int64.

        Raises:
            UnknownNameError: There is no such agent or env_id.
            MissingArtifactError: The cell is planned, or its file cannot be had.
        """
        from rllte import tables

        cell = self.catalogue.cell(self.name, agent, env_id)
        table = tables.read_parquet(self._fetch(cell, "curves"), tables.CURVES, cell.path("curves"))
        split = table.column("split").to_numpy(zero_copy_only=False)
        steps = table.column("env_step").to_numpy()
        returns = table.column("episode_return").to_numpy()
        num_seeds = len(np.unique(table.column("seed").to_numpy()))
        curves = Curves({name: returns[split == name].reshape(num_seeds, -1) for name in ("train", "eval")})
        curves.train_steps = steps[split == "train"][: curves["train"].shape[1]]
        curves.eval_steps = steps[split == "eval"][: curves["eval"].shape[1]]
        return curves

    def load_scores(self, env_id: str, agent: str, split: str = "eval") -> npt.NDArray[np.float32]:
        """Load the final scores of an agent on an environment.

        Args:
            env_id: The environment.
            agent: The agent.
            split: ``"eval"``; Procgen also has ``"train_levels"``.

        Returns:
            ``(num_seeds, num_episodes)`` float32, undiscounted returns of whole episodes.

        Raises:
            UnknownNameError: There is no such agent, env_id or split.
            MissingArtifactError: The cell is planned, or its file cannot be had.
        """
        from rllte import tables

        cell = self.catalogue.cell(self.name, agent, env_id)
        table = tables.read_parquet(self._fetch(cell, "scores"), tables.SCORES, cell.path("scores"))
        splits = table.column("split").to_numpy(zero_copy_only=False)
        if split not in splits:
            raise UnknownNameError("split", split, dict.fromkeys(splits), where=str(cell))
        rows = splits == split
        num_seeds = len(np.unique(table.column("seed").to_numpy()))
        return table.column("episode_return").to_numpy()[rows].reshape(num_seeds, -1)

    def load_models(
        self, env_id: str, agent: str, seed: int = 0, device: str = "cpu"
    ) -> "torch.jit.ScriptModule":
        """Load a trained model.

        Returns:
            A TorchScript module in eval mode: observations ``(batch, *obs_shape)`` to logits
            ``(batch, num_actions)``, or to actions ``(batch, action_dim)`` in [-1, 1].

        Raises:
            UnknownNameError: There is no such agent, env_id or seed.
            MissingArtifactError: The cell is planned, or its file cannot be had.
            MissingExtraError: PyTorch is not installed.
            HubError: The device is not there, or the file is no TorchScript.
        """
        run = Run(self.catalogue.cell(self.name, agent, env_id), seed)
        artifact = self.catalogue.artifact(run, "model")
        load = registry.load("rllte.torchscript:load", "Models need")
        place = registry.load("rllte.torch_setup:torch_device")(device)
        return load(fetch(self.repo, artifact), artifact.path, place)

    def load_apis(
        self,
        env_id: str,
        agent: str,
        seed: int = 0,
        device: str = "cpu",
        *,
        scale: str | None = None,
        **settings: Any,
    ) -> "Agent":
        """Build an agent with the settings that the pipeline uses; ``.train()`` trains it.

        Args:
            env_id: The environment, published or planned.
            agent: The agent.
            seed: Decides initial weights, draws and environments.
            device: Where the networks live.
            scale: ``"published"`` or ``"paper"``; published by default where the cell is.
            settings: Changes of single settings by name, such as ``learning_rate=1.0e-3``.

        Raises:
            UnknownNameError: There is no such agent, env_id or setting.
            MissingExtraError: A package that training needs is not installed.
        """
        cell = self.catalogue.cell(self.name, agent, env_id)
        spec_module = registry.load("rllte.pipeline.spec", "Training needs")
        train_module = registry.load("rllte.pipeline.train", "Training needs")
        spec = spec_module.override(spec_module.read_spec(self.repo, cell, scale), settings)
        return train_module.make_agent(spec, Run(cell, seed).seed, device)


class Atari(Benchmark):
    """The Arcade Learning Environment's 57 games (Bellemare et al., 2013)."""

    name = "atari"


class DMControl(Benchmark):
    """The DeepMind Control Suite (Tassa et al., 2018)."""

    name = "dmc"


class Procgen(Benchmark):
    """Sixteen procedurally generated games (Cobbe et al., 2020)."""

    name = "procgen"


class MiniGrid(Benchmark):
    """Grid worlds with goals, keys and doors (Chevalier-Boisvert et al., 2023)."""

    name = "minigrid"


BENCHMARK_CLASSES: dict[str, type[Benchmark]] = {
    kind.name: kind for kind in (Atari, DMControl, Procgen, MiniGrid)
}
