"""Workspaces: a worker performs a task in the checkout, or in its own folder that shares a DVC remote."""

import io
import json
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tenacity

from rllte.errors import HubError
from rllte.files import md5, write_bytes
from rllte.names import Run
from rllte.recipes.project import Project
from rllte.runner import dvc_records as record
from rllte.runner.locks import read_entry
from rllte.runner.staleness import Stage
from rllte.runner.tasks import Outcome, Task

_log = logging.getLogger(__name__)
_SETTINGS = ("pipelines", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local")
_LASTING = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def is_transient(error: BaseException) -> bool:
    """Return whether an error is transient, such as a full disk or a remote that does not answer."""
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING)
    return type(error).__module__.startswith(("botocore.", "aiohttp.", "aiobotocore."))


patiently = tenacity.retry(
    retry=tenacity.retry_if_exception(is_transient),
    wait=tenacity.wait_exponential(multiplier=1, max=60),
    stop=tenacity.stop_after_attempt(8),  # two minutes of waiting
    before_sleep=tenacity.before_sleep_log(_log, logging.WARNING),
    reraise=True,
)
"""A decorator that calls a function again after a transient error, with waits that double."""


class Workspace(Protocol):
    """Where tasks are performed, and how their results reach the checkout.

    The coordinator calls the methods up to ``forget``. A worker uses the others; their ``root`` is the folder
    that ``opened`` gave.
    """

    def share(self, addresses: list[str]) -> None:
        """Make the recorded outputs of these stages available to workers."""

    def collect(self, entries: dict[str, str]) -> None:
        """Bring the outputs of finished stages into the checkout; the locks already have their entries."""

    def share_tables(self) -> None:
        """Make the outputs of the stages that span benchmarks available to other machines."""

    def write_log(self, outcome: Outcome) -> None:
        """Append the output of a task to the task's log file in the checkout."""

    def forget(self, tasks: list[Task]) -> None:
        """Remove what was kept for tasks that are recorded now."""

    @property
    def logs(self) -> Path:
        """Folder of the log files that workers write."""

    def opened(self, task: Task) -> AbstractContextManager[Path]:
        """Open the folder in which a task is performed, with the files that it reads."""

    def kept(self, root: Path, task: Task) -> dict[str, str]:
        """Return the entries, by address, of the stages that an earlier attempt at the task finished."""

    def keep(self, root: Path, task: Task, entries: dict[str, str]) -> None:
        """Keep the entries of finished stages for a later attempt."""

    def record(self, root: Path, stage: Stage, settings: dict[str, dict[str, Any]]) -> str:
        """Store the outputs of a stage; return its entry for dvc.lock."""

    def save_resume(self, root: Path, path: str) -> None:
        """Copy a checkpoint to where other nodes find it."""


@dataclass(frozen=True)
class Checkout:
    """The checkout itself, in a folder that every node sees under the same path.

    Attributes:
        root: The checkout.
    """

    root: Path

    def share(self, addresses: list[str]) -> None:
        """Do nothing: workers see the checkout."""

    def collect(self, entries: dict[str, str]) -> None:
        """Do nothing: the outputs are in the checkout."""

    def share_tables(self) -> None:
        """Do nothing: publishing is left to the user's ``dvc push``."""

    def write_log(self, outcome: Outcome) -> None:
        """Do nothing: workers write into the checkout's logs."""

    def forget(self, tasks: list[Task]) -> None:
        """Remove what was kept for tasks that are recorded now."""
        for task in tasks:
            for path in (self.root / "scratch" / task.name).glob("*.json"):
                path.unlink(missing_ok=True)

    @property
    def logs(self) -> Path:
        """Folder of the log files, in the checkout."""
        return logs_of(self.root)

    @contextmanager
    def opened(self, task: Task) -> Iterator[Path]:
        """Use the checkout itself.

        Raises:
            HubError: This node does not see the checkout.
        """
        if not (self.root / ".dvc").is_dir():
            raise HubError(
                f"This node does not see {self.root}. Run without --shared, and name a DVC remote with "
                "--remote."
            )
        yield self.root

    def kept(self, root: Path, task: Task) -> dict[str, str]:
        """Return the entries in the task's file in ``scratch/`` whose outputs still have the recorded md5."""
        try:
            entries: dict[str, str] = json.loads(
                (root / f"scratch/{task.name}/{task.key}.json").read_text(encoding="utf-8")
            )
        except FileNotFoundError:
            return {}
        return {
            address: text
            for address, text in entries.items()
            if all(_is(root / out, digest) for out, digest in read_entry(text)["outs"].items())
        }

    def keep(self, root: Path, task: Task, entries: dict[str, str]) -> None:
        """Write the entries to the task's file in ``scratch/``."""
        write_bytes(root / f"scratch/{task.name}/{task.key}.json", json.dumps(entries).encode())

    def record(self, root: Path, stage: Stage, settings: dict[str, dict[str, Any]]) -> str:
        """Store the outputs of a stage in DVC's cache; return its entry for dvc.lock."""
        return record.record(root, stage, settings)

    def save_resume(self, root: Path, path: str) -> None:
        """Do nothing: every node sees the checkout's ``scratch/``."""


