"""What stands in the YAML files of a checkout, file by file."""

from dataclasses import dataclass, field
from typing import Any

from rllte.names import Cell


@dataclass(frozen=True)
class Support:
    """What a benchmark covers, available or planned, and the budget of the paper scale.

    Attributes:
        agents: Names of agents.
        env_ids: Names of environments.
        num_train_steps: Env steps of a run at the paper scale.
        num_train_steps_by_env: The budgets that differ from that, by env_id.
        num_train_steps_by_agent: The budgets that differ from both, by agent.
        num_seeds: Runs of a cell at the paper scale.
    """

    agents: list[str]
    env_ids: list[str]
    num_train_steps: int
    num_train_steps_by_env: dict[str, int]
    num_train_steps_by_agent: dict[str, int]
    num_seeds: int

    def budget(self, cell: Cell) -> int:
        """Return the env steps of a run at the paper scale."""
        by_env = self.num_train_steps_by_env.get(cell.env_id, self.num_train_steps)
        return self.num_train_steps_by_agent.get(cell.agent, by_env)


@dataclass(frozen=True)
class Resources:
    """What a run is given of a node, besides its threads.

    Attributes:
        num_gpus: Graphics processors, or a part of one.
        memory_gb: Main memory in 10^9 bytes; 0 asks for nothing.
        custom: Amounts of resources that a cluster gives names of its own.
    """

    num_gpus: float = 0.0
    memory_gb: float = 0.0
    custom: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkParams:
    """``pipelines/<benchmark>/params.yaml``."""

    benchmark: str
    support: dict[str, Any]
    env: dict[str, Any]
    train: dict[str, Any]
    evaluation: dict[str, Any]
    resources: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentParams:
    """``pipelines/<benchmark>/<agent>/params.yaml``.

    Attributes:
        agent: Its name.
        version: Of its behaviour.
        source: Where the hyper-parameters come from.
        differs: What differs from the benchmark's settings: ``env`` (in training and in evaluation),
            ``train``, ``evaluation`` and ``resources``.
        hyperparameters: Of the published scale.
        by_env: The hyper-parameters that differ for one env_id, at both scales, by env_id.
        paper: The hyper-parameters that differ at the paper scale.
        notes: What one should know of an available cell, by env_id.
    """

    agent: str
    version: int
    source: str
    differs: dict[str, Any]
    hyperparameters: dict[str, Any]
    by_env: dict[str, Any]
    paper: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedRuns:
    """``pipelines/<benchmark>/<agent>/runs.yaml``: what is available. ``rllte-hub run`` writes it.

    Attributes:
        envs: A ``CellLine`` for each cell, by env_id.
        runs: A ``RunLine`` for each run, by ``<env_id>/seed-<seed>``.
    """

    envs: dict[str, Any]
    runs: dict[str, Any]


@dataclass(frozen=True)
class CellLine:
    """A line of ``envs`` in runs.yaml.

    Attributes:
        num_train_steps: The budget of the cell in env steps.
        scale: At which the cell was trained.
        hyperparameters: What ``paper``, at that scale, and ``by_env`` have for it: here the cell's stages
            depend on it.
        device: Where the networks are trained; on another kind of device, results have other last bits.
    """

    num_train_steps: int
    scale: str = "published"
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True)
class Release:
    """``release.yaml``: what is to be published next."""

    cells: list[Any]


@dataclass(frozen=True)
class ReleaseCell:
    """A row of it.

    Attributes:
        cell: Its name.
        num_train_steps: The budget of each run, in env steps.
        num_seeds: How many runs: seeds 0, 1 and so on.
    """

    cell: str
    num_train_steps: int
    num_seeds: int


@dataclass(frozen=True)
class RunLine:
    """A line of ``runs`` in runs.yaml."""

    env_id: str
    seed: int
