"""Plan the tasks: one for each run, to train and evaluate it, and then one for each cell."""

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
"""Returns whether a run was requested."""


@dataclass(frozen=True)
class Task:
    """Stages that one worker performs one after the other.

    Attributes:
        name: Name of the run or the cell.
        stages: The stages, in order.
        settings: Parameters of the stages by address, file and key.
        options: The resources that a worker needs, as options of Ray.
        inputs: Entries in dvc.lock, by address, of the other stages whose outputs the task reads.
    """

    name: str
    stages: tuple[Stage, ...]
    settings: dict[str, dict[str, dict[str, Any]]]
    options: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that identify the commands, the settings and the inputs of the task."""
        what: list[Any] = [[stage.cmd, self.settings[stage.address]] for stage in self.stages]
        what += [self.inputs] if self.inputs else []
        return sha256(json.dumps(what, sort_keys=True, default=str).encode())[:16]


@dataclass(frozen=True)
class Outcome:
    """The result of a task.

    Attributes:
        task: Name of the task.
        entries: The text for dvc.lock of each finished stage, by address.
        error: One line if the task failed, else empty.
        log: What the task printed, for a coordinator that does not see the worker's files.
    """

    task: str
    entries: dict[str, str]
    error: str = ""
    log: str = ""


@dataclass(frozen=True)
class Work:
    """The tasks of a cell.

    Attributes:
        cell: The cell.
        runs: Tasks that train and evaluate. They do not depend on each other.
        last: The task after them, which exports models, collects the cell and makes its demonstrations.
        stages: All stages of the cell, including those that are up to date.
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
        """Return the last task without the stages that need a failed run; None if no stage is left.

        Args:
            failed: Names of the runs that failed.
        """
        missing = {task.name for task in self.runs} & failed
        stages = tuple(
            stage
            for stage in self.last.stages
            if (stage.target not in missing if stage.kind == "export" else not missing)
        )
        return replace(self.last, stages=stages) if stages else None

    def inputs(self, task: Task) -> list[str]:
        """Return the addresses of the stages whose outputs a task reads."""
        deps = dict.fromkeys(dep for stage in task.stages for dep in stage.deps)
        makers = dict.fromkeys(address for dep in deps for address in self._makers.get(dep, ()))
        return [address for address in makers if address not in task.settings]

    @cached_property
    def _makers(self) -> dict[str, list[str]]:
        """The addresses of the stages that make each file or, for a cell's folder, the files in it."""
        makers = defaultdict(list)
        for stage in self.stages:
            for out in stage.outs:
                makers[out].append(stage.address)
                makers[str(Path(out).parents[1])].append(stage.address)
        return makers


def wanted_by(targets: Iterable[str], benchmark: str | None, agent: str | None) -> Wanted:
    """Return a function that says whether a run was requested.

    Args:
        targets: Names of cells and runs; all if empty.
        benchmark: Accept runs of this benchmark only.
        agent: Accept runs of this agent only.

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
    """Check that every requested cell and run is known.

    Raises:
        UnknownNameError: One of them is not.
    """
    runs = list(known)
    for text in targets:
        is_run = "/seed-" in text
        name = str(Run.parse(text) if is_run else Cell.parse(text))
        names = sorted({str(run if is_run else run.cell) for run in runs})
        if name not in names:
            hint = "" if names else "runs.yaml lists none; add --planned to train one of the support list."
            raise UnknownNameError("run" if is_run else "cell", name, names, hint=hint)


def stale_work(project: Project, plan: Plan, wanted: Wanted, threads: int | None = None) -> list[Work]:
    """Return the work of each cell that has new, changed or absent stages.

    Args:
        project: The settings of the repository.
        plan: The plan of the repository.
        wanted: Returns whether a run was requested.
        threads: Number of cores for each run; None for as many as the run computes with.
    """
    cells: dict[Cell, dict[str, dict[str, Stage]]] = defaultdict(lambda: defaultdict(dict))
    for stage in plan.stages.values():
        cells[stage.cell][stage.target][stage.kind] = stage
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
        needs = options if trains else {**options, "num_gpus": 0.0}  # other stages compute on the CPU
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
    asked = any(wanted(Run.parse(name)) for name, stages in targets.items() if "train" in stages)
    if asked and not others:  # these stages read what all runs of the cell made
        datasets = [stages["demonstrate"] for stages in targets.values() if "demonstrate" in stages]
        remade = bool(last)
        film = targets.get(str(cell), {}).get("film")
        for stage in [*filter(None, (collect, film)), *datasets]:
            last += [stage] if remade or stage.address in plan.reasons else []
    everything = [stage for stages in targets.values() for stage in stages.values()]
    return Work(cell, runs, task(str(cell), last), everything) if last else None


def _options(project: Project, cell: Cell, threads: int | None) -> dict[str, Any]:
    needs = project.train_settings(cell.benchmark, cell.agent)["num_threads"]
    if threads is not None and threads < needs:
        raise HubError(
            f"{cell} computes with {needs} threads (num_threads in params.yaml), but --threads is {threads}. "
            f"Set num_threads to {threads}, which trains its runs again, or pass --threads {needs}."
        )
    resources, line = project.resources(cell.benchmark, cell.agent), project.line(cell)
    # Ray hides all GPUs from a worker that asks for none
    least_gpus = 1.0 if line and line.device.startswith("cuda") else 0.0
    return {
        "num_cpus": threads or needs,
        "num_gpus": resources.num_gpus or least_gpus,
        "memory": int(resources.memory_gb * 1e9) or None,
        "resources": resources.custom,
    }
