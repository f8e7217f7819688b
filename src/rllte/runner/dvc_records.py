"""Calls to DVC: record a stage, push and pull its outputs, open a remote, run a command."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCM
from dvc.stage.serialize import to_single_stage_lockfile

from rllte.errors import HubError
from rllte.runner.locks import entry_text, merge_texts
from rllte.runner.staleness import Stage


@contextmanager
def open_repository(root: Path) -> Iterator[Any]:
    """Open a folder as a DVC repository, with or without git.

    Inside the block the folder is the working directory, as DVC expects.
    """
    scm = None if (root / ".git").exists() else SCM(str(root), no_scm=True)
    with chdir(root), Repo(str(root), scm=scm, _wait_for_lock=True) as repo:
        yield repo


def record(root: Path, stage: Stage, settings: dict[str, dict[str, Any]], remote: str | None = None) -> str:
    """Put the outputs of a stage into DVC's cache and, if a remote is given, onto the remote.

    Args:
        root: The folder with the outputs.
        stage: The stage.
        settings: Its parameters by file and key, as they were when the stage began.
        remote: Name of the remote.

    Returns:
        The stage's entry for dvc.lock.

    Raises:
        HubError: A parameter has changed since the stage began.
        ConnectionError: Some outputs did not reach the remote.
    """
    with open_repository(root) as repo:
        found = repo.stage.load_one(str(root / stage.file), stage.name)
        found.save()
        params = {
            dep.def_path: dict(dep.hash_info.value) for dep in found.deps if isinstance(dep, ParamsDependency)
        }
        if params != settings:
            raise HubError(f"{stage.address}: its parameters changed while it ran. Run it again.")
        with repo.lock:
            found.commit()
        if remote is not None:
            _push(repo, [found], remote)
        return entry_text(to_single_stage_lockfile(found))


def push(root: Path, addresses: Iterable[str], remote: str) -> None:
    """Push the outputs that dvc.lock records for stages, except files that the remote already has."""
    with open_repository(root) as repo:
        _push(repo, [repo.stage.load_one(*_place(root, address)) for address in addresses], remote)


def _push(repo: Any, stages: list[Any], remote: str) -> None:
    used = [out.get_used_objs() for stage in stages for out in stage.outs]
    infos = {info for one in used for infos in one.values() for info in infos}
    failed = repo.cloud.push(infos, remote=remote).failed
    if failed:
        raise ConnectionError(f"{len(failed)} of {len(infos)} files did not reach the remote {remote!r}.")


def pull(root: Path, addresses: Iterable[str], remote: str | None = None) -> None:
    """Pull what stages recorded, as far as dvc.lock and the remote have it.

    Args:
        root: The repository.
        addresses: Addresses of stages, whole dvc.yaml files or single outputs.
        remote: Name of the remote; None for the repository's default.

    Raises:
        ConnectionError: A file could not be pulled.
    """
    targets = [":".join(filter(None, _place(root, address))) for address in addresses]
    with open_repository(root) as repo:
        try:
            repo.pull(targets=targets, remote=remote, allow_missing=True)
        except DvcException as error:
            raise ConnectionError(f"dvc pull: {error}") from error


def _place(root: Path, address: str) -> tuple[str, str]:
    file, _, name = address.partition(":")
    return str(root / file), name


def remote_folder(root: Path, remote: str) -> tuple[Any, str]:
    """Return the file system of a remote, and the remote's folder on it."""
    with open_repository(root) as repo:
        found = repo.cloud.get_remote(remote)
        return found.fs, found.path


def remote_for_nodes(root: Path, remote: str | None) -> str:
    """Return the name of a remote that other machines can reach.

    Args:
        root: The repository.
        remote: Name of the remote; None for the repository's default.

    Raises:
        HubError: There is no such remote, or it is a folder on this machine.
    """
    with open_repository(root) as repo:
        name = remote or repo.config["core"].get("remote")
        try:
            protocol = repo.cloud.get_remote(name).fs.protocol
        except DvcException as error:
            raise HubError(f"{error}. Add it with: dvc remote add") from None
    if protocol == "local":
        raise HubError(
            f"The DVC remote {name!r} is a folder on this machine, which other nodes cannot reach. Name "
            "another remote with --remote, or pass --shared if every node sees this checkout."
        )
    return str(name)


def merge_entries(root: Path, entries: dict[str, str]) -> None:
    """Write entries into the dvc.lock files, each file once, while no other DVC command runs."""
    by_file: dict[str, dict[str, str]] = {}
    for address, text in entries.items():
        file, _, name = address.partition(":")
        by_file.setdefault(file, {})[name] = text
    with open_repository(root) as repo, repo.lock:
        for file, texts in by_file.items():
            merge_texts((root / file).with_suffix(".lock"), texts)


def run_dvc(root: Path, *arguments: str) -> None:
    """Run a DVC command in a checkout.

    Raises:
        HubError: The command failed. The message is the last line that a stage printed or, if there is none,
            the last line of DVC's output.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    result = subprocess.run(
        command, cwd=root, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or ["no message"]
        own = [line for line in lines if not line.startswith("ERROR:")]
        raise HubError((own or lines)[-1])
