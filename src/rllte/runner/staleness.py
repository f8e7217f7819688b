"""Find the stages that are stale, by the rules of DVC, with few reads.

``dvc status`` takes ten seconds for three thousand stages; this module takes one second. A stage is stale if
its command, a parameter, or the hash of a dependency or an output differs from dvc.lock, or if an output is
not in DVC's cache.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rllte.files import md5, write_bytes
from rllte.hub.store.dvc_config import read_config
from rllte.names import Cell, Dataset, Run
from rllte.recipes.project import read_yaml
from rllte.runner.locks import read_lock

_MEMO = ".dvc/tmp/rllte-hub/md5.json"
_MISSING = object()
_IN_CACHE = " in DVC's cache"


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline, as its dvc.yaml defines it now.

    Attributes:
        file: Path of its dvc.yaml, relative to the repository.
        name: Its name, such as ``train@Pong-v5/seed-0``.
        cmd: Its command.
        params: The keys of its parameters, by the file that contains them.
        deps: Paths of its dependencies, relative to the repository.
        outs: Paths of its outputs, relative to the repository. DVC's cache keeps all of them.
    """

    file: str
    name: str
    cmd: str
    params: dict[str, list[str]]
    deps: list[str]
    outs: list[str]

    @property
    def address(self) -> str:
        """The name that ``dvc repro`` and ``dvc pull`` take: ``<file>:<name>``."""
        return f"{self.file}:{self.name}"

    @property
    def kind(self) -> str:
        """Kind of the stage, one of ``rllte.stages.STAGES``."""
        return self.name.partition("@")[0]

    @property
    def target(self) -> str:
        """Name of the run, the cell or the dataset that the command works on."""
        return self.cmd.split()[-1]

    @property
    def owner(self) -> Run | Cell | Dataset:
        """The run, the cell or the dataset that the command works on."""
        if self.kind in ("collect", "film"):
            return Cell.parse(self.target)
        return (Dataset if self.kind == "demonstrate" else Run).parse(self.target)

    @property
    def cell(self) -> Cell:
        """The cell that the stage belongs to."""
        owner = self.owner
        return owner if isinstance(owner, Cell) else owner.cell


class Reason(NamedTuple):
    """Why a stage is stale.

    Attributes:
        kind: ``new`` (the stage never ran), ``changed``, or ``absent`` (``dvc pull`` brings the file).
        text: What is new, changed or absent.
    """

    kind: str
    text: str


class Plan:
    """The stages of a repository, and the reasons why some are stale.

    Args:
        root: The repository.
        pipelines: Folders such as ``atari/ppo``; None for all.

    Attributes:
        stages: All stages, by address.
        reasons: The reasons of each stale stage, by address.
    """

    def __init__(self, root: Path, pipelines: list[str] | None = None) -> None:
        self._root, self._hashes = root, _Hashes(root)
        self._cache = _cache_folder(root)
        self.stages: dict[str, Stage] = {}
        self.reasons: dict[str, list[Reason]] = {}
        names = pipelines or [
            path.parent.relative_to(root / "pipelines").as_posix()
            for path in sorted(root.glob("pipelines/*/*/dvc.yaml"))
        ]
        for name in names:
            locked = read_lock(root / f"pipelines/{name}/dvc.lock")
            for stage in read_stages(root, name):
                self.stages[stage.address] = stage
                if reasons := list(self._reasons(stage, locked.get(stage.name))):
                    self.reasons[stage.address] = reasons
        self._hashes.save()

    def absent(self) -> list[str]:
        """Return the addresses of the stages that are stale only because recorded files are not here."""
        return [
            address
            for address, reasons in self.reasons.items()
            if {reason.kind for reason in reasons} == {"absent"}
        ]

    def lost(self) -> list[str]:
        """Return the recorded outputs that are not here and that no stale stage will make again.

        A stage that depends on an output of a stale stage is counted as stale, too.
        """
        absent = dict.fromkeys(self.absent())
        remade = {out for address in self.reasons if address not in absent for out in self._outs(address)}
        lost = []
        for address in absent:
            if remade & set(self.stages[address].deps):
                remade |= set(self._outs(address))
            else:
                paths = {reason.text.removesuffix(_IN_CACHE) for reason in self.reasons[address]}
                lost += [out for out in self._outs(address) if out in paths]
        return lost

    def _outs(self, address: str) -> list[str]:
        return self.stages[address].outs

    def settings(self, stage: Stage) -> dict[str, dict[str, Any]]:
        """Return the current parameters of a stage, by file and key."""
        return {
            file: {key: _value(_values(self._root / file), key) for key in keys}
            for file, keys in stage.params.items()
        }

    def _reasons(self, stage: Stage, locked: dict[str, Any] | None) -> Iterator[Reason]:
        if locked is None:
            yield Reason("new", "never run")
            return
        if stage.cmd != locked["cmd"]:
            yield Reason("changed", "the command")
        for file, values in self.settings(stage).items():
            then = locked["params"].get(file, {})
            for key, value in values.items():
                if value != then.get(key, _MISSING):
                    yield Reason("changed", f"{file}: {key}")
        for path in stage.deps:
            yield from self._changed(path, locked["deps"].get(path))
        for path in stage.outs:
            digest = locked["outs"].get(path)
            if digest and not (self._cache / digest[:2] / digest[2:]).exists():
                yield Reason("absent", path + _IN_CACHE)
            yield from self._changed(path, digest)

    def _changed(self, path: str, digest: str | None) -> Iterator[Reason]:
        now = self._hashes.of(path)
        if now is None:
            yield Reason("absent", path)
        elif now != digest:
            yield Reason("changed", path)


