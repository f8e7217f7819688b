"""The contents of the YAML files of a checkout, one dataclass for each kind of file or line."""

from dataclasses import dataclass, field
from typing import Any

from rllte.names import Cell


@dataclass(frozen=True)
class Support:
    """The agents and environments of a benchmark, available or planned, and their budgets at the paper scale.

    Attributes:
        agents: The names of the agents.
        env_ids: The names of the environments.
        num_train_steps: The budget of a run in env steps, unless one of the next two settings overrides it.
        num_train_steps_by_env: The budgets in env steps of single environments, by env_id.
        num_train_steps_by_agent: The budgets in env steps of single agents, by agent. They have priority over
            those by env_id.
        num_seeds: The number of runs of a cell.
    """

    agents: list[str]
    env_ids: list[str]
    num_train_steps: int
    num_train_steps_by_env: dict[str, int]
    num_train_steps_by_agent: dict[str, int]
    num_seeds: int

    def budget(self, cell: Cell) -> int:
        """Return the budget of a run of this cell in env steps, at the paper scale."""
        by_env = self.num_train_steps_by_env.get(cell.env_id, self.num_train_steps)
        return self.num_train_steps_by_agent.get(cell.agent, by_env)


@dataclass(frozen=True)
class Resources:
    """The resources of a node that one run needs, besides its CPU threads.

    Attributes:
        num_gpus: The number of GPUs; a fraction shares one GPU between runs.
        memory_gb: The main memory in GB (10^9 bytes); 0 reserves none.
        custom: The amounts of custom resources of the cluster, by name.
    """

    num_gpus: float = 0.0
    memory_gb: float = 0.0
    custom: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkParams:
    """``pipelines/<benchmark>/params.yaml``: the settings that all agents of a benchmark share.

    Attributes:
        benchmark: The name of the benchmark.
        support: The agents, environments and budgets, see ``Support``.
        env: The options of the environments for ``training`` and ``evaluation``; each other key is a further
            split of the scores.
        train: How training is run and evaluated, see ``TrainSettings``.
        evaluation: How final scores are made, see ``EvaluationSettings``.
        resources: What a run needs of a node, see ``Resources``.
        demonstrations: How demonstrations are made, see ``DemonstrationSettings``.
    """

    benchmark: str
    support: dict[str, Any]
    env: dict[str, Any]
    train: dict[str, Any]
    evaluation: dict[str, Any]
    resources: dict[str, Any] = field(default_factory=dict)
    demonstrations: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Differs:
    """``differs`` in an agent's params.yaml: the settings that override those of its benchmark.

    Attributes:
        env: The options of the environments, for every purpose.
        train: How training is run and evaluated.
        evaluation: How final scores are made.
        resources: What a run needs of a node.
    """

    env: dict[str, Any]
    train: dict[str, Any]
    evaluation: dict[str, Any]
    resources: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentParams:
    """``pipelines/<benchmark>/<agent>/params.yaml``: the settings of one agent on a benchmark.

    Attributes:
        agent: The name of the agent.
        version: The version of the agent's behaviour. It is raised when results change.
        source: Where the hyper-parameters come from.
        differs: The settings that override those of the benchmark, see ``Differs``.
        hyperparameters: The hyper-parameters of the published scale.
        by_env: The hyper-parameters that differ for single environments, at both scales, by env_id.
        paper: The hyper-parameters that differ at the paper scale.
        notes: Remarks on single available cells, by env_id.
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
    """``pipelines/<benchmark>/<agent>/runs.yaml``: the available cells and runs. ``rllte-hub run`` writes it.

    Attributes:
        envs: A ``CellLine`` for each cell, by env_id.
        runs: A ``RunLine`` for each run, by ``<env_id>/seed-<seed>``.
        datasets: A ``DatasetLine`` for each dataset, by ``<env_id>/<level>``.
        videos: The cells that are filmed, by env_id, each with no settings.
    """

    envs: dict[str, Any]
    runs: dict[str, Any]
    datasets: dict[str, Any] = field(default_factory=dict)
    videos: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CellLine:
    """A line of ``envs`` in runs.yaml.

    Attributes:
        num_train_steps: The budget of each run of the cell, in env steps.
        scale: The scale at which the cell was trained.
        hyperparameters: The cell's hyper-parameters from ``by_env`` and, at the paper scale, from ``paper``.
            They are repeated here because the DVC stages of the cell depend on this line.
        device: The PyTorch device that trains the networks. Other kinds of device give results that differ in
            the last bits.
    """

    num_train_steps: int
    scale: str = "published"
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True)
class Release:
    """``release.yaml``: what the next release adds.

    Attributes:
        cells: The cells, each a ``ReleaseCell``.
        datasets: The demonstrations of available cells, each a ``ReleaseDatasets``.
        videos: Names or patterns of the available cells that are filmed.
    """

    cells: list[Any]
    datasets: list[Any] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReleaseCell:
    """A row of ``cells`` in release.yaml.

    Attributes:
        cell: The name of the cell, ``benchmark/agent/env_id``.
        num_train_steps: The budget of each run, in env steps.
        num_seeds: The number of runs; their seeds are 0, 1 and so on.
    """

    cell: str
    num_train_steps: int
    num_seeds: int


@dataclass(frozen=True)
class ReleaseDatasets:
    """A row of ``datasets`` in release.yaml.

    Attributes:
        cells: The name of a cell, or a pattern such as ``minigrid/ppo/*``.
        levels: The levels of their demonstrations.
    """

    cells: str
    levels: list[str]


@dataclass(frozen=True)
class RunLine:
    """A line of ``runs`` in runs.yaml: one training run of a cell."""

    env_id: str
    seed: int


@dataclass(frozen=True)
class DatasetLine:
    """A line of ``datasets`` in runs.yaml: one level of demonstrations of a cell."""

    env_id: str
    level: str
