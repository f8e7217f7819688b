"""Make demonstrations: play whole episodes, and write what was seen and done."""

import io
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from tqdm import tqdm

from rllte import tables, torchscript
from rllte.agent import INTRINSIC
from rllte.agent.evaluation import Act, acting
from rllte.agent.settings import check_ranges
from rllte.config import bars_disabled
from rllte.env.vector import Array
from rllte.errors import HubError
from rllte.files import read_pulled, sha256, write_bytes
from rllte.hub.demonstrations import METADATA, transitions_schema
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import Source
from rllte.names import LEVELS, Cell, Dataset, Run
from rllte.recipes.build import make_envs
from rllte.recipes.project import Project
from rllte.recipes.spec import FORMAT_VERSION, DemonstrationSettings, Spec
from rllte.seeding import env_seeds
from rllte.torch_setup import torch_threads

_COMPRESSION_LEVEL = 19
"""Of finished files: frames take as little as half the bytes of level 9, but writing is much slower."""

_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "store_schema": False,
    # without these, a short episode takes up to three times as many bytes
    "write_statistics": False,
    "use_dictionary": ["observation", "action"],
    "column_encoding": {"episode": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED"},
}


@dataclass(frozen=True)
class Player:
    """The run whose model plays.

    Attributes:
        run: The run.
        model: The bytes of its model.
        mean_score: The mean of the run's scores.
    """

    run: Run
    model: bytes
    mean_score: float


def demonstrate(root: Path, dataset: Dataset) -> str:
    """Write the demonstrations of a cell at one level; return one line that sums them up.

    The policy is that of the seed with the highest mean score. What an interrupted attempt has played is not
    played again.

    Raises:
        MissingArtifactError: The models or the scores of the cell are not here.
        HubError: The level does not fit the cell's agent.
    """
    project = Project(root)
    settings = project.demonstration_settings(dataset.cell.benchmark)
    player = (
        None
        if dataset.level == "random"
        else best_player(dataset.cell, lambda owner, kind: read_pulled(root, owner.path(kind)))
    )
    scratch = root / f"scratch/demonstrations/{dataset}"
    data = make_demonstrations(project.spec(dataset.cell), dataset.level, player, settings, scratch)
    write_bytes(root / dataset.path, data)
    shutil.rmtree(scratch, ignore_errors=True)
    return f"{dataset}: {summary(data)}"


def demonstrate_on_demand(
    source: Source,
    dataset: Dataset,
    path: Path,
    num_episodes: int | None = None,
    noise: float | None = None,
    *,
    trust_repo: bool = False,
) -> str:
    """Write demonstrations by a model of the hub to a file; return one line that sums them up.

    The first episodes are those of the hub's demonstrations. What an interrupted attempt has played
    stays beside the file, and is not played again.

    Args:
        source: The source of the cell. Demonstrations of the level ``"random"`` need no model.
        dataset: The cell and the level.
        path: The file to write.
        num_episodes: The number of episodes; the default is the benchmark's setting.
        noise: The noise of the level ``"noise"``; the default is the benchmark's setting.
        trust_repo: The same as in ``load_models``.

    Raises:
        MissingArtifactError: The cell is planned, or its model cannot be downloaded.
        HubError: A number is out of its range, or the level does not fit the cell's agent.
    """
    project, cell = Project(source.root), dataset.cell

    def read(owner: Cell | Run, kind: str) -> bytes:
        return fetch(source, source.catalogue.artifact(owner, kind))

    if noise is not None and dataset.level != "noise":
        raise HubError(
            f"noise is {noise}, but the level is {dataset.level}. Leave it out, or take the level noise."
        )
    changes: dict[str, Any] = {"num_episodes": num_episodes, "noise": noise}
    settings = project.demonstration_settings(cell.benchmark)
    settings = replace(settings, **{key: value for key, value in changes.items() if value is not None})
    check_ranges(settings)
    player = None if dataset.level == "random" else best_player(cell, read)
    scratch = path.with_name(f"{path.name}.parts")
    spec = project.spec(cell)
    data = make_demonstrations(spec, dataset.level, player, settings, scratch, trust_repo=trust_repo)
    write_bytes(path, data)
    shutil.rmtree(scratch, ignore_errors=True)
    return f"{path}: {summary(data)}"


def summary(data: bytes) -> str:
    """Return a line about the bytes of a file of demonstrations."""
    file = tables.open_parquet(data)
    returns = json.loads(file.metadata.metadata[METADATA.encode()])["returns"]
    size = f"{file.metadata.num_rows:,} rows, {len(data) / 1e6:.2f} MB"
    return f"mean return {np.mean(returns):.4g} over {len(returns)} episodes, {size}"


