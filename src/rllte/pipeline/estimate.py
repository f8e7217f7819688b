"""What a batch would do, and how long it would take by the rates that were measured."""

from pathlib import Path

from rllte.names import Cell, Run
from rllte.pipeline.batch import Options, listed_runs
from rllte.pipeline.plan import Plan
from rllte.pipeline.planned import planned_runs
from rllte.pipeline.spec import read_spec
from rllte.pipeline.status import measured_rate
from rllte.pipeline.work import check_targets, stale_work, wanted_by


def describe(root: Path, options: Options) -> str:
    """Return a line for each task of a batch and one for each pipeline's training; nothing is changed."""
    wanted = wanted_by(options.targets, options.benchmark, options.agent)
    planned = planned_runs(root, wanted) if options.planned else []
    check_targets(options.targets, [*listed_runs(root), *planned])
    plan = Plan(root)
    absent = plan.absent()
    for address in absent:
        del plan.reasons[address]
    works = stale_work(root, plan, wanted, options.threads)
    lines = [f"{len(absent)} stages are recorded and not here: pulled"] if absent else []
    to_train = list(planned)
    for task in (task for work in works for task in work.tasks):
        lines.append(f"{task.name}: {', '.join(dict.fromkeys(stage.kind for stage in task.stages))}")
        to_train += [Run.parse(stage.target) for stage in task.stages if stage.kind == "train"]
    cells = dict.fromkeys(run.cell for run in planned)
    lines += [f"{cell}: planned, {sum(run.cell == cell for run in planned)} runs" for cell in cells]
    return "\n".join([*lines, *_totals(root, to_train)]) or "Nothing is missing or stale."


def _totals(root: Path, runs: list[Run]) -> list[str]:
    steps: dict[str, int] = {}
    by_cell: dict[Cell, int] = {}
    for run in runs:
        by_cell[run.cell] = by_cell.get(run.cell, 0) + 1
    for cell, count in by_cell.items():
        pipeline = f"{cell.benchmark}/{cell.agent}"
        steps[pipeline] = steps.get(pipeline, 0) + count * read_spec(root, cell).num_train_steps
    lines = []
    for pipeline, total in steps.items():
        rate = measured_rate(root, pipeline)
        hours = f"{total / rate / 3600:,.1f} hours of one run's cores" if rate else "no rate was measured"
        lines.append(f"to train {pipeline}: {total:,} env steps, {hours}")
    return lines
