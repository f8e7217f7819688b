"""Where a worker does its task: the checkout, or a folder of its own that shares a DVC remote with others."""

import io
import json
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity

from rllte.errors import HubError
from rllte.files import md5, write_bytes
from rllte.names import Run
from rllte.recipes.project import Project
from rllte.runner import dvc_records as record
from rllte.runner.locks import read_entry
from rllte.runner.staleness import Stage
from rllte.runner.tasks import Task

_log = logging.getLogger(__name__)
_SETTINGS = ("pipelines", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local")
_LASTING = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def may_pass(error: BaseException) -> bool:
    """Return whether an error may be gone a moment later: a full disk, a remote that does not answer."""
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING)
    return type(error).__module__.startswith(("botocore.", "aiohttp.", "aiobotocore."))


patiently = tenacity.retry(
    retry=tenacity.retry_if_exception(may_pass),
    wait=tenacity.wait_exponential(multiplier=1, max=60),
    stop=tenacity.stop_after_attempt(8),  # two minutes of waiting
    before_sleep=tenacity.before_sleep_log(_log, logging.WARNING),
    reraise=True,
)
"""A decorator: what may pass is tried again, after waits that double."""


@dataclass(frozen=True)
class Checkout:
    """The checkout itself, in a folder that every node sees under the same path.

    Attributes:
        root: The checkout.
    """

    root: Path

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.root / "scratch/logs"

    @contextmanager
    def opened(self, task: Task) -> Iterator[Path]:
        """Give the folder in which a task is done, with what it reads."""
        if not (self.root / ".dvc").is_dir():
            raise HubError(f"This node does not see {self.root}. Leave out --shared, and name a --remote.")
        yield self.root

    def kept(self, root: Path, task: Task) -> dict[str, str]:
        """Return the entries of the stages that an earlier attempt at a task finished, by address."""
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
        """Keep the entries of finished stages for a later attempt."""
        write_bytes(root / f"scratch/{task.name}/{task.key}.json", json.dumps(entries).encode())

    def forget(self, tasks: list[Task]) -> None:
        """Remove what was kept of tasks that are recorded."""
        for task in tasks:
            for path in (self.root / "scratch" / task.name).glob("*.json"):
                path.unlink(missing_ok=True)

    def record(self, root: Path, stage: Stage, settings: dict[str, dict[str, Any]]) -> str:
        """Take the outputs of a stage into DVC's cache; return its entry for dvc.lock."""
        return record.record(root, stage, settings)

    def save_resume(self, root: Path, path: str) -> None:
        """Put the resume state of a training where other nodes find it: here, it is there already."""


@dataclass(frozen=True)
class OwnFolder(Checkout):
    """A new folder on the worker's node; outputs and resume states go to a DVC remote that all nodes reach.

    What a later attempt needs lies in the remote as in a checkout, with ``resume`` for ``scratch``.

    Attributes:
        remote: Its name.
        settings: A tar file of what the stages and DVC read.
    """

    remote: str
    settings: bytes

    @classmethod
    def of(cls, root: Path, remote: str) -> "OwnFolder":
        """Return the place for workers of a checkout; the settings travel as they are in it now."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in _SETTINGS:
                if (root / name).exists():
                    tar.add(root / name, name, filter=lambda info: None if "dvc.lock" in info.name else info)
        return cls(root, remote, buffer.getvalue())

    @property
    def logs(self) -> Path:
        """The folder of the log files, on the node."""
        return Path(tempfile.gettempdir()) / "rllte-hub-logs"

    @contextmanager
    def opened(self, task: Task) -> Iterator[Path]:
        """Give the folder in which a task is done, with what it reads."""
        with tempfile.TemporaryDirectory(prefix="rllte-hub-") as folder, _site_cache(f"{folder}/.dvc/site"):
            root = Path(folder)
            with tarfile.open(fileobj=io.BytesIO(self.settings)) as tar:
                tar.extractall(root, filter="data")
            self._bring(root, task.inputs)
            if task.stages[0].kind == "train":
                self._load_resume(root, Run.parse(task.name))
            yield root

    def kept(self, root: Path, task: Task) -> dict[str, str]:
        """Return the entries of the stages that an earlier attempt at a task finished, by address."""
        fs, path = self._shelf(root, f"{task.name}/{task.key}.json")
        try:
            entries: dict[str, str] = json.loads(patiently(fs.cat_file)(path))
        except FileNotFoundError:
            return {}
        self._bring(root, entries)
        return entries

    def keep(self, root: Path, task: Task, entries: dict[str, str]) -> None:
        """Keep the entries of finished stages for a later attempt."""
        fs, path = self._shelf(root, f"{task.name}/{task.key}.json")
        fs.pipe_file(path, json.dumps(entries).encode())

    def forget(self, tasks: list[Task]) -> None:
        """Remove what was kept of tasks that are recorded."""
        for task in tasks:
            fs, folder = self._shelf(self.root, task.name)
            trained = task.stages[0].kind == "train"
            paths = fs.find(folder) if trained else [p for p in fs.find(folder) if fs.parent(p) == folder]
            for path in paths:
                with suppress(FileNotFoundError):
                    fs.rm_file(path)

    def record(self, root: Path, stage: Stage, settings: dict[str, dict[str, Any]]) -> str:
        """Take the outputs of a stage to the remote; return its entry for dvc.lock."""
        return record.record(root, stage, settings, self.remote)

    def save_resume(self, root: Path, path: str) -> None:
        """Put the resume state of a training where other nodes find it; if that fails, the next may do."""
        fs, target = self._shelf(root, path.removeprefix("scratch/"))
        try:
            fs.put_file(str(root / path), target)
        except Exception as error:
            if not may_pass(error):
                raise
            _log.warning("the resume state stayed here: %s", error)

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


def _is(path: Path, digest: str) -> bool:
    return path.exists() and md5(path.read_bytes()) == digest


@contextmanager
def _site_cache(folder: str) -> Iterator[None]:
    """Let DVC keep what it knows of a folder in that folder, so that it goes with it."""
    os.environ["DVC_SITE_CACHE_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["DVC_SITE_CACHE_DIR"]
