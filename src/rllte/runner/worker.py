"""Perform a task: call the functions of its DVC stages in order, and record each stage as it ends."""

import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from rllte.kernels import use_chosen_kernels
from rllte.runner.staleness import Stage
from rllte.runner.tasks import Outcome, Task
from rllte.runner.workspaces import Workspace, patiently
from rllte.stages import stage_function

Report = Callable[[dict[str, Any]], None]
"""Takes the progress of a task: its ``stage`` and, in training, ``env_step``, ``num_train_steps``, ``rate``
(in env steps per second) and ``last_return``."""


def perform(workspace: Workspace, task: Task, report: Report) -> Outcome:
    """Perform the stages that no earlier attempt at the task has finished, and keep each result at once.

    An error of the task itself becomes part of the outcome; its traceback is in the task's log.
    """
    use_chosen_kernels()
    log = workspace.logs / f"{task.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    entries: dict[str, str] = {}
    error = ""
    with log.open("a", buffering=1, encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        begin = file.tell()
        try:
            with workspace.opened(task) as root:
                entries |= workspace.kept(root, task)
                for stage in task.stages:
                    if stage.address not in entries:
                        _perform_stage(workspace, root, task, stage, report)
                        text = patiently(workspace.record)(root, stage, task.settings[stage.address])
                        entries[stage.address] = text
                        patiently(workspace.keep)(root, task, entries)
        except Exception as problem:
            traceback.print_exc()
            error = " ".join(f"{type(problem).__name__}: {problem}".split())
    return Outcome(task.name, entries, error, log.read_bytes()[begin:].decode(errors="replace"))


def _perform_stage(workspace: Workspace, root: Path, task: Task, stage: Stage, report: Report) -> None:
    report({"stage": stage.kind})
    function = stage_function(stage.kind)
    options = {"watch": _Watch(workspace, root, task, report)} if stage.kind == "train" else {}
    print(f"{stage.kind} {stage.target}")
    print(patiently(function)(root, stage.owner, **options))


class _Watch:
    """Reports the progress of a training, and copies its checkpoints to where other nodes find them.

    Training calls it at each point of the curves and after each checkpoint.
    """

    def __init__(self, workspace: Workspace, root: Path, task: Task, report: Report) -> None:
        self._workspace, self._root, self._task, self._report = workspace, root, task, report
        self._before: tuple[int, float] | None = None
        self._saved: dict[Path, int] = {}

    def __call__(self, agent: Any) -> None:
        now, row = time.monotonic(), {"stage": "train", "env_step": agent.env_step}
        if self._before is not None and now > self._before[1]:
            row["rate"] = (agent.env_step - self._before[0]) / (now - self._before[1])
        self._before = agent.env_step, now
        curve = agent.curves()
        if len(curve):
            row["last_return"] = curve.column("episode_return")[-1].as_py()
        self._report({**row, "num_train_steps": agent.num_train_steps})
        for path in self._root.glob(f"scratch/{self._task.name}/*/resume.pt"):
            if self._saved.get(path) != path.stat().st_mtime_ns:
                self._saved[path] = path.stat().st_mtime_ns
                self._workspace.save_resume(self._root, path.relative_to(self._root).as_posix())
