"""What stands in the params.yaml files of ``pipelines/``: what is covered, set and published."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rllte.errors import HubError, UnknownNameError
from rllte.names import Cell, Run
from rllte.recipes.checked import checked

RELEASE = "release.yaml"
_MAX_VALUES = 1_000_000


@dataclass(frozen=True)
class Support:
    """What a benchmark covers, published or planned, and the budget of the paper scale.

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
        envs: What is published, with its budget.
        runs: What is published.
        notes: What one should know of a published cell, by env_id.
    """

    agent: str
    version: int
    source: str
    differs: dict[str, Any]
    hyperparameters: dict[str, Any]
    by_env: dict[str, Any]
    paper: dict[str, Any]
    envs: dict[str, Any]
    runs: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedEnv:
    """A line of ``envs``.

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
class PublishedRun:
    """A line of ``runs``."""

    env_id: str
    seed: int


def read_benchmark(root: Path, benchmark: str) -> BenchmarkParams:
    """Read the settings that the agents of a benchmark share."""
    return _read(root, f"pipelines/{benchmark}/params.yaml", BenchmarkParams)


def read_agent(root: Path, benchmark: str, agent: str) -> AgentParams:
    """Read the settings of an agent on a benchmark.

    Raises:
        UnknownNameError: The benchmark has no pipeline of that agent.
    """
    known = sorted(path.parent.name for path in root.glob(f"pipelines/{benchmark}/*/params.yaml"))
    if agent not in known:
        raise UnknownNameError("agent", agent, known, where=f"benchmark '{benchmark}'")
    return _read(root, f"pipelines/{benchmark}/{agent}/params.yaml", AgentParams)


def read_support(root: Path, benchmark: str) -> Support:
    """Read what a benchmark covers."""
    where = f"pipelines/{benchmark}/params.yaml: support"
    return checked(Support, read_benchmark(root, benchmark).support, where)


def read_resources(root: Path, benchmark: str, agent: str) -> Resources:
    """Read what a run of an agent is given of a node."""
    own = read_agent(root, benchmark, agent).differs.get("resources", {})
    where = f"pipelines/{benchmark}/**/params.yaml: resources"
    return checked(Resources, {**read_benchmark(root, benchmark).resources, **own}, where)


def read_runs(root: Path, benchmark: str, agent: str) -> list[Run]:
    """Return the published runs of an agent on a benchmark, sorted."""
    params = read_agent(root, benchmark, agent)
    runs = []
    for name, line in params.runs.items():
        where = f"pipelines/{benchmark}/{agent}/params.yaml: runs.{name}"
        published = checked(PublishedRun, line, where)
        run = Run(Cell(benchmark, agent, published.env_id), published.seed)
        if str(run) != f"{benchmark}/{agent}/{name}":
            raise HubError(f"{where} is {line}; write {run.cell.env_id}/seed-{run.seed} for its name.")
        runs.append(run)
    return sorted(runs)


def read_release(root: Path) -> list[ReleaseCell]:
    """Read what is to be published next.

    Raises:
        HubError: A row is not valid, or a cell is named twice.
    """
    rows: list[ReleaseCell] = []
    for i, values in enumerate(_read(root, RELEASE, Release).cells):
        row: ReleaseCell = checked(ReleaseCell, values, f"{RELEASE}: cells.{i}")
        row = replace(row, cell=str(Cell.parse(row.cell)))
        if row.cell in {other.cell for other in rows}:
            raise HubError(f"{RELEASE}: cells.{i} names {row.cell} a second time; write one row for it.")
        if min(row.num_train_steps, row.num_seeds) < 1:
            raise HubError(f"{RELEASE}: cells.{i} is {values}; write 1 or more.")
        rows.append(row)
    return rows


def own_hyperparameters(own: AgentParams, cell: Cell, scale: str) -> dict[str, Any]:
    """Return the hyper-parameters of a cell that differ from those of the published scale."""
    return {**(own.paper if scale == "paper" else {}), **own.by_env.get(cell.env_id, {})}


def published_env(own: AgentParams, cell: Cell) -> PublishedEnv | None:
    """Return the line of a cell in ``envs``, if it has one.

    Raises:
        HubError: Its hyper-parameters are not those of ``paper`` and ``by_env``.
    """
    if cell.env_id not in own.envs:
        return None
    where = f"pipelines/{cell.benchmark}/{cell.agent}/params.yaml: envs.{cell.env_id}"
    line: PublishedEnv = checked(PublishedEnv, own.envs[cell.env_id], where)
    expected = own_hyperparameters(own, cell, line.scale)
    if line.hyperparameters != expected:
        raise HubError(f"{where}.hyperparameters is {line.hyperparameters}; at this scale write {expected}.")
    return line


def env_options(shared: BenchmarkParams, own: AgentParams) -> dict[str, Any]:
    """Return the options of a benchmark's environments with those that an agent needs, for each purpose."""
    if not own.differs["env"]:
        return shared.env
    purposes = dict.fromkeys(["training", "evaluation", *shared.env])
    return {purpose: {**shared.env.get(purpose, {}), **own.differs["env"]} for purpose in purposes}


def _read(root: Path, path: str, kind: type[Any]) -> Any:
    try:
        values = YAML(typ="safe").load((root / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HubError(f"{path} is not in {root}. Is it a checkout of RLLTE Hub?") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise HubError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    _check_size(values, path)
    return checked(kind, values, path)


def _check_size(values: object, path: str) -> None:
    """Raise if a file has too many values: with anchors, a few lines can stand for billions."""
    left, count = [values], 0
    while left:
        value = left.pop()
        count += 1
        if count > _MAX_VALUES:
            raise HubError(f"{path} has more than {_MAX_VALUES:,} values.")
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
