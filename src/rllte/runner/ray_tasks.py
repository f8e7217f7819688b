"""Run tasks on Ray, on this machine or on a cluster, and retry a task if its worker or node is lost."""

import logging
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

import rllte
from rllte.errors import HubError
from rllte.runner.tasks import Outcome, Task, Work
from rllte.runner.worker import perform
from rllte.runner.workspaces import Workspace

_RETRIES = 20  # of a task whose worker or node is lost; an error of the task itself is its outcome
_POLL_S = 0.3
_OBJECT_STORE_BYTES = 100 * 2**20  # holds settings and lock entries; artifacts never pass through Ray

Function = Callable[[Workspace, Task, Any], Outcome]
Rows = dict[str, dict[str, Any]]


class _Board:
    """An actor that holds the progress of every task."""

    def __init__(self) -> None:
        self._rows: Rows = {}

    def put(self, name: str, row: dict[str, Any]) -> None:
        self._rows[name] = {**self._rows.get(name, {}), **row}

    def rows(self) -> Rows:
        return self._rows


def perform_on_node(workspace: Workspace, task: Task, board: Any) -> Outcome:
    """Perform a task in a worker, and report its progress to the board."""
    node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    outcome = perform(workspace, task, lambda row: board.put.remote(task.name, {"node": node, **row}))
    board.put.remote(task.name, {"stage": "done"})
    return outcome


def execute(
    works: list[Work],
    workspace: Workspace,
    entries: dict[str, str],
    show: Callable[[Rows], None],
    *,
    address: str | None = None,
    jobs: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    function: Function = perform_on_node,
) -> Generator[Outcome, None, None]:
    """Run each task on Ray as soon as its inputs are ready, and yield each outcome as it comes.

    Args:
        works: The work of each cell.
        workspace: Where workers perform the tasks.
        entries: Entries of dvc.lock by address that tasks may need. The entries of outcomes are added to
            them.
        show: Called again and again with the progress of each task.
        address: Address of a Ray cluster; None starts Ray on this machine.
        jobs: Largest number of tasks at the same time; None for the number of cores.
        stopped: Returns whether to end now. Tasks that are running then are stopped.
        function: What a worker does with a task.
    """
    with _ray(address, jobs, works):
        board = ray.remote(num_cpus=0, max_restarts=-1)(_Board).remote()
        shared_workspace = ray.put(workspace)
        remote = ray.remote(max_retries=_RETRIES)(function)

        def submit(task: Task) -> Any:
            options = {name: value for name, value in task.options.items() if value}
            return remote.options(name=task.name, **options).remote(shared_workspace, task, board)

        yield from _drive(works, entries, submit, _Poll(board, show), lambda: jobs or _num_cpus(), stopped)


def _drive(
    works: list[Work],
    entries: dict[str, str],
    submit: Callable[[Task], Any],
    poll: Callable[[], None],
    limit: Callable[[], int],
    stopped: Callable[[], bool],
) -> Iterator[Outcome]:
    work_of = {task.name: work for work in works for task in work.tasks}
    left = {work.cell: len(work.runs) for work in works}
    waiting = [task for work in works for task in work.runs or [work.last]]
    waiting.reverse()
    running: dict[Any, Task] = {}
    failed: set[str] = set()
    while (waiting or running) and not stopped():
        room = limit() - len(running)  # Ray chooses the order of the tasks that it was given
        for _ in range(min(room, len(waiting))):
            task = waiting.pop()
            needs = {name: entries[name] for name in work_of[task.name].inputs(task) if name in entries}
            running[submit(replace(task, inputs=needs))] = task
        for reference in ray.wait(list(running), num_returns=len(running), timeout=_POLL_S)[0]:
            task = running.pop(reference)
            outcome = _outcome(reference, task)
            entries.update(outcome.entries)
            yield outcome
            work = work_of[task.name]
            if task.name != work.last.name:
                failed |= {task.name} if outcome.error else set()
                left[work.cell] -= 1
                if left[work.cell] == 0 and (last := work.finish(failed)):
                    waiting.append(last)
        poll()


def _num_cpus() -> int:
    return int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]


def _outcome(reference: Any, task: Task) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except RayError as error:
        return Outcome(task.name, {}, " ".join(f"{type(error).__name__}: {error}".split())[:500])
    return outcome


class _Poll:
    """Asks the board for the progress of the tasks, and shows it without waiting for the answer."""

    def __init__(self, board: Any, show: Callable[[Rows], None]) -> None:
        self._board, self._show = board, show
        self._asked = board.rows.remote()

    def __call__(self) -> None:
        if ray.wait([self._asked], timeout=0)[0]:
            with suppress(RayError):  # the board's node was lost; Ray restarts the board
                self._show(ray.get(self._asked))
            self._asked = self._board.rows.remote()


@contextmanager
def _ray(address: str | None, jobs: int | None, works: list[Work]) -> Iterator[None]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    widest = max(task.options.get("num_cpus", 1) for work in works for task in work.tasks)
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            ray.init(
                "local",
                num_cpus=jobs * widest if jobs else None,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            package = str(Path(rllte.__file__).parent)
            ray.init(address, runtime_env={"py_modules": [package]}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise HubError(f"Ray did not start or answer on {address or 'this machine'}: {text}") from None
    signal.signal(signal.SIGTERM, on_terminate)  # Ray has replaced our handler
    try:
        if address is None:
            _check_resources(works)
        yield
    finally:
        ray.shutdown()


def _check_resources(works: list[Work]) -> None:
    """Check that this machine has the resources of every task; a task that asks for more would wait for ever.

    Raises:
        HubError: It lacks a resource.
    """
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for task in (task for work in works for task in work.tasks):
        plain = {names[key]: value or 0 for key, value in task.options.items() if key in names}
        for name, amount in {**plain, **task.options.get("resources", {})}.items():
            if amount > have.get(name, 0):
                raise HubError(
                    f"{task.name} asks for {amount:g} {name}, but this machine has {have.get(name, 0):g}. "
                    "Change num_threads or resources in params.yaml, or run it on a cluster with --address."
                )
