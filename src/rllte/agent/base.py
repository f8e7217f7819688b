"""The training loop that every agent shares: segments, points of the learning curve, checkpoints."""

import abc
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pyarrow as pa
import torch
from torch import nn
from tqdm import tqdm

from rllte import tables
from rllte.agent.checkpoint import read_checkpoint, write_checkpoint
from rllte.agent.evaluation import Envs, acting, play_episodes
from rllte.agent.settings import TrainSettings, check_ranges, whole_number
from rllte.errors import HubError
from rllte.names import checked_seed
from rllte.seeding import env_seeds
from rllte.torch_setup import deterministic_cudnn, keep_freed_memory, torch_device, torch_threads

MakeEnvs = Callable[[int, Sequence[int], bool], Envs]
"""Makes environments; takes their number, a seed for each, and whether they are for training."""


_BUILD_THREADS = 2
_building = threading.Lock()  # of PyTorch's global generator, which the initial weights are drawn from


class Agent(abc.ABC):
    """An agent: its networks, its optimizers, and how it learns.

    A subclass sets ``policy``, ``modules`` and ``optimizers`` in ``build``, and does one round of
    acting and learning in ``update``.

    Args:
        config: An instance of ``Config``.
        settings: Settings of training and of its evaluations.
        make_envs: Makes vectors of environments.
        seed: Determines initial weights, sampled actions, minibatches and the environments' seeds.
        device: Device of the networks.
        num_train_steps: Default number of env steps of ``train``.
        env_name: Name of the environment. A checkpoint belongs to one environment.

    Attributes:
        resumed_at: Env step of the checkpoint that training resumed from; 0 if there was none.
    """

    Config: ClassVar[type]
    config: Any
    observation_space: gym.spaces.Box
    action_space: Any
    policy: nn.Module
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(
        self,
        config: Any,
        settings: TrainSettings,
        make_envs: MakeEnvs,
        *,
        seed: int,
        device: str | torch.device = "cpu",
        num_train_steps: int = 1_000_000,
        env_name: str = "",
    ) -> None:
        self.config, self.settings, self.make_envs = config, settings, make_envs
        check_ranges(config, settings)
        self.env_name = env_name
        self.seed, self.device, self.num_train_steps = seed, torch_device(device), num_train_steps
        self.generator = torch.Generator(self.device).manual_seed(seed)
        envs = make_envs(1, env_seeds(seed, "train", 0, 1), True)
        if not isinstance(envs.single_observation_space, gym.spaces.Box):
            raise HubError(f"observations are {envs.single_observation_space}; agents take one array.")
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space
        envs.close()
        # nn.Module draws from the global generator; orthogonal weights depend on the number of threads
        with _building, torch.random.fork_rng(devices=[]), torch_threads(_BUILD_THREADS):
            torch.default_generator.manual_seed(seed)
            self.build()
        self.num_updates = self.resumed_at = 0
        self._rows: list[list[float]] = []
        self._ended: list[list[float]] = []

    @abc.abstractmethod
    def build(self) -> None:
        """Make the networks, the optimizers and the buffers on ``device``."""

    @property
    @abc.abstractmethod
    def steps_per_update(self) -> int:
        """Number of env steps in one ``update``."""

    @abc.abstractmethod
    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Act for ``steps_per_update`` env steps from ``obs``, learn, and return the next ``obs``."""

    def start_segment(self) -> None:  # noqa: B027
        """Prepare for new environments, which begin new episodes."""

    def extra_state(self) -> dict[str, Any]:
        """Return what resuming needs besides modules, optimizers and the generator."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore what ``extra_state`` returned."""

    @property
    def env_step(self) -> int:
        """Number of env steps so far: agent steps over all parallel environments, before frame skip."""
        return self.num_updates * self.steps_per_update

    def train(
        self,
        num_train_steps: float | None = None,
        *,
        evaluate: bool = True,
        log: str | Path | None = None,
        resume: str | Path | None = None,
        description: str | None = None,
        watch: Callable[["Agent"], None] | None = None,
    ) -> pa.Table:
        """Train until the agent has made this many env steps in total, rounded up to whole updates.

        A larger number extends training that has ended. Training then continues in new environments, and
        the larger number determines the distance between the new points of the curve.

        Args:
            num_train_steps: A whole number, which may be written ``2.5e+7``. The default is the recipe's. A
                smaller number gives proportionally fewer points, so that evaluation takes no larger share of
                the time.
            evaluate: Whether to play evaluation episodes at each point of the curve. Otherwise the curves
                have the training episodes only.
            log: A ``.csv`` or ``.parquet`` file. The curves are written to it at each of their points.
            resume: A checkpoint file, written at each checkpoint. If it exists, training resumes from it.
                Training that was interrupted then ends with the same bytes as training that was not.
            description: Text of the progress bar.
            watch: Called with the agent at each point of the curves and after each checkpoint.

        Returns:
            The learning curves so far, with the columns of ``docs/reference/formats.md``.

        Raises:
            HubError: The number is not positive and whole, ``resume`` belongs to another environment, other
                settings or another seed, ``log`` is neither ``.csv`` nor ``.parquet``, or a weight became
                infinite or NaN.
        """
        total = self._num_updates(self.num_train_steps if num_train_steps is None else num_train_steps)
        for name, path in (("log", log), ("resume", resume)):
            if path is not None and (not isinstance(path, (str, os.PathLike)) or Path(path).is_dir()):
                raise HubError(f"{name} is {path!r}; write the path of a file.")
        if resume is not None and (state := read_checkpoint(Path(resume))) is not None:
            self.load_state_dict(state)
            self.resumed_at = self.env_step
        points = self._points(total, evaluate)
        watchers: list[Callable[[Agent], None]] = []
        if log is not None:
            watchers.append(lambda _: tables.write_table(Path(log), self.curves()))
        if watch is not None:
            watchers.append(watch)
        bar = tqdm(total=total * self.steps_per_update, initial=self.env_step, disable=None, unit="step")
        bar.set_description(description or type(self).__name__)
        keep_freed_memory()
        with torch_threads(self.settings.num_threads), deterministic_cudnn(), bar:
            while self.num_updates < total:
                seeds, end = self._next_segment(total)
                self._train_segment(seeds, end, points, evaluate, bar, watchers)
                if resume is not None:
                    write_checkpoint(Path(resume), self.state_dict())
                if watch is not None:
                    watch(self)
        return self.curves()

    def _num_updates(self, num_train_steps: float) -> int:
        return math.ceil(whole_number("num_train_steps", num_train_steps) / self.steps_per_update)

    def _points(self, total: int, evaluate: bool) -> set[int]:
        """Return the numbers of updates at which the curve has its points."""
        num_points, whole = self.settings.num_points, self._num_updates(self.num_train_steps)
        if evaluate and total < whole:
            num_points = math.ceil(num_points * total / whole)
        return set(np.linspace(0, total, num_points + 1).round().astype(int)[1:].tolist())

    def _next_segment(self, total: int) -> tuple[list[int], int]:
        """Return the environments' seeds until the next checkpoint, and the checkpoint's number of updates.

        Training may have ended within a segment and be extended from there. The new environments then need
        other seeds than those of the segment's first part.
        """
        length = max(1, self.settings.checkpoint_steps // self.steps_per_update)
        segment, updates_of_it = divmod(self.num_updates, length)
        purpose, index = ("extend", self.num_updates) if updates_of_it else ("train", segment)
        seeds = env_seeds(self.seed, purpose, index, self.config.num_envs)
        return seeds, min(total, (segment + 1) * length)

    def _train_segment(
        self,
        seeds: Sequence[int],
        end: int,
        points: set[int],
        evaluate: bool,
        bar: Any,
        watchers: list[Callable[["Agent"], None]],
    ) -> None:
        envs = self.make_envs(len(seeds), seeds, True)
        obs, _ = envs.reset()
        self.start_segment()
        while self.num_updates < end:
            try:
                obs = self.update(envs, obs)
            except RuntimeError:
                self._check_finite()  # sampling from NaN probabilities raises RuntimeError
                raise
            self.num_updates += 1
            bar.update(self.steps_per_update)
            if self.num_updates in points:
                self._add_point(evaluate, bar)
                for watcher in watchers:
                    watcher(self)
        envs.close()

    def record_episodes(self, infos: Mapping[str, Any]) -> None:
        """Store the episodes that ended in a training step, for the next point of the curve."""
        if "_episode" in infos:
            ended = infos["_episode"]
            self._ended += np.stack([infos["episode"]["r"], infos["episode"]["l"]], axis=1)[ended].tolist()

    def _add_point(self, evaluate: bool, bar: Any) -> None:
        self._check_finite()
        if self._ended:
            train_row = [*np.mean(self._ended, axis=0).tolist(), len(self._ended)]
        else:  # no episode ended since the previous point, so repeat its values
            last = [row[2:4] for row in self._rows if row[0] == 0][-1:]
            train_row = [*(last[0] if last else (math.nan, math.nan)), 0]
        self._ended = []
        self._rows.append([0, self.env_step, *train_row])
        if not evaluate:
            return
        bar.set_postfix_str("evaluating")
        point = sum(row[0] for row in self._rows)
        returns, lengths = self.evaluate(
            env_seeds(self.seed, "curve", int(point), self.settings.num_eval_envs)
        )
        self._rows.append([1, self.env_step, float(returns.mean()), float(lengths.mean()), len(returns)])
        bar.set_postfix_str(f"return {returns.mean():.4g}", refresh=False)

    def _check_finite(self) -> None:
        if not all(bool(p.isfinite().all()) for p in self.policy.parameters()):
            raise HubError(
                f"{type(self).__name__} diverged: infinite or NaN weights at step {self.env_step}."
            )

    def evaluate(self, seeds: Sequence[int], num_episodes: int | None = None) -> tuple[Any, Any]:
        """Play whole episodes in new environments with the current policy.

        Args:
            seeds: One seed for each environment.
            num_episodes: Total number of episodes, a multiple of the number of seeds. The default is the
                settings' ``num_eval_episodes``.

        Returns:
            Undiscounted returns ``(num_episodes,)`` float64 and lengths ``(num_episodes,)`` int64 in agent
            steps.

        Raises:
            HubError: A seed is not a whole number from 0 to 2**31 - 1, or ``num_episodes`` is not a multiple
                of the number of seeds.
        """
        if not isinstance(seeds, Iterable) or not (seeds := list(seeds)):
            raise HubError(f"seeds is {seeds!r}; write a list of seeds, one for each environment.")
        seeds = [checked_seed(seed) for seed in seeds]
        num_episodes = whole_number("num_episodes", num_episodes or self.settings.num_eval_episodes)
        envs = self.make_envs(len(seeds), seeds, False)
        generator = torch.Generator(self.device).manual_seed(seeds[0])
        act = acting(self.policy, self.action_space, self.settings.deterministic, generator)
        episodes = play_episodes(act, envs, num_episodes)
        envs.close()
        return episodes

    def curves(self) -> pa.Table:
        """Return the learning curves so far, one row per point and split."""
        splits, steps, returns, lengths, counts = zip(*self._rows, strict=True) if self._rows else [()] * 5
        columns = [
            [self.seed] * len(steps),
            ["eval" if split else "train" for split in splits],
            [int(step) for step in steps],
            returns,
            lengths,
            [int(count) for count in counts],
        ]
        return pa.table(columns, schema=tables.CURVES)

    def _identity(self) -> str:
        what = f"{type(self).__name__} in {self.env_name}" if self.env_name else type(self).__name__
        return f"{what} with seed {self.seed}, {self.config}, {self.settings}"

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs, as tensors and plain values."""
        return {
            "identity": self._identity(),
            "num_updates": self.num_updates,
            "rows": self._rows,
            "ended": [list(episode) for episode in self._ended],
            "generator": self.generator.get_state(),
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "extra": self.extra_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            HubError: The state belongs to another environment, other settings or another seed.
        """
        if state["identity"] != self._identity():
            theirs, ours = state["identity"].split(", "), self._identity().split(", ")
            raise HubError(
                "The checkpoint belongs to another training: it has "
                f"{', '.join(part for part in theirs if part not in ours)}; this agent has "
                f"{', '.join(part for part in ours if part not in theirs)}. Pass another file as resume."
            )
        self.num_updates, self._rows, self._ended = state["num_updates"], state["rows"], state["ended"]
        self.generator.set_state(state["generator"])
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.load_extra_state(state["extra"])
