"""Say which runs and cells are available, stale, missing or planned, and how long the rest will take."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rllte.names import Run
from rllte.recipes.project import Project
from rllte.runner.staleness import Plan, Reason

_STATES = {"new": "untrained", "changed": "stale", "absent": "missing"}
"""State of a run by the kind of the worst reason among its stages, worst first."""


def read_status(root: Path) -> dict[str, Any]:
    """Return the state of every listed run and of the cells, and the training time that is left.

    Returns:
        A dict with these keys:

        * ``runs``: for each run by name, its ``state`` (available, stale, missing or untrained) and its
          ``reasons``. A missing run is recorded, but its files are not here.
        * ``cells``: the same for each cell whose collected tables are not up to date.
        * ``planned_cells``: the number of cells of the support list that have no runs.
        * ``hours_left``: hours to train all stale and untrained runs one after the other, at the rates that
          were measured for the same pipeline; None if such a rate was not measured.
    """
    project, plan = Project(root), Plan(root)
    runs, cells, planned, seconds = {}, {}, 0, 0.0
    known = True
    for benchmark, agent in project.pipelines():
        listed = project.runs(benchmark, agent)
        planned += len(project.support(benchmark).env_ids) - len({run.cell for run in listed})
        rate = measured_rate(root, f"{benchmark}/{agent}")
        for run in listed:
            reasons = _reasons(plan, run)
            runs[str(run)] = _row(reasons)
            if _state(_reasons(plan, run, ["train"])) in ("stale", "untrained"):
                known = known and rate is not None
                seconds += project.spec(run.cell).num_train_steps / (rate or 1.0)
        for cell in dict.fromkeys(run.cell for run in listed):
            if reasons := plan.reasons.get(f"{cell.stage_file}:collect@{cell.env_id}", []):
                cells[str(cell)] = _row(reasons)
    hours = round(seconds / 3600, 2) if known else None
    return {"runs": runs, "cells": cells, "planned_cells": planned, "hours_left": hours}


def _row(reasons: list[Reason]) -> dict[str, Any]:
    return {"state": _state(reasons), "reasons": [" ".join(reason) for reason in reasons]}


def _state(reasons: list[Reason]) -> str:
    return next((name for kind, name in _STATES.items() if kind in dict(reasons)), "available")


def _reasons(plan: Plan, run: Run, stages: Iterable[str] = ("train", "evaluate", "export")) -> list[Reason]:
    names = (f"{stage}@{run.key}" for stage in stages)
    reasons = (plan.reasons.get(f"{run.cell.stage_file}:{name}", []) for name in names)
    return [reason for part in reasons for reason in part]


def measured_rate(root: Path, pipeline: str) -> float | None:
    """Return the median env steps per second of a pipeline's runs, or None if none was trained."""
    rates = [
        json.loads(path.read_text(encoding="utf-8"))["env_steps_per_s"]
        for path in root.glob(f"metrics/{pipeline}/*/*/train.json")
    ]
    return statistics.median(rates) if rates else None
