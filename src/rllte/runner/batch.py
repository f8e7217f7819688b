"""Run a batch: make everything that is missing or stale, record it in DVC, and write the catalogue."""

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllte.errors import HubError
from rllte.recipes.project import Project
from rllte.runner import dvc_records, ray_tasks
from rllte.runner.additions import (
    Lines,
    add_lines,
    lines_to_add,
    list_extras,
    list_tables,
    remove_lines,
    take_back,
)
from rllte.runner.display import Display
from rllte.runner.locks import read_texts
from rllte.runner.staleness import Plan, Stage
from rllte.runner.tasks import Outcome, Work, check_targets, stale_work, wanted_by
from rllte.runner.workspaces import Checkout, OwnFolder, Workspace, is_transient, patiently

_LOCK = ".dvc/tmp/rllte-hub/run.lock"


@dataclass(frozen=True)
class Options:
    """The options of ``rllte-hub run``.

    Attributes:
        targets: Names of cells and runs; all if empty.
        benchmark: Work on this benchmark only.
        agent: Work on this agent only.
        planned: Also train the cells that are only planned, at the paper scale.
        release: Also train the cells that ``release.yaml`` names, in its order.
        jobs: Largest number of tasks at the same time; None for the number of cores.
        threads: Number of cores for each run; None for as many as the run computes with.
        address: Address of a Ray cluster; None starts Ray on this machine.
        shared: Whether all nodes of the cluster see the checkout under the same path.
        remote: Name of the DVC remote from which missing outputs are pulled, and through which nodes share
            results if they do not see the checkout. None for the default remote.
    """

    targets: tuple[str, ...] = ()
    benchmark: str | None = None
    agent: str | None = None
    planned: bool = False
    release: bool = False
    jobs: int | None = None
    threads: int | None = None
    address: str | None = None
    shared: bool = False
    remote: str | None = None


@dataclass
class Summary:
    """The result of a batch.

    Attributes:
        done: Names of the tasks that finished.
        failed: One line about each task that failed, by the task's name.
        interrupted: Whether a signal stopped the batch.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a task."""
        if outcome.error:
            self.failed[outcome.task] = outcome.error
        else:
            self.done.append(outcome.task)


def run_batch(root: Path, options: Options) -> Summary:
    """Train, evaluate, export and collect what is missing or stale, and write the catalogue.

    Args:
        root: The repository.
        options: What to work on, and where.

    Returns:
        The tasks that finished and those that failed.

    Raises:
        UnknownNameError: A requested benchmark, agent, cell or run does not exist.
        HubError: Another batch is working on this checkout, the options do not fit the settings, recorded
            files are not here and cannot be pulled, or the disk or the remote failed in the coordinator
            itself.
    """
    project = Project(root)
    project.all_runs()  # raises, before anything is written, if there is no checkout
    with _only_one(root), _Interrupts() as interrupts, _readable_errors():
        wanted = wanted_by(options.targets, options.benchmark, options.agent)
        take_back(project)
        added = lines_to_add(project, wanted, planned=options.planned, release=options.release)
        unfinished = set(added.cells)
        check_targets(options.targets, [*project.all_runs(), *added.runs])
        _pull_recorded(root, options)  # first: DVC warns of each output that is listed and was never made
        try:
            add_lines(project, added)
            if options.release:  # tells from the tables, which are here now, which cells are available
                list_extras(project)
            plan = Plan(root)
            works = added.in_order(stale_work(project, plan, wanted, options.threads))
            workspace = _workspace(root, options)
            summary, entries = _execute(root, works, workspace, options, interrupts)
            unfinished &= {work.cell for work in works if _is_unfinished(work, entries)}
        finally:
            remove_lines(project, added.of(unfinished))
        _record(root, works, entries, workspace, added.of(unfinished))
        _make_catalogue(root, workspace, summary, interrupts)
        summary.interrupted = interrupts.asked
        return summary


def _execute(
    root: Path, works: list[Work], workspace: Workspace, options: Options, interrupts: "_Interrupts"
) -> tuple[Summary, dict[str, str]]:
    """Run the tasks; return the summary, and the lock entries of all finished stages by address."""
    summary, done = Summary(), dict[str, str]()
    if not works:
        return summary, done
    known = _locked(root, works)
    made = {stage.address for work in works for task in work.tasks for stage in task.stages}
    reads = {address for work in works for task in work.tasks for address in work.inputs(task)}
    workspace.share(sorted((reads & set(known)) - made))
    total = sum(len(work.tasks) for work in works)
    interrupts.finish_first = True  # from here on, the results of finished tasks must reach the locks
    with Display(total) as display:
        outcomes = ray_tasks.execute(
            works,
            workspace,
            known,
            display.show,
            address=options.address,
            jobs=options.jobs,
            stopped=lambda: interrupts.asked,
        )
        with closing(outcomes):
            for outcome in outcomes:
                display.finished(outcome)
                done |= outcome.entries
                workspace.write_log(outcome)
                summary.add(outcome)
    return summary, done


