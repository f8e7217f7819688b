"""One class for each benchmark, which loads its curves, scores, models and agents."""

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from rllte.errors import HubError, UnknownNameError
from rllte.extras import process_unchanged, requires_extra
from rllte.hub.arrays import Curves, ScoreMatrix
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import make_source
from rllte.names import Cell, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from rllte.agent.base import Agent
    from rllte.hub.demonstrations import Demonstrations


def available(
    benchmark: str | None = None,
    agent: str | None = None,
    env_id: str | None = None,
    *,
    status: str = "available",
    repo: str | Path | None = None,
    rev: str | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each available cell, filtered by the names that are given.

    Args:
        benchmark: Return only cells of this benchmark.
        agent: Return only cells of this agent.
        env_id: Return only cells of this environment.
        status: ``"available"``; or ``"planned"``, for cells that have settings and no scores yet.
        repo: The repository to list, as in ``Benchmark``.
        rev: The revision to list, as in ``Benchmark``.

    Returns:
        Rows with ``benchmark``, ``agent``, ``env_id``, ``status``, ``scale``, ``num_train_steps`` and
        ``num_seeds``. Rows of available cells also have ``seeds``, ``num_episodes`` of each seed,
        ``policy_mode`` (``"sampled"`` or ``"deterministic"``), ``version`` and ``spec`` of the settings, the
        ``mean`` score over all seeds, the 95 % ``interval`` of that mean over seeds by Student's t (None with
        one seed), and some a ``note``.

    Raises:
        UnknownNameError: No cell, available or planned, has one of these names, or there is no such status.
    """
    if status not in ("available", "planned"):
        raise UnknownNameError("status", status, ("available", "planned"))
    rows = make_source(repo, rev).catalogue.rows(status, benchmark, agent, env_id)
    return copy.deepcopy(rows)


class Benchmark:
    """A benchmark whose artifacts can be loaded.

    Args:
        repo: A checkout of RLLTE Hub, or any URL that git can fetch. The default is ``RLLTE_HUB_REPO`` or,
            if that is not set, the checkout that this package runs from.
        rev: A tag, branch or commit. Everything that is loaded is then exactly what that commit lists. The
            default is ``RLLTE_HUB_REV``. If that is not set, a checkout is read with its uncommitted
            changes, and of a URL the default branch is read.
        remote: The name of the DVC remote to download from. The default is ``RLLTE_HUB_REMOTE`` or, if that
            is not set, the repository's default remote.
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
            ``{"train": …, "eval": …}``, each ``(num_seeds, num_points)`` float32. A value of ``"train"`` is
            the mean undiscounted return of the training episodes that ended since the previous point. A
            value of ``"eval"`` is the mean undiscounted return of the evaluation episodes played at that
            point. The attributes ``train_steps`` and ``eval_steps``, ``(num_points,)`` int64, hold the env
            steps of the points.

        Raises:
            UnknownNameError: There is no such agent or env_id.
            MissingArtifactError: The cell is planned, or its file is neither here nor downloadable.
        """
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        splits = _read_table(self._fetch(cell, "curves"), "curves", cell)
        curves = Curves({name: splits[name].returns.copy() for name in ("train", "eval")})
        curves.train_steps, curves.eval_steps = (splits[name].axis.copy() for name in ("train", "eval"))
        curves.seeds = splits["eval"].seeds.copy()
        return curves

    def load_scores(self, env_id: str, agent: str, split: str = "eval") -> "npt.NDArray[np.float32]":
        """Load the final scores of an agent on an environment.

        Args:
            env_id: The environment.
            agent: The agent.
            split: ``"eval"``; Procgen also has ``"train_levels"``.

        Returns:
            ``(num_seeds, num_episodes)`` float32, the undiscounted return of each whole episode.

        Raises:
            UnknownNameError: There is no such agent, env_id or split.
            MissingArtifactError: The cell is planned, or its file is neither here nor downloadable.
        """
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        splits = _read_table(self._fetch(cell, "scores"), "scores", cell)
        if not isinstance(split, str) or split not in splits:
            raise UnknownNameError("split", split, splits, where=str(cell))
        return splits[split].returns.copy()

    def load_score_matrix(
        self,
        agent: str,
        env_ids: Sequence[str] | None = None,
        normalize: bool | Mapping[str, tuple[float, float]] | None = None,
        split: str = "eval",
    ) -> ScoreMatrix:
        """Load the final scores of an agent on several environments.

        Args:
            agent: The agent.
            env_ids: The environments; by default all of the agent's available cells.
            normalize: Whether returns are normalised by ``references/normalization.csv`` (0 is random play on
                Atari and the lowest return elsewhere, 1 is the human score on Atari and the highest return
                elsewhere); or the returns that become 0 and 1, ``{env_id: (low, high)}``.
            split: ``"eval"``; Procgen also has ``"train_levels"``.

        Returns:
            ``{env_id: (num_seeds, num_episodes)}`` float64.

        Raises:
            UnknownNameError: There is no such agent, env_id or split.
            MissingArtifactError: A cell is planned, or its file cannot be downloaded.
            HubError: The agent has no available cell, or an environment has no bounds.
        """
        from rllte.hub.references import load_bounds
        from rllte.hub.statistics import normalized

        catalogue = self.source.catalogue
        if env_ids is None:
            env_ids = [row["env_id"] for row in catalogue.rows("available", self.name, agent)]
        if not isinstance(env_ids, Iterable) or isinstance(env_ids, str):
            raise HubError(f"env_ids is {env_ids!r}; write a list of environments.")
        if not (env_ids := list(env_ids)):
            raise HubError(f"{self.name}/{agent} has no available cell yet.")
        bounds = normalize if isinstance(normalize, Mapping) else {}
        if normalize is True:
            bounds = load_bounds(self.source, self.name)
        matrix = ScoreMatrix()
        matrix.seeds = {}
        for cell in (catalogue.cell(self.name, agent, env_id) for env_id in env_ids):
            scores = self.load_scores(cell.env_id, agent, split).astype("float64")
            if normalize:
                if cell.env_id not in bounds:
                    raise HubError(f"normalize has no bounds for {cell.env_id!r}.")
                scores = normalized(scores, bounds[cell.env_id])
            matrix[cell.env_id] = scores
            matrix.seeds[cell.env_id] = list(catalogue.cells[str(cell)]["seeds"])
        return matrix

    def load_demonstrations(
        self,
        env_id: str,
        level: str = "expert",
        agent: str | None = None,
        *,
        num_episodes: int | None = None,
        stack: bool = True,
    ) -> "Demonstrations":
        """Load demonstrations, for offline reinforcement learning and imitation.

        Args:
            env_id: The environment.
            level: ``"random"`` (actions are drawn uniformly), ``"expert"`` (the cell's policy with the
                highest mean score), ``"noise"`` (the same policy with noise) or ``"exploration"`` (a policy
                that was trained by intrinsic rewards alone).
            agent: The agent whose environments and policies were used. The default is the agent with the
                highest mean score among those that have such demonstrations.
            num_episodes: The number of episodes, from the first on; all by default.
            stack: Whether observations are stacks of frames, as policies see them, or single frames.

        Returns:
            A mapping ``episode_0``, ``episode_1`` and so on to dicts of arrays, which are read when they are
            asked for.

        Raises:
            UnknownNameError: There is no such env_id, level or agent.
            MissingArtifactError: The demonstrations are planned, or their file cannot be downloaded.
            HubError: There are fewer episodes, or the file is damaged.
        """
        from rllte.hub.demonstrations import Demonstrations

        artifact = self.source.catalogue.dataset(self.name, env_id, level, agent)
        data = fetch(self.source, artifact)
        return Demonstrations(data, artifact.path, num_episodes=num_episodes, stack=stack)

    def load_models(
        self, env_id: str, agent: str, seed: int = 0, device: str = "cpu", *, trust_repo: bool = False
    ) -> "torch.jit.ScriptModule":
        """Load a trained model.

        Args:
            env_id: The environment.
            agent: The agent.
            seed: The seed of the training run.
            device: The PyTorch device to load the model onto.
            trust_repo: Load the model even if it contains code that this package's own models do not contain.
                Such code can read and write files, so set this only for a repository whose programs you
                would run.

        Returns:
            A TorchScript module in eval mode: observations ``(batch, *obs_shape)`` to logits
            ``(batch, num_actions)``, or to actions ``(batch, action_dim)`` in [-1, 1].

        Raises:
            UnknownNameError: There is no such agent, env_id or seed.
            MissingArtifactError: The cell is planned, or its file is neither here nor downloadable.
            MissingExtraError: PyTorch is not installed.
            HubError: This machine does not have the device, or the file is not a TorchScript model that is
                safe to load.
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
        """Build an untrained agent with the settings of the pipeline; ``.train()`` trains it.

        Args:
            env_id: The environment; its cell may be available or planned.
            agent: The agent.
            seed: The seed of the initial weights, of all random draws and of the environments.
            device: The PyTorch device of the networks.
            scale: ``"published"`` or ``"paper"``. The default is the scale that an available cell was trained
                at, and ``"paper"`` for a planned cell. A planned cell has the paper's budget at both scales.
            settings: New values for single settings, such as ``learning_rate=1.0e-3``.

        Raises:
            UnknownNameError: There is no such agent, env_id or setting.
            MissingExtraError: A package that training needs is not installed.
            HubError: A value has the wrong type, or this machine does not have the device.
        """
        cell = self.source.catalogue.cell(self.name, agent, env_id)
        with requires_extra("Training needs"):
            from rllte.recipes.build import make_agent
            from rllte.recipes.project import Project
            from rllte.recipes.spec import override
        with process_unchanged():
            spec = override(Project(self.source.root).spec(cell, scale), settings)
            return make_agent(spec, Run(cell, seed).seed, device)


