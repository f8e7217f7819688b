"""Read and write the settings of a checkout; each text is parsed only once."""

import dataclasses
import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from rllte.agent import AGENTS
from rllte.agent.settings import TrainSettings, check_ranges
from rllte.errors import HubError, UnknownNameError
from rllte.extras import load
from rllte.files import write_bytes
from rllte.names import BENCHMARKS, LEVELS, Cell, Dataset, Run
from rllte.recipes.checked import checked
from rllte.recipes.schema import (
    AgentParams,
    BenchmarkParams,
    CellLine,
    DatasetLine,
    Differs,
    ListedRuns,
    Release,
    ReleaseCell,
    ReleaseDatasets,
    Resources,
    RunLine,
    Support,
)
from rllte.recipes.spec import SCALES, DemonstrationSettings, EvaluationSettings, Spec

RELEASE = "release.yaml"
_MAX_VALUES, _MAX_LEVELS = 100_000, 50
_RUNS_HEAD = """\
# The available cells with their budgets (env steps), runs and datasets. `rllte-hub run` writes this file.
"""


class Project:
    """The settings of a checkout, or of a commit whose settings are in the cache.

    Args:
        root: The folder that contains ``pipelines/``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def benchmark(self, benchmark: str) -> BenchmarkParams:
        """Return the settings that the agents of a benchmark share."""
        path = f"pipelines/{benchmark}/params.yaml"
        params: BenchmarkParams = checked(BenchmarkParams, self._read(path), path)
        return params

    def support(self, benchmark: str) -> Support:
        """Return the agents, environments and budgets of a benchmark."""
        support: Support = checked(
            Support, self.benchmark(benchmark).support, f"pipelines/{benchmark}/params.yaml: support"
        )
        return support

    def pipelines(self) -> list[tuple[str, str]]:
        """Return each benchmark with each of its agents, in the order of the support list."""
        return [(benchmark, agent) for benchmark in BENCHMARKS for agent in self.support(benchmark).agents]

    def agent(self, benchmark: str, agent: str) -> AgentParams:
        """Return the settings of an agent on a benchmark.

        Raises:
            UnknownNameError: The benchmark has no pipeline for this agent.
        """
        known = sorted(path.parent.name for path in self.root.glob(f"pipelines/{benchmark}/*/params.yaml"))
        if agent not in known:
            raise UnknownNameError("agent", agent, known, where=f"benchmark '{benchmark}'")
        path = f"pipelines/{benchmark}/{agent}/params.yaml"
        values = self._read(path)
        if isinstance(values, dict):  # release 0.1.0 also listed the runs in this file
            values = {key: value for key, value in values.items() if key not in ("envs", "runs")}
        params: AgentParams = checked(AgentParams, values, path)
        return params

    def listed(self, benchmark: str, agent: str) -> ListedRuns:
        """Return the cells and runs that ``runs.yaml`` of an agent lists."""
        path = f"pipelines/{benchmark}/{agent}/runs.yaml"
        if (self.root / path).exists():
            values = self._read(path)
        else:  # release 0.1.0
            path = f"pipelines/{benchmark}/{agent}/params.yaml"
            values = {key: value for key, value in self._read(path).items() if key in ("envs", "runs")}
        listed: ListedRuns = checked(ListedRuns, values, path)
        return listed

    def write_listed(self, benchmark: str, agent: str, listed: ListedRuns) -> None:
        """Replace ``runs.yaml`` of an agent."""
        path = self.root / f"pipelines/{benchmark}/{agent}/runs.yaml"
        write_bytes(path, runs_text(listed).encode())

    def runs(self, benchmark: str, agent: str) -> list[Run]:
        """Return the listed runs of an agent on a benchmark, sorted."""
        runs = []
        for name, values in self.listed(benchmark, agent).runs.items():
            where = f"pipelines/{benchmark}/{agent}/runs.yaml: runs.{name}"
            line: RunLine = checked(RunLine, values, where)
            run = Run(Cell(benchmark, agent, line.env_id), line.seed)
            if str(run) != f"{benchmark}/{agent}/{name}":
                raise HubError(f"{where} is {values}; rename the key to {run.key}.")
            runs.append(run)
        return sorted(runs)

    def all_runs(self) -> list[Run]:
        """Return the listed runs of all pipelines."""
        return [run for names in self.pipelines() for run in self.runs(*names)]

    def line(self, cell: Cell) -> CellLine | None:
        """Return the line of a cell in ``runs.yaml``; None if it has none.

        Raises:
            HubError: The line's hyper-parameters are not those of ``paper`` and ``by_env`` in params.yaml.
        """
        envs = self.listed(cell.benchmark, cell.agent).envs
        if cell.env_id not in envs:
            return None
        where = f"pipelines/{cell.benchmark}/{cell.agent}/runs.yaml: envs.{cell.env_id}"
        line: CellLine = checked(CellLine, envs[cell.env_id], where)
        expected = self.own_hyperparameters(cell, line.scale)
        if line.hyperparameters != expected:
            raise HubError(
                f"{where}.hyperparameters is {line.hyperparameters}; at this scale write {expected}."
            )
        return line

    def own_hyperparameters(self, cell: Cell, scale: str) -> dict[str, Any]:
        """Return the hyper-parameters of a cell that override ``hyperparameters`` in params.yaml."""
        own = self.agent(cell.benchmark, cell.agent)
        return {**(own.paper if scale == "paper" else {}), **own.by_env.get(cell.env_id, {})}

    def _differs(self, benchmark: str, agent: str) -> Differs:
        where = f"pipelines/{benchmark}/{agent}/params.yaml: differs"
        differs: Differs = checked(Differs, self.agent(benchmark, agent).differs, where)
        return differs

    def env_options(self, benchmark: str, agent: str) -> dict[str, Any]:
        """Return the environment options for each purpose, including those that differ for the agent."""
        shared, own = self.benchmark(benchmark), self._differs(benchmark, agent)
        if not own.env:
            return shared.env
        purposes = dict.fromkeys(["training", "evaluation", *shared.env])
        return {purpose: {**shared.env.get(purpose, {}), **own.env} for purpose in purposes}

    def train_settings(self, benchmark: str, agent: str) -> dict[str, Any]:
        """Return the settings of training, including those that differ for the agent."""
        return {**self.benchmark(benchmark).train, **self._differs(benchmark, agent).train}

    def evaluation_settings(self, benchmark: str, agent: str) -> dict[str, Any]:
        """Return the settings of evaluation, including those that differ for the agent."""
        return {**self.benchmark(benchmark).evaluation, **self._differs(benchmark, agent).evaluation}

    def demonstration_settings(self, benchmark: str) -> DemonstrationSettings:
        """Return how the demonstrations of a benchmark are made."""
        where = f"pipelines/{benchmark}/params.yaml: demonstrations"
        settings: DemonstrationSettings = checked(
            DemonstrationSettings, self.benchmark(benchmark).demonstrations, where
        )
        check_ranges(settings)
        return settings

    def datasets(self, benchmark: str, agent: str) -> list[Dataset]:
        """Return the listed demonstrations of an agent on a benchmark, sorted."""
        datasets = []
        for name, values in self.listed(benchmark, agent).datasets.items():
            where = f"pipelines/{benchmark}/{agent}/runs.yaml: datasets.{name}"
            line: DatasetLine = checked(DatasetLine, values, where)
            dataset = Dataset(Cell(benchmark, agent, line.env_id), line.level)
            if str(dataset) != f"{benchmark}/{agent}/{name}":
                raise HubError(f"{where} is {values}; rename the key to {line.env_id}/{line.level}.")
            datasets.append(dataset)
        return sorted(datasets)

    def resources(self, benchmark: str, agent: str) -> Resources:
        """Return the resources of a node that a run of an agent needs."""
        own = self._differs(benchmark, agent).resources
        where = f"pipelines/{benchmark}/**/params.yaml: resources"
        resources: Resources = checked(Resources, {**self.benchmark(benchmark).resources, **own}, where)
        return resources

    def _release(self) -> Release:
        release: Release = checked(Release, self._read(RELEASE), RELEASE)
        return release

    def release(self) -> list[ReleaseCell]:
        """Return the cells that ``release.yaml`` names for the next release.

        Raises:
            HubError: A row is not valid, or two rows name the same cell.
        """
        rows: list[ReleaseCell] = []
        for i, values in enumerate(self._release().cells):
            row: ReleaseCell = checked(ReleaseCell, values, f"{RELEASE}: cells.{i}")
            row = replace(row, cell=str(Cell.parse(row.cell)))
            if row.cell in {other.cell for other in rows}:
                raise HubError(f"{RELEASE}: cells.{i} names {row.cell} a second time; write one row for it.")
            if min(row.num_train_steps, row.num_seeds) < 1:
                raise HubError(f"{RELEASE}: cells.{i} is {values}; write 1 or more for each number.")
            rows.append(row)
        return rows

    def videos(self, benchmark: str, agent: str) -> list[Cell]:
        """Return the cells of an agent on a benchmark that are filmed, sorted."""
        return sorted(Cell(benchmark, agent, env_id) for env_id in self.listed(benchmark, agent).videos)

    def release_videos(self) -> list[str]:
        """Return names or patterns of the cells that ``release.yaml`` wants to be filmed."""
        return self._release().videos

    def release_datasets(self) -> list[ReleaseDatasets]:
        """Return the demonstrations that ``release.yaml`` names for the next release."""
        rows: list[ReleaseDatasets] = []
        for i, values in enumerate(self._release().datasets):
            row: ReleaseDatasets = checked(ReleaseDatasets, values, f"{RELEASE}: datasets.{i}")
            for level in row.levels:
                if level not in LEVELS:
                    raise UnknownNameError("level", level, LEVELS, where=f"{RELEASE}: datasets.{i}")
            rows.append(row)
        return rows

    def spec(self, cell: Cell, scale: str | None = None) -> Spec:
        """Return the checked settings of a cell.

        Args:
            cell: The cell.
            scale: ``"published"`` or ``"paper"``. The default is the scale that an available cell was trained
                at, and ``"paper"`` for a planned cell. A planned cell has the paper's budget at both scales.

        Raises:
            UnknownNameError: The benchmark has no such agent or env_id, or there is no such scale or key.
            HubError: A key is missing, or a value has the wrong type.
        """
        support = self.support(cell.benchmark)
        if cell.env_id not in support.env_ids:
            where = f"benchmark '{cell.benchmark}'"
            raise UnknownNameError("env_id", cell.env_id, support.env_ids, where=where)
        names = cell.benchmark, cell.agent
        own, line = self.agent(*names), self.line(cell)
        scale = scale or (line.scale if line else "paper")
        if scale not in SCALES:
            raise UnknownNameError("scale", scale, SCALES)
        if line and scale != line.scale:
            line = None
        both = f"pipelines/{cell.benchmark}/**/params.yaml"
        file = f"pipelines/{cell.benchmark}/{cell.agent}/params.yaml"
        values = {**own.hyperparameters, **self.own_hyperparameters(cell, scale)}
        agent = load(AGENTS[cell.agent], "Training needs")
        return Spec(
            cell=cell,
            scale=scale,
            version=own.version,
            source=own.source,
            num_train_steps=line.num_train_steps if line else support.budget(cell),
            env=self.env_options(*names),
            train=checked(TrainSettings, self.train_settings(*names), f"{both}: train"),
            evaluation=checked(EvaluationSettings, self.evaluation_settings(*names), f"{both}: evaluation"),
            hyperparameters=checked(agent.Config, values, f"{file}: hyperparameters"),
            device=line.device if line else "cpu",
        )

    def _read(self, path: str) -> Any:
        try:
            return read_yaml(self.root / path, path)
        except FileNotFoundError:
            raise HubError(f"{path} is not in {self.root}. Is it a checkout of RLLTE Hub?") from None


def read_yaml(path: Path, name: str) -> Any:
    """Return the plain values of a YAML file.

    Callers share the cached values, so they must not change them.

    Args:
        path: The file.
        name: The name of the file in error messages.

    Raises:
        FileNotFoundError: There is no such file.
        HubError: The file is not valid YAML, or has too many values or levels.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except _TooLarge as error:
        raise HubError(f"{name} has more than {error}.") from None
    # a value with a tag that does not fit it can raise any of these
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise HubError(f"{name} is not valid YAML: {text}") from None