def _is_unfinished(work: Work, entries: dict[str, str]) -> bool:
    return any(stage.address not in entries for task in work.tasks for stage in task.stages)


def _locked(root: Path, works: list[Work]) -> dict[str, str]:
    files = {work.cell.stage_file for work in works}
    return {
        f"{file}:{name}": text
        for file in files
        for name, text in read_texts((root / file).with_suffix(".lock")).items()
    }


def _record(
    root: Path, works: list[Work], entries: dict[str, str], workspace: Workspace, unlisted: Lines
) -> None:
    """Write the entries of finished stages into the locks in one go, and fetch outputs made on other nodes.

    Stages of unlisted runs and cells are left out.
    """
    owners = {*map(str, unlisted.runs), *map(str, unlisted.cells)}  # a cell's tables contain all its runs
    stages = [stage for work in works for task in work.tasks for stage in task.stages]
    finished = {
        stage.address: entries[stage.address]
        for stage in stages
        if stage.address in entries and not owners & _owners(stage)
    }
    if not finished:
        return
    dvc_records.merge_entries(root, finished)
    workspace.collect(finished)
    tasks = [task for work in works for task in work.tasks]
    patiently(workspace.forget)(
        [task for task in tasks if all(stage.address in finished for stage in task.stages)]
    )


def _owners(stage: Stage) -> set[str]:
    """Return the names that a stage belongs to: demonstrations come from all runs of their cell."""
    return {stage.target, str(stage.cell)} if stage.kind == "demonstrate" else {stage.target}


def _make_catalogue(root: Path, workspace: Workspace, summary: Summary, interrupts: "_Interrupts") -> None:
    """Let DVC run the stages that span benchmarks if they are stale, and note an error in the summary."""
    interrupts.finish_first = True
    try:
        list_tables(Project(root))
        dvc_records.run_dvc(root, "repro", "--single-item", "dvc.yaml")
        workspace.share_tables()
    except HubError as error:
        summary.failed["dvc.yaml"] = str(error)


def _pull_recorded(root: Path, options: Options) -> None:
    """Pull the recorded outputs that are not here, so that nothing is trained again that was published.

    Raises:
        HubError: Some outputs are not here and could not be pulled.
    """
    plan = Plan(root)
    absent = plan.absent()
    if not absent:
        return
    reason = "the remote does not have all of them"
    print(f"Pulling the recorded files of {len(absent)} stages, which are not here.", file=sys.stderr)
    try:
        dvc_records.pull(root, _targets(plan, absent), options.remote)
    except ConnectionError as error:
        reason = str(error)
    if lost := Plan(root).lost():
        raise HubError(
            f"{len(lost)} recorded files are not here and could not be pulled ({reason}), such as {lost[0]}. "
            f"Check `dvc remote list` and run `dvc pull`. Files that are lost for good are made again by "
            f"`dvc repro`."
        )


def _targets(plan: Plan, absent: list[str]) -> list[str]:
    """Return what to pull: a whole dvc.yaml file, or single outputs where something in the file is stale.

    DVC reads dvc.lock again for each stage that it is given; for a file or an output it does so once.
    """
    stale = {address.partition(":")[0] for address in plan.reasons if address not in set(absent)}
    targets = list[str]()
    for address in absent:
        file = address.partition(":")[0]
        targets += plan.stages[address].outs if file in stale else [file]
    return list(dict.fromkeys(targets))


def _workspace(root: Path, options: Options) -> Workspace:
    if options.address is None or options.shared:
        return Checkout(root)
    return OwnFolder.of(root, dvc_records.remote_for_nodes(root, options.remote))


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    path = root / _LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise HubError(
                f"Another rllte-hub run is working on {root}: {file.read().strip()}. Wait for it, or stop it."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise HubError(f"{text}. Finished work is kept; run the same command again.") from error


class _Interrupts:
    """Handles Ctrl-C, SIGTERM, which Slurm and Kubernetes send, and SIGHUP, which a closed terminal sends.

    Attributes:
        finish_first: If true, the first signal only sets ``asked``, so that the batch can stop at a place
            where nothing is lost; the second one raises ``KeyboardInterrupt``. If false, every signal raises
            it.
        asked: Whether a signal has asked the batch to stop.
    """

    def __init__(self) -> None:
        self.finish_first = self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def _take(self, *_: Any) -> None:
        if self.asked or not self.finish_first:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> "_Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
