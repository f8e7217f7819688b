"""What is to be done: a task for each run to train or evaluate, and one for each cell that follows."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rllte.agent import AGENTS
from rllte.errors import HubError, UnknownNameError
from rllte.files import sha256
from rllte.names import Cell, Run, agent_name, benchmark_name
from rllte.recipes.project import Project
from rllte.runner.staleness import Plan, Stage

Wanted = Callable[[Run], bool]
"""Says of a run whether it was asked for."""


@dataclass(frozen=True)
class Task:
    """Stages that one worker performs one after the other.

    Attributes:
        name: Of the run, or of the cell.
        stages: In their order.
        settings: Their parameters by address, file and key.
        options: What a worker needs, as Ray names it.
        inputs: The entries in dvc.lock of other stages whose outputs it reads, by address.
    """

    name: str
    stages: tuple[Stage, ...]
    settings: dict[str, dict[str, dict[str, Any]]]
    options: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name what is done, with which settings, and from what."""
        what: list[Any] = [[stage.cmd, self.settings[stage.address]] for stage in self.stages]
        what += [self.inputs] if self.inputs else []
        return sha256(json.dumps(what, sort_keys=True, default=str).encode())[:16]


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: Its name.
        entries: The text in dvc.lock of each stage that was finished, by address.
        error: One line, if it failed.
        log: What a worker wrote that keeps its log on another machine.
    """

    task: str
    entries: dict[str, str]
    error: str = ""
    log: str = ""


@dataclass(frozen=True)
class Work:
    """What a cell needs.

    Attributes:
        cell: Which.
        runs: Tasks that train and evaluate; they do not depend on each other.
        last: Exports and collects, after them.
        stages: All of the cell.
    """

    cell: Cell
    runs: list[Task]
    last: Task
    stages: list[Stage]

    @property
    def tasks(self) -> list[Task]:
        """Return all tasks."""
        return [*self.runs, self.last]

    def finish(self, failed: set[str]) -> Task | None:
        """Return the last task without the stages that wait for a run that failed; None if nothing is left.

        Args:
            failed: Names of runs.
        """
        missing = {task.name for task in self.runs} & failed
        stages = tuple(
            stage
            for stage in self.last.stages
            if (not missing if stage.kind == "collect" else stage.target not in missing)
        )
        return replace(self.last, stages=stages) if stages else None

    def inputs(self, task: Task) -> list[str]:
        """Return the addresses of the stages whose outputs a task reads."""
        deps = dict.fromkeys(dep for stage in task.stages for dep in stage.deps)
        makers = dict.fromkeys(address for dep in deps for address in self._makers.get(dep, ()))
        return [address for address in makers if address not in task.settings]

    @cached_property
    def _makers(self) -> dict[str, list[str]]:
        """The addresses of the stages that make each file, and the files of each cell's folder."""
        makers = defaultdict(list)
        for stage in self.stages:
            for out in stage.outs:
                makers[out].append(stage.address)
                makers[str(Path(out).parents[1])].append(stage.address)
        return makers


def wanted_by(targets: Iterable[str], benchmark: str | None, agent: str | None) -> Wanted:
    """Return what says whether a run was asked for.

    Args:
        targets: Cells and runs; all by default.
        benchmark: Only of this.
        agent: Only of this.

    Raises:
        UnknownNameError: There is no such benchmark or agent.
    """
    benchmark = benchmark and benchmark_name(benchmark)
    if agent and agent_name(agent) not in AGENTS:
        raise UnknownNameError("agent", agent, AGENTS)
    named = [Run.parse(text) if "/seed-" in text else Cell.parse(text) for text in targets]

    def wanted(run: Run) -> bool:
        return (
            (not named or run in named or run.cell in named)
            and benchmark in (None, run.cell.benchmark)
            and (agent is None or agent_name(agent) == run.cell.agent)
        )

    return wanted


def check_targets(targets: Iterable[str], known: Iterable[Run]) -> None:
    """Raise unless every cell and run that was named is one of these.

    Raises:
        UnknownNameError: One is not.
    """
    runs = list(known)
    for text in targets:
        is_run = "/seed-" in text
        name = str(Run.parse(text) if is_run else Cell.parse(text))
        names = sorted({str(run if is_run else run.cell) for run in runs})
        if name not in names:
            hint = "" if names else "None is listed in runs.yaml; add --planned for one of the support list."
            raise UnknownNameError("run" if is_run else "cell", name, names, hint=hint)


def stale_work(project: Project, plan: Plan, wanted: Wanted, threads: int | None = None) -> list[Work]:
    """Return what is new, changed or absent, by cell.

    Args:
        project: The settings of the repository.
        plan: Of the repository.
        wanted: Which runs were asked for.
        threads: Cores that each run is given; by default as many as it computes with.
    """
    cells: dict[Cell, dict[str, dict[str, Stage]]] = defaultdict(lambda: defaultdict(dict))
    for stage in plan.stages.values():
        cell = Cell.parse(stage.target) if stage.kind == "collect" else Run.parse(stage.target).cell
        cells[cell][stage.target][stage.kind] = stage
    works = []
    for cell, targets in sorted(cells.items()):
        work = _work_of(cell, targets, plan, wanted, _options(project, cell, threads))
        if work is not None:
            works.append(work)
    return works


def _work_of(
    cell: Cell, targets: dict[str, dict[str, Stage]], plan: Plan, wanted: Wanted, options: dict[str, Any]
) -> Work | None:
    def task(name: str, stages: list[Stage]) -> Task:
        settings = {stage.address: plan.settings(stage) for stage in stages}
        trains = any(stage.kind == "train" for stage in stages)
        needs = options if trains else {**options, "num_gpus": 0.0}  # the rest computes on the CPU
        return Task(name, tuple(stages), settings, needs)

    runs, last, others = [], [], False
    collect = targets.get(str(cell), {}).get("collect")
    for name, stages in sorted(targets.items()):
        if "train" not in stages:
            continue
        order = [stages[kind] for kind in ("train", "evaluate", "export")]
        stale = [stage.address in plan.reasons for stage in order]
        if not wanted(Run.parse(name)):
            others = others or any(stale)
        elif any(stale):
            first = stale.index(True)
            runs += [task(name, order[first:2])] if first < 2 else []
            last.append(order[2])
    if collect is not None and not others and (last or collect.address in plan.reasons):
        asked = any(wanted(Run.parse(name)) for name, stages in targets.items() if "train" in stages)
        last += [collect] if asked else []
    everything = [stage for stages in targets.values() for stage in stages.values()]
    return Work(cell, runs, task(str(cell), last), everything) if last else None


def _options(project: Project, cell: Cell, threads: int | None) -> dict[str, Any]:
    needs = project.train_settings(cell.benchmark, cell.agent)["num_threads"]
    if threads is not None and threads < needs:
        raise HubError(
            f"{cell} computes with {needs} threads, as num_threads in params.yaml says, and gets --threads "
            f"{threads}. Write {threads} there (its runs are trained anew), or give it {needs}."
        )
    resources, line = project.resources(cell.benchmark, cell.agent), project.line(cell)
    # from a worker that asks for no GPU, Ray hides all
    least_gpus = 1.0 if line and line.device.startswith("cuda") else 0.0
    return {
        "num_cpus": threads or needs,
        "num_gpus": resources.num_gpus or least_gpus,
        "memory": int(resources.memory_gb * 1e9) or None,
        "resources": resources.custom,
    }