class _TooLarge(Exception):
    """A YAML file has more of something than settings have."""


@functools.lru_cache(maxsize=64)
def _parse(text: str) -> Any:
    """Return the values of YAML, cached by text."""
    _check_size(text)
    return YAML(typ="safe").load(text)


def _check_size(text: str) -> None:
    """Check the number of values and of levels before they are built.

    With aliases, a few lines can stand for billions of values; the parser itself overflows the stack of a
    process at some ten thousand levels.
    """
    sizes, stack = dict[str, int](), [("", 0)]  # of each anchor, and of each open list or mapping
    for event in YAML(typ="safe").parse(text):
        anchor, size = getattr(event, "anchor", None) or "", 1
        if isinstance(event, CollectionStartEvent):
            stack.append((anchor, 0))
            if len(stack) > _MAX_LEVELS:
                raise _TooLarge(f"{_MAX_LEVELS} levels")
            continue
        if isinstance(event, CollectionEndEvent):
            anchor, inner = stack.pop()
            size += inner
        elif isinstance(event, AliasEvent):
            size += sizes.get(anchor, 0)
        elif not isinstance(event, ScalarEvent):
            continue
        if anchor and not isinstance(event, AliasEvent):
            sizes[anchor] = size
        stack[-1] = stack[-1][0], stack[-1][1] + size
        if stack[-1][1] > _MAX_VALUES:
            raise _TooLarge(f"{_MAX_VALUES:,} values")


def runs_text(listed: ListedRuns) -> str:
    """Return the text of a ``runs.yaml``, with one line for each cell, run and dataset."""
    yaml = YAML()
    yaml.default_flow_style = None  # writes the innermost level in one line
    yaml.width = 1000
    stream = io.StringIO()
    yaml.dump({key: _quoted(value) for key, value in dataclasses.asdict(listed).items()}, stream)
    return _RUNS_HEAD + stream.getvalue()


def _quoted(value: Any) -> Any:
    """Return plain values with texts such as ``cuda:0`` in quotes, because some YAML readers require them."""
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    return DoubleQuotedScalarString(value) if isinstance(value, str) and ":" in value else value
