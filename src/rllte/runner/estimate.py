"""Describe what a batch would do, and how long its training would take at measured rates."""

from collections import Counter
from pathlib import Path
from typing import Any

from rllte.names import Cell, Run
from rllte.recipes.project import Project
from rllte.runner.additions import lines_to_add
from rllte.runner.batch import Options
from rllte.runner.staleness import Plan
from rllte.runner.status import measured_rate
from rllte.runner.tasks import check_targets, stale_work, wanted_by


def describe(root: Path, options: Options) -> str:
    """Return a line for each task of a batch and a line for each pipeline's training; change nothing."""
    wanted = wanted_by(options.targets, options.benchmark, options.agent)
    project = Project(root)
    added = lines_to_add(project, wanted, planned=options.planned, release=options.release)
    check_targets(options.targets, [*project.all_runs(), *added.runs])
    plan = Plan(root)
    absent = plan.absent()
    for address in absent:
        del plan.reasons[address]
    works = stale_work(project, plan, wanted, options.threads)
    lines = [f"{len(absent)} recorded stages have outputs that are not here: to be pulled"] if absent else []
    to_train = []
    for task in (task for work in works for task in work.tasks):
        lines.append(f"{task.name}: {', '.join(dict.fromkeys(stage.kind for stage in task.stages))}")
        to_train += [Run.parse(stage.target) for stage in task.stages if stage.kind == "train"]
    for cell in added.cells:
        count = sum(run.cell == cell for run in added.runs)
        lines.append(f"{cell}: {count} {'run' if count == 1 else 'runs'} to be added to runs.yaml")
    totals = _totals(project, to_train + added.runs, added.envs)
    return "\n".join([*lines, *totals]) or "Nothing is missing or stale."


def _totals(project: Project, runs: list[Run], to_come: dict[Cell, dict[str, Any]]) -> list[str]:
    steps: dict[str, int] = {}
    for cell, count in Counter(run.cell for run in runs).items():
        budget = to_come[cell]["num_train_steps"] if cell in to_come else project.spec(cell).num_train_steps
        pipeline = f"{cell.benchmark}/{cell.agent}"
        steps[pipeline] = steps.get(pipeline, 0) + count * budget
    lines = []
    for pipeline, total in steps.items():
        rate = measured_rate(project.root, pipeline)
        hours = f"{total / rate / 3600:,.1f} hours on one run's cores" if rate else "no rate was measured"
        lines.append(f"to train {pipeline}: {total:,} env steps, {hours}")
    return lines