def best_player(cell: Cell, read: Callable[[Cell | Run, str], bytes]) -> Player:
    """Return the run of a cell with the highest mean score, the first of equals.

    Args:
        cell: The cell.
        read: Returns the bytes of a file of a cell or a run, by its kind.
    """
    seeds, returns = tables.read_eval_scores(read(cell, "scores"), cell.path("scores"))
    means = {int(seed): float(returns[seeds == seed].mean(dtype=np.float64)) for seed in np.unique(seeds)}
    seed = max(means, key=lambda seed: (means[seed], -seed))
    run = Run(cell, seed)
    return Player(run, read(run, "model"), round(means[seed], 6))


def make_demonstrations(
    spec: Spec,
    level: str,
    player: Player | None,
    settings: DemonstrationSettings,
    scratch: Path,
    *,
    trust_repo: bool = False,
) -> bytes:
    """Play episodes and return the bytes of their file.

    Args:
        spec: The settings of the cell.
        level: The level: ``"random"``, ``"expert"``, ``"noise"`` or ``"exploration"``.
        player: The run whose model plays; None for ``"random"``.
        settings: The number of episodes and how they are played.
        scratch: A folder for finished episodes. The caller removes it when the file is written.
        trust_repo: The same as in ``load_models``.

    Raises:
        HubError: The level does not fit the cell's agent.
    """
    if level == "exploration" and spec.cell.agent not in INTRINSIC:
        raise HubError(
            f"{spec.cell}: the level exploration needs an agent that is trained by intrinsic rewards alone. "
            f"Such agents: {', '.join(INTRINSIC) or 'none yet'}."
        )
    seed = player.run.seed if player else 0
    # every round is full, so that the first episodes do not depend on how many follow
    num_rounds = math.ceil(settings.num_episodes / settings.num_envs)
    seeds = env_seeds(seed, "demonstrate", LEVELS.index(level), num_rounds * settings.num_envs)
    facts = _facts(spec, level, player, settings)
    key = sha256(json.dumps([facts, seeds, settings.num_episodes], sort_keys=True).encode())[:16]
    model, parts = None, []
    if player is not None:
        model = torchscript.load(player.model, player.run.path("model"), trust_repo=trust_repo)
    bar = tqdm(
        total=settings.num_episodes, desc=f"{spec.cell}/{level}", unit="episode", disable=bars_disabled()
    )
    for start in range(0, len(seeds), settings.num_envs):
        part = scratch / key / f"{start}.parquet"
        if not part.exists():
            with torch_threads(settings.num_threads):
                round_seeds = seeds[start : start + settings.num_envs]
                episodes, frame_facts = play_round(spec, level, model, settings.noise, round_seeds)
            numbers = range(start, settings.num_episodes)
            write_bytes(part, _file(map(_table, numbers, episodes), frame_facts, compression_level=1))
        bar.update(min(settings.num_envs, settings.num_episodes - start))
        parts.append(tables.open_parquet(part.read_bytes()))
    bar.close()
    frame_facts = json.loads(parts[0].metadata.metadata[METADATA.encode()])
    groups = (part.read_row_group(i) for part in parts for i in range(part.num_row_groups))
    facts |= {**frame_facts, "env_seeds": seeds[: settings.num_episodes]}
    return _file(groups, facts, _COMPRESSION_LEVEL)


def _facts(spec: Spec, level: str, player: Player | None, settings: DemonstrationSettings) -> dict[str, Any]:
    """Return the facts on which the bytes of a file depend, and those that its readers need."""
    by_model = {}
    if player is not None:
        by_model = {
            "seed": player.run.seed,
            "model": player.run.path("model"),
            "model_sha256": sha256(player.model),
            "mean_score": player.mean_score,
            "policy_mode": "deterministic" if spec.evaluation.deterministic else "sampled",
        }
    return {
        "format": FORMAT_VERSION,
        "cell": str(spec.cell),
        "level": level,
        **by_model,
        **({"noise": settings.noise} if level == "noise" else {}),
        "env_options": spec.env.get("evaluation", {}),
        "num_envs": settings.num_envs,
        "num_threads": settings.num_threads,
    }


