"""Measure the cost of `rllte-hub run`'s coordinator, with thousands of sleeping tasks on simulated cores."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import click
from planner import make_recipes

from rllte.recipes.project import Project
from rllte.runner import locks as lock
from rllte.runner.additions import Lines
from rllte.runner.batch import Summary, _record
from rllte.runner.display import Display
from rllte.runner.ray_tasks import execute
from rllte.runner.staleness import Plan
from rllte.runner.tasks import Outcome, Task, stale_work
from rllte.runner.workspaces import Checkout


def sleep(place: Checkout, task: Task, board: Any) -> Outcome:
    """Sleep for a moment, and return entries as a real task does."""
    board.put.remote(task.name, {"stage": "sleep", "node": "here"})
    time.sleep(0.05)
    entry = {"cmd": "sleep", "outs": [{"path": "x", "hash": "md5", "md5": "0" * 32, "size": 1}]}
    return Outcome(task.name, {stage.address: lock.entry_text(entry) for stage in task.stages})


@click.command(context_settings={"show_default": True})
@click.option("--num-tasks", default=5000, help="Runs; each of their ten cells is a task more.")
@click.option("--cores", default=16, help="That Ray is told there are.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(num_tasks: int, cores: int, as_json: bool) -> None:
    """Measure the coordinator's processor time for each task, and count the writes of dvc.lock."""
    writes = []
    write_bytes = lock.write_bytes
    lock.write_bytes = lambda path, data: (writes.append(path), write_bytes(path, data))  # type: ignore
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_recipes(root, num_tasks, "atari/ppo")
        wall, cpu = time.perf_counter(), time.process_time()
        works = stale_work(Project(root), Plan(root), lambda run: True)
        total = sum(len(work.tasks) for work in works)
        workspace, summary, entries = Checkout(root), Summary(), dict[str, str]()
        with Display(total) as display:
            for outcome in execute(works, workspace, {}, display.show, jobs=cores, function=sleep):
                entries |= outcome.entries
                summary.add(outcome)
        _record(root, works, entries, workspace, Lines())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {
        "tasks": total,
        "coordinator_ms_per_task": round(1000 * cpu / total, 2),
        "lock_writes": len(writes),
        "wall_s": round(wall, 1),
    }
    for name, value in result.items():
        print(f"{name:24} {value:10}")
    if as_json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