class _Split(NamedTuple):
    """Returns ``(num_seeds, …)``, the axis that all rows share, and the seeds ``(num_seeds,)``."""

    returns: "npt.NDArray[Any]"
    axis: "npt.NDArray[Any]"
    seeds: "npt.NDArray[Any]"


_MAX_SPLITS = 16


@functools.lru_cache(maxsize=256)
def _read_table(data: bytes, kind: str, cell: Cell) -> "dict[str, _Split]":
    """Return the splits of a table by name.

    The result is cached, so the same bytes are decoded only once.
    """
    from rllte import tables

    schema, axis, expected = {
        "curves": (tables.CURVES, "env_step", ("train", "eval")),
        "scores": (tables.SCORES, "episode", ("eval",)),
    }[kind]
    path = cell.path(kind)
    columns = ["seed", "split", axis, "episode_return"]
    table = tables.read_parquet(data, schema, path, columns, dictionaries=["split"])
    with tables.readable(path):
        names = table.column("split").unify_dictionaries().combine_chunks()
        texts = names.dictionary.to_pylist()
    if len(texts) > _MAX_SPLITS:
        raise HubError(f"{path} has {len(texts):,} splits; the limit is {_MAX_SPLITS}.")
    number, splits = tables.column(names.indices), {}
    for i, name in enumerate(texts):
        rows = number == i
        if not rows.any():  # a dictionary may contain texts that no row uses
            continue
        seeds, steps, returns = (
            tables.column(table[column])[rows] for column in ("seed", axis, "episode_return")
        )
        splits[name] = _by_seed(seeds, steps, returns, f"{path}: split {name!r}")
    for name in expected:
        if name not in splits:
            raise HubError(f"{path} has no rows of the split {name!r}; it has {', '.join(splits) or 'none'}.")
    return splits


def _by_seed(
    seeds: "npt.NDArray[Any]", steps: "npt.NDArray[Any]", returns: "npt.NDArray[Any]", where: str
) -> _Split:
    """Return the rows of a split as one row for each seed."""
    starts = [0, *((seeds[1:] != seeds[:-1]).nonzero()[0] + 1).tolist()]
    if len(returns) % len(starts):
        raise HubError(f"{where}: {len(returns)} rows cannot be divided equally among {len(starts)} seeds.")
    shape = len(starts), len(returns) // len(starts)
    of_row = seeds.reshape(shape)[:, 0]
    if (seeds.reshape(shape) != of_row[:, None]).any() or (of_row[1:] <= of_row[:-1]).any():
        raise HubError(f"{where}: every seed must have the same number of rows, in ascending order of seeds.")
    axes = steps.reshape(shape)
    if (axes != axes[0]).any():
        raise HubError(f"{where}: the seeds have different steps or episodes.")
    return _Split(returns.reshape(shape), axes[0], of_row)


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