def read_stages(root: Path, pipeline: str) -> list[Stage]:
    """Return the stages of ``pipelines/<pipeline>/dvc.yaml``, with its templates filled in."""
    folder = root / "pipelines" / pipeline
    content = read_yaml(folder / "dvc.yaml", f"pipelines/{pipeline}/dvc.yaml")
    values: dict[str, Any] = {}
    for file in ("params.yaml", *content["vars"]):
        values |= _values(folder / file)
    stages = []
    for kind, body in content["stages"].items():
        for key, item in values[body["foreach"][2:-1]].items():
            filled = _fill(body["do"], {**values, "key": key, "item": item})
            stages.append(
                Stage(
                    file=f"pipelines/{pipeline}/dvc.yaml",
                    name=f"{kind}@{key}",
                    cmd=filled["cmd"],
                    params={file: keys for one in filled.get("params", ()) for file, keys in one.items()},
                    deps=filled.get("deps", []),
                    outs=filled["outs"] + filled.get("metrics", []),
                )
            )
    return stages


def _fill(template: Any, values: dict[str, Any]) -> Any:
    if isinstance(template, str):
        return re.sub(r"\$\{([^}]+)\}", lambda found: str(_value(values, found[1])), template)
    if isinstance(template, list):
        return [_fill(part, values) for part in template]
    if isinstance(template, dict):
        return {_fill(key, values): _fill(part, values) for key, part in template.items()}
    return template


def _value(values: Any, key: str) -> Any:
    """Return the value at a dotted key; ``_MISSING`` if there is none.

    A dot separates two names or is part of a name, such as that of an environment.
    """
    if not isinstance(values, dict):
        return _MISSING
    if key in values:
        return values[key]
    for dot in (found.start() for found in re.finditer(r"\.", key)):
        inner = _value(values.get(key[:dot]), key[dot + 1 :])
        if inner is not _MISSING:
            return inner
    return _MISSING


def _values(path: Path) -> Any:
    return read_yaml(path, str(path)) if path.exists() else {}


def _cache_folder(root: Path) -> Path:
    return Path(read_config(root)["cache"].get("dir") or root / ".dvc/cache") / "files/md5"


def folder_md5(rows: list[dict[str, str | None]]) -> str:
    """Return the md5 that DVC gives a folder, from the ``md5`` and ``relpath`` of its files."""
    rows = sorted(rows, key=lambda row: str(row["relpath"]).split("/"))
    return md5(json.dumps(rows, sort_keys=True).encode()) + ".dir"


class _Hashes:
    """Computes the md5 of files and folders; a file is read again only if its inode, size or time changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            self._memo: dict[str, list[Any]] = json.loads((root / _MEMO).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._memo = {}
        self._before, self._known = dict(self._memo), dict[str, str | None]()

    def of(self, path: str) -> str | None:
        """Return the md5 as DVC writes it (``….dir`` for a folder), or None if the path does not exist."""
        if path not in self._known:
            full = self._root / path
            if full.is_dir():
                self._known[path] = self._of_folder(full)
            else:
                self._known[path] = self._of_file(path)
        return self._known[path]

    def _of_file(self, path: str) -> str | None:
        try:
            stat = (self._root / path).stat()
        except OSError:
            return None
        state = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
        if self._memo.get(path, [None])[:3] != state:
            self._memo[path] = [*state, md5((self._root / path).read_bytes())]
        return str(self._memo[path][3])

    def _of_folder(self, folder: Path) -> str:
        rows: list[dict[str, str | None]] = []
        for place, _, names in os.walk(folder):
            for name in names:
                if not name.endswith(".tmp"):  # .dvcignore excludes these
                    path = Path(place, name)
                    digest = self._of_file(path.relative_to(self._root).as_posix())
                    rows.append({"md5": digest, "relpath": path.relative_to(folder).as_posix()})
        return folder_md5(rows)

    def save(self) -> None:
        """Save the hashes for the next time, if the file can be written."""
        if self._memo != self._before:
            with suppress(OSError):
                write_bytes(self._root / _MEMO, json.dumps(self._memo).encode())
