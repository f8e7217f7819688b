"""The benchmarks as the user loads from them."""

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rllte.errors import HubError, UnknownNameError
from rllte.extras import requires_extra
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import make_source
from rllte.names import Cell, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from rllte.agent.base import Agent


class Curves(dict[str, "npt.NDArray[np.float32]"]):
    """Learning curves: ``{"train": …, "eval": …}``, each ``(num_seeds, num_points)``.

    Attributes:
        train_steps: ``(num_points,)`` int64, the env steps of ``"train"``, whose values are NaN before the
            first training episode has ended.
        eval_steps: ``(num_points,)`` int64, the env steps of ``"eval"``.
    """

    train_steps: "npt.NDArray[np.int64]"
    eval_steps: "npt.NDArray[np.int64]"


def available(
    benchmark: str | None = None,
    agent: str | None = None,
    env_id: str | None = None,
    *,
    repo: str | Path | None = None,
    rev: str | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each available cell, of those names where names are given.

    ``repo`` and ``rev`` are those of ``Benchmark``.

    Returns:
        Rows with ``benchmark``, ``agent``, ``env_id``, ``status``, ``scale``, ``num_train_steps``,
        ``num_seeds``, ``seeds``, ``num_episodes`` of each seed, ``policy_mode`` (``"sampled"`` or
        ``"deterministic"``), ``version`` and ``spec`` of the settings, ``mean`` score over all seeds, and the
        95 % bootstrap ``interval`` of that mean over seeds (with two or three, the range of their
        means; None with one).

    Raises:
        UnknownNameError: No cell, available or planned, has such a name.
    """
    rows = make_source(repo, rev).catalogue.rows("available", benchmark, agent, env_id)
    return copy.deepcopy(rows)


class Benchmark:
    """A benchmark whose artifacts can be loaded.

    Args:
        repo: A checkout of RLLTE Hub, or any URL that git can fetch; by default ``RLLTE_HUB_REPO``, else
            the checkout that this package runs from.
        rev: A tag, branch or commit: everything that is loaded is exactly what that commit lists. By
            default ``RLLTE_HUB_REV``, else a checkout as it stands, or the default branch of a URL.
        remote: The name of the DVC remote to download from; by default ``RLLTE_HUB_REMOTE``, else the
            repository's default remote.
    """

    name: ClassVar[str]

    def __init__(
        self, repo: str | Path | None = None, rev: str | None = None, remote: str | None = None
    ) -> None:
        self.source = make_source(repo, rev, remote)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source})"

    def _fetch(self, owner: Cell | Run, kind: str) -> bytes:
        return fetch(self.source, self.source.catalogue.artifact(owner, kind))

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
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        splits = _read_table(self._fetch(cell, "curves"), "curves", cell)
        curves = Curves({name: splits[name][0].copy() for name in ("train", "eval")})
        curves.train_steps, curves.eval_steps = (splits[name][1].copy() for name in ("train", "eval"))
        return curves

    def load_scores(self, env_id: str, agent: str, split: str = "eval") -> "npt.NDArray[np.float32]":
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
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        splits = _read_table(self._fetch(cell, "scores"), "scores", cell)
        if split not in splits:
            raise UnknownNameError("split", split, splits, where=str(cell))
        return splits[split][0].copy()

    def load_models(
        self, env_id: str, agent: str, seed: int = 0, device: str = "cpu", *, trust_repo: bool = False
    ) -> "torch.jit.ScriptModule":
        """Load a trained model.

        Args:
            env_id: The environment.
            agent: The agent.
            seed: Of the training run.
            device: Where the model goes.
            trust_repo: Load the model even if it has code that models of this package do not have. Such code
                can read and write files: say this only of a repository that you would run programs from.

        Returns:
            A TorchScript module in eval mode: observations ``(batch, *obs_shape)`` to logits
            ``(batch, num_actions)``, or to actions ``(batch, action_dim)`` in [-1, 1].

        Raises:
            UnknownNameError: There is no such agent, env_id or seed.
            MissingArtifactError: The cell is planned, or its file cannot be had.
            MissingExtraError: PyTorch is not installed.
            HubError: The device is not there, or the file is not a TorchScript model that is safe to load.
        """
        run = Run(self.source.catalogue.cell(self.name, agent, env_id), seed)
        artifact = self.source.catalogue.artifact(run, "model")
        with requires_extra("Models need"):
            from rllte import torchscript
            from rllte.torch_setup import torch_device
        place = torch_device(device)
        return torchscript.load(fetch(self.source, artifact), artifact.path, place, trust_repo=trust_repo)

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
            env_id: The environment, available or planned.
            agent: The agent.
            seed: Decides initial weights, draws and environments.
            device: Where the networks live.
            scale: ``"published"`` or ``"paper"``; by default what the cell was published at, and
                ``"paper"`` for a planned one, whose budget is the paper's at both.
            settings: Changes of single settings by name, such as ``learning_rate=1.0e-3``.

        Raises:
            UnknownNameError: There is no such agent, env_id or setting.
            MissingExtraError: A package that training needs is not installed.
            HubError: A value is of the wrong kind, or the device is not there.
        """
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        with requires_extra("Training needs"):
            from rllte.recipes.build import make_agent
            from rllte.recipes.project import Project
            from rllte.recipes.spec import override
        spec = override(Project(self.source.root).spec(cell, scale), settings)
        return make_agent(spec, Run(cell, seed).seed, device)


@functools.lru_cache(maxsize=256)
def _read_table(data: bytes, kind: str, cell: Cell) -> "dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]":
    """Return returns ``(num_seeds, …)`` and the axis of each split; the same bytes are decoded once."""
    from rllte import tables

    schema, axis, expected = {
        "curves": (tables.CURVES, "env_step", ("train", "eval")),
        "scores": (tables.SCORES, "episode", ("eval",)),
    }[kind]
    path = cell.path(kind)
    table = tables.read_parquet(data, schema, path, ["seed", "split", axis, "episode_return"])
    names = table.column("split").combine_chunks().dictionary_encode()
    number, splits = tables.column(names.indices), {}
    for i, name in enumerate(names.dictionary.to_pylist()):
        seeds, steps, returns = (
            tables.column(table[column])[number == i] for column in ("seed", axis, "episode_return")
        )
        splits[name] = _by_seed(seeds, steps, returns, f"{path}: split {name!r}")
    for name in expected:
        if name not in splits:
            raise HubError(f"{path} has no rows of the split {name!r}; it has {', '.join(splits) or 'none'}.")
    return splits


def _by_seed(
    seeds: "npt.NDArray[Any]", steps: "npt.NDArray[Any]", returns: "npt.NDArray[Any]", where: str
) -> "tuple[npt.NDArray[Any], npt.NDArray[Any]]":
    """Return returns as one row for each seed, and the axis that all rows share."""
    starts = [0, *((seeds[1:] != seeds[:-1]).nonzero()[0] + 1).tolist()]
    if len(returns) % len(starts):
        raise HubError(
            f"{where}: {len(returns)} rows are not the same number for each of {len(starts)} seeds."
        )
    shape = len(starts), len(returns) // len(starts)
    of_row = seeds.reshape(shape)[:, 0]
    if (seeds.reshape(shape) != of_row[:, None]).any() or (of_row[1:] <= of_row[:-1]).any():
        raise HubError(
            f"{where}: each seed must have as many rows as the others, in ascending order of seeds."
        )
    axes = steps.reshape(shape)
    if (axes != axes[0]).any():
        raise HubError(f"{where}: the seeds have different steps or episodes.")
    return returns.reshape(shape), axes[0]


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