class Episode:
    """An episode that is being played: its frames, and the action and the outcome of each step.

    Attributes:
        frames: The observations, or the newest frame of each; one more than steps.
        actions: The action of each step.
        rewards: The reward of each step.
        terminated: Whether the last step terminated the episode.
        truncated: Whether the last step truncated the episode.
    """

    def __init__(self, frame: Array) -> None:
        self.frames, self.actions, self.rewards = [frame], list[Array](), list[float]()
        self.terminated = self.truncated = False

    def add(self, action: Array, reward: float, frame: Array, terminated: bool, truncated: bool) -> None:
        """Add a step and the frame that it led to."""
        self.actions.append(action)
        self.rewards.append(reward)
        self.frames.append(frame)
        self.terminated, self.truncated = terminated, truncated

    @property
    def is_over(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated


def play_round(
    spec: Spec,
    level: str,
    model: torch.nn.Module | None,
    noise: float,
    seeds: Sequence[int],
) -> tuple[list[Episode], dict[str, Any]]:
    """Play one episode for each seed, side by side.

    Args:
        spec: The settings of the cell.
        level: What chooses the actions, one of ``rllte.names.LEVELS``.
        model: The model that plays; None for ``"random"``.
        noise: The noise of the level ``"noise"``.
        seeds: The seed of each environment; the first is also that of drawn actions.

    Returns:
        The episodes, and the facts of their frames for a file of demonstrations.
    """
    envs = make_envs(spec, len(seeds), seeds, training=False)
    generator = torch.Generator().manual_seed(seeds[0])
    act = _actor(spec, level, model, envs.single_action_space, noise, generator)
    stack_size = getattr(envs, "stack_size", 1)
    obs, _ = envs.reset()
    episodes = [Episode(frame) for frame in _newest(obs, stack_size)]
    while not all(episode.is_over for episode in episodes):
        actions = act(obs)
        obs, rewards, terminated, truncated, infos = envs.step(actions)
        frames, last = _newest(obs, stack_size), _newest(infos.get("final_obs", obs), stack_size)
        for i, episode in enumerate(episodes):
            if not episode.is_over:
                ended = bool(terminated[i]), bool(truncated[i])
                frame = last[i] if any(ended) else frames[i]
                episode.add(actions[i].numpy(), float(rewards[i]), frame, *ended)
    envs.close()
    first = episodes[0].frames[0]
    return episodes, {
        "dtype": first.dtype.name,
        "frame_shape": list(first.shape),
        "stack_size": stack_size,
        "action_space": str(envs.single_action_space),
    }


def _newest(obs: torch.Tensor, stack_size: int) -> Array:
    """Return the newest frame of each observation."""
    return obs[:, -(obs.shape[1] // stack_size) :].numpy().copy() if stack_size > 1 else obs.numpy().copy()


def _actor(
    spec: Spec,
    level: str,
    model: torch.nn.Module | None,
    space: gym.Space[Any],
    noise: float,
    generator: torch.Generator,
) -> Act:
    """Return the function from observations to actions for a level."""

    def random(num_envs: int) -> torch.Tensor:
        if isinstance(space, gym.spaces.Discrete):
            return torch.randint(int(space.n), (num_envs,), generator=generator)
        return 2 * torch.rand((num_envs, *(space.shape or ())), generator=generator) - 1

    if model is None:
        return lambda obs: random(len(obs))
    policy = acting(model, space, spec.evaluation.deterministic, generator)
    if level != "noise":
        return policy

    def noisy(obs: torch.Tensor) -> torch.Tensor:
        actions = policy(obs)
        if isinstance(space, gym.spaces.Discrete):
            replaced = torch.rand(len(obs), generator=generator) < noise
            return torch.where(replaced, random(len(obs)), actions)
        return (actions + noise * torch.randn(actions.shape, generator=generator)).clip(-1, 1)

    return noisy


def _table(number: int, episode: Episode) -> pa.Table:
    """Return an episode as rows: one for each frame; the last has no action."""
    frames, num_steps = episode.frames, len(episode.actions)
    schema = transitions_schema(frames[0].nbytes, discrete=episode.actions[0].ndim == 0)
    before = [False] * (num_steps - 1)
    columns = [
        [number] * (num_steps + 1),
        range(num_steps + 1),
        [frame.tobytes() for frame in frames],
        [*(action.tolist() for action in episode.actions), None],
        [*episode.rewards, None],
        [*before, episode.terminated, None],
        [*before, episode.truncated, None],
    ]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _file(episodes: Iterable[pa.Table], facts: Mapping[str, Any], compression_level: int) -> bytes:
    """Return a Parquet file with a row group for each episode; its metadata has the facts and the returns."""
    buffer, returns, lengths = io.BytesIO(), list[float](), list[int]()
    episodes = iter(episodes)
    first = next(episodes)
    options = {**_PARQUET, "compression_level": compression_level}
    with pa.parquet.ParquetWriter(buffer, first.schema, **options) as writer:
        for table in itertools.chain([first], episodes):
            writer.write_table(table, row_group_size=len(table))
            rewards = tables.column(table["reward"].slice(0, len(table) - 1).combine_chunks())
            returns.append(round(float(rewards.sum(dtype=np.float64)), 6))
            lengths.append(len(rewards))
        text = json.dumps({**facts, "returns": returns, "lengths": lengths}, sort_keys=True)
        writer.add_key_value_metadata({METADATA: text})
    return buffer.getvalue()
