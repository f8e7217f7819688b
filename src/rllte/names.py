"""Names of benchmarks, agents, cells and runs, and the paths of their artifacts."""

import operator
import re
from dataclasses import dataclass

from rllte.errors import HubError, UnknownNameError

BENCHMARKS = ("atari", "dmc", "procgen", "minigrid")

KINDS = ("curves", "scores", "policy", "model")
"""The kinds of artifact: curves and scores of a run or a cell, policy and model of a run."""

DEMONSTRATIONS = "demonstrations"
"""The kind of artifact that a cell has at several levels."""

VIDEO = "video"
"""The kind of artifact that shows an episode of a cell."""

LEVELS = ("random", "expert", "noise", "exploration")
"""The levels of demonstrations: what chose the actions."""

MAX_SEED = 2**31 - 1
"""The largest seed: tables store seeds as int32."""

_BENCHMARK_ALIASES = {"dmcontrol": "dmc"}
_WORD = re.compile(r"[A-Za-z0-9_-]+")


def benchmark_name(name: str) -> str:
    """Return the canonical name of a benchmark; case, hyphens and underscores do not matter.

    Raises:
        UnknownNameError: There is no such benchmark.
    """
    plain = agent_name(name)
    plain = _BENCHMARK_ALIASES.get(plain, plain)
    if plain not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    return plain


def agent_name(name: str) -> str:
    """Return the canonical form of an agent's name: ``"DrQ-v2"`` becomes ``"drqv2"``."""
    return re.sub(r"[-_ ]", "", str(name)).lower()


def env_name(benchmark: str, env_id: str) -> str:
    """Return the hub's form of an env_id: MiniGrid's are written without the prefix ``MiniGrid-``."""
    return str(env_id).removeprefix("MiniGrid-") if benchmark == "minigrid" else str(env_id)


def tables_path(benchmark: str, agent: str) -> str:
    """Return the path of the zip with the curves and scores of all cells of an agent."""
    return f"data/tables/{benchmark}/{agent}.zip"


def cell_parts(text: str) -> tuple[str, str, str]:
    """Split ``benchmark/agent/env_id`` into its three parts.

    Raises:
        HubError: The text does not have three parts.
    """
    parts = text.split("/")
    if len(parts) != 3:
        raise HubError(f"{text!r} is not a cell. Write benchmark/agent/env_id: minigrid/ppo/Empty-6x6-v0")
    return parts[0], parts[1], parts[2]


@dataclass(frozen=True, order=True)
class Cell:
    """All seeds of one agent on one environment: ``minigrid/ppo/Empty-6x6-v0``."""

    benchmark: str
    agent: str
    env_id: str

    def __post_init__(self) -> None:
        for kind in ("benchmark", "agent", "env_id"):
            name = getattr(self, kind)
            if not _WORD.fullmatch(name):
                raise HubError(f"{kind} is {name!r}; names have letters, digits, '-' and '_' only.")

    def __str__(self) -> str:
        return f"{self.benchmark}/{self.agent}/{self.env_id}"

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """Return the cell ``benchmark/agent/env_id``.

        Raises:
            HubError: The text does not have three parts, or a part contains other characters than letters,
                digits, ``-`` and ``_``.
            UnknownNameError: The benchmark does not exist.
        """
        name, agent, env_id = cell_parts(text)
        benchmark = benchmark_name(name)
        return cls(benchmark, agent_name(agent), env_name(benchmark, env_id))

    @property
    def stage_file(self) -> str:
        """The dvc.yaml that defines the stages of this cell, relative to the repository."""
        return f"pipelines/{self.benchmark}/{self.agent}/dvc.yaml"

    def path(self, kind: str) -> str:
        """Return the path of this cell's curves, scores or video, relative to the repository."""
        paths = {
            "curves": f"data/{self}/curves.parquet",
            "scores": f"data/{self}/scores.parquet",
            VIDEO: f"data/videos/{self}.mp4",
        }
        if kind not in paths:
            raise UnknownNameError("kind of a cell's artifact", kind, paths)
        return paths[kind]


def checked_seed(seed: object) -> int:
    """Return a seed as Python's int; it may be one of NumPy's integers.

    Raises:
        HubError: It is not a whole number from 0 to 2**31 - 1.
    """
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise HubError(f"seed is {seed!r}; a seed is a whole number from 0 to {MAX_SEED:,}.")
    return number


@dataclass(frozen=True, order=True)
class Run:
    """One training run: ``minigrid/ppo/Empty-6x6-v0/seed-0``."""

    cell: Cell
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", checked_seed(self.seed))

    def __str__(self) -> str:
        return f"{self.cell}/seed-{self.seed}"

    @classmethod
    def parse(cls, text: str) -> "Run":
        """Return the run ``benchmark/agent/env_id/seed-N``.

        Raises:
            HubError: The text has another form, or a part contains other characters than letters, digits,
                ``-`` and ``_``.
            UnknownNameError: The benchmark does not exist.
        """
        match = re.fullmatch(r"(.+)/seed-(\d+)", text)
        if not match:
            raise HubError(f"{text!r} is not a run. Write CELL/seed-N: minigrid/ppo/Empty-6x6-v0/seed-0")
        return cls(Cell.parse(match[1]), int(match[2]))

    @property
    def key(self) -> str:
        """``env_id/seed-N``: the run's key in runs.yaml, and the end of its stages' names."""
        return f"{self.cell.env_id}/seed-{self.seed}"

    def path(self, kind: str) -> str:
        """Return the path of one of this run's files, relative to the repository."""
        folder = f"data/runs/{self}"
        paths = {
            "curves": f"{folder}/curves.parquet",
            "scores": f"{folder}/scores.parquet",
            "policy": f"{folder}/policy.safetensors",
            "train": f"metrics/{self}/train.json",
            "model": f"models/{self}/model.pt",
        }
        if kind not in paths:
            raise UnknownNameError("kind of a run's file", kind, paths)
        return paths[kind]

    def resume_path(self, spec_hash: str) -> str:
        """Return the path of the checkpoint that training with these settings resumes from.

        Args:
            spec_hash: The hash of the settings, ``Spec.hash``.
        """
        return f"scratch/{self}/{spec_hash}/resume.pt"


@dataclass(frozen=True, order=True)
class Dataset:
    """Demonstrations of one level in the environments of a cell: ``minigrid/ppo/Empty-6x6-v0/expert``."""

    cell: Cell
    level: str

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UnknownNameError("level", self.level, LEVELS)

    def __str__(self) -> str:
        return f"{self.cell}/{self.level}"

    @classmethod
    def parse(cls, text: str) -> "Dataset":
        """Return the dataset ``benchmark/agent/env_id/level``.

        Raises:
            HubError: The text has another form, or a part contains other characters than letters, digits,
                ``-`` and ``_``.
            UnknownNameError: The benchmark or the level does not exist.
        """
        cell, _, level = text.rpartition("/")
        return cls(Cell.parse(cell), level)

    @property
    def path(self) -> str:
        """The path of the dataset, relative to the repository."""
        return f"data/demonstrations/{self}.parquet"