@dataclass(frozen=True)
class OwnFolder:
    """A new folder on the worker's node; outputs and checkpoints go to a DVC remote that all nodes reach.

    The remote keeps under ``resume/`` what a checkout keeps under ``scratch/``.

    Attributes:
        root: The checkout of the coordinator.
        remote: Name of the remote.
        settings: The bytes of a tar file with the settings that stages and DVC read.
    """

    root: Path
    remote: str
    settings: bytes

    @classmethod
    def of(cls, root: Path, remote: str) -> "OwnFolder":
        """Return a workspace with the settings that the checkout has now."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in _SETTINGS:
                if (root / name).exists():
                    tar.add(root / name, name, filter=lambda info: None if "dvc.lock" in info.name else info)
        return cls(root, remote, buffer.getvalue())

    def share(self, addresses: list[str]) -> None:
        """Push the recorded outputs of these stages to the remote."""
        patiently(record.push)(self.root, addresses, self.remote)

    def collect(self, entries: dict[str, str]) -> None:
        """Pull the outputs of finished stages into the checkout."""
        patiently(record.pull)(self.root, entries, self.remote)

    def share_tables(self) -> None:
        """Push the outputs of the stages that span benchmarks to the remote.

        Raises:
            HubError: DVC reports an error.
        """
        record.run_dvc(self.root, "push", "--remote", self.remote, "dvc.yaml")

    def write_log(self, outcome: Outcome) -> None:
        """Append the output of a task on its node to the task's log file in the checkout."""
        log = logs_of(self.root) / f"{outcome.task}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(outcome.log)

    def forget(self, tasks: list[Task]) -> None:
        """Remove from the remote what was kept for tasks that are recorded now."""
        for task in tasks:
            fs, folder = self._shelf(self.root, task.name)
            trained = task.stages[0].kind == "train"
            paths = fs.find(folder) if trained else [p for p in fs.find(folder) if fs.parent(p) == folder]
            for path in paths:
                with suppress(FileNotFoundError):
                    fs.rm_file(path)

    @property
    def logs(self) -> Path:
        """Folder of the log files, on the node."""
        return Path(tempfile.gettempdir()) / "rllte-hub-logs"

    @contextmanager
    def opened(self, task: Task) -> Iterator[Path]:
        """Make a new folder with the settings, the task's inputs and its last checkpoint."""
        with tempfile.TemporaryDirectory(prefix="rllte-hub-") as folder, _site_cache(f"{folder}/.dvc/site"):
            root = Path(folder)
            with tarfile.open(fileobj=io.BytesIO(self.settings)) as tar:
                tar.extractall(root, filter="data")
            self._bring(root, task.inputs)
            if task.stages[0].kind == "train":
                self._load_resume(root, Run.parse(task.name))
            yield root

    def kept(self, root: Path, task: Task) -> dict[str, str]:
        """Return the entries in the task's file on the remote, and pull their outputs."""
        fs, path = self._shelf(root, f"{task.name}/{task.key}.json")
        try:
            entries: dict[str, str] = json.loads(patiently(fs.cat_file)(path))
        except FileNotFoundError:
            return {}
        self._bring(root, entries)
        return entries

    def keep(self, root: Path, task: Task, entries: dict[str, str]) -> None:
        """Write the entries to the task's file on the remote."""
        fs, path = self._shelf(root, f"{task.name}/{task.key}.json")
        fs.pipe_file(path, json.dumps(entries).encode())

    def record(self, root: Path, stage: Stage, settings: dict[str, dict[str, Any]]) -> str:
        """Store the outputs of a stage on the remote; return its entry for dvc.lock."""
        return record.record(root, stage, settings, self.remote)

    def save_resume(self, root: Path, path: str) -> None:
        """Copy a checkpoint to the remote. After a transient error, wait for the next checkpoint."""
        fs, target = self._shelf(root, path.removeprefix("scratch/"))
        try:
            fs.put_file(str(root / path), target)
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("the checkpoint was not copied to the remote: %s", error)

    def _load_resume(self, root: Path, run: Run) -> None:
        path = run.resume_path(Project(root).spec(run.cell).hash)
        fs, source = self._shelf(root, path.removeprefix("scratch/"))
        with suppress(FileNotFoundError):
            write_bytes(root / path, patiently(fs.cat_file)(source))

    def _bring(self, root: Path, entries: dict[str, str]) -> None:
        if entries:
            record.merge_entries(root, entries)
            patiently(record.pull)(root, entries, self.remote)

    def _shelf(self, root: Path, path: str) -> tuple[Any, str]:
        fs, folder = record.remote_folder(root, self.remote)
        return fs, fs.join(folder, "resume", path)


def logs_of(root: Path) -> Path:
    """Return the folder of a checkout's log files."""
    return root / "scratch/logs"


def _is(path: Path, digest: str) -> bool:
    return path.exists() and md5(path.read_bytes()) == digest


@contextmanager
def _site_cache(folder: str) -> Iterator[None]:
    """Let DVC keep its index of a folder inside the folder, so that both are removed together."""
    os.environ["DVC_SITE_CACHE_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["DVC_SITE_CACHE_DIR"]
