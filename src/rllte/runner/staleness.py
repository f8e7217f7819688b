"""Which stages are stale, decided with DVC's own meaning but read in one go.

``dvc status`` takes ten seconds for three thousand stages; this takes a second. A stage is stale when its
command, a parameter, or the hash of a dependency or an output is not what dvc.lock says, or when an output is
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
from rllte.recipes.project import read_yaml
from rllte.runner.locks import read_lock

_MEMO = ".dvc/tmp/rllte-hub/md5.json"
_MISSING = object()
_IN_CACHE = " in DVC's cache"


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline as its dvc.yaml says it now.

    Attributes:
        file: Its dvc.yaml, relative to the repository.
        name: Such as ``train@Pong-v5/seed-0``.
        cmd: The command.
        params: Keys by the file that has them.
        deps: Paths, relative to the repository.
        outs: Paths; all are kept in DVC's cache.
    """

    file: str
    name: str
    cmd: str
    params: dict[str, list[str]]
    deps: list[str]
    outs: list[str]

    @property
    def address(self) -> str:
        """What ``dvc repro`` and ``dvc pull`` call it."""
        return f"{self.file}:{self.name}"

    @property
    def kind(self) -> str:
        """``train``, ``evaluate``, ``export`` or ``collect``."""
        return self.name.partition("@")[0]

    @property
    def target(self) -> str:
        """The run or the cell that the command is about."""
        return self.cmd.split()[-1]


class Reason(NamedTuple):
    """Why a stage is stale: ``new`` (never run), ``changed``, or ``absent`` (what ``dvc pull`` brings)."""

    kind: str
    text: str


class Plan:
    """The stages of a repository, and why each is stale.

    Args:
        root: The repository.
        pipelines: Folders such as ``atari/ppo``; all by default.
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
        """Return the addresses of the stages whose outputs are recorded and only not here."""
        return [
            address
            for address, reasons in self.reasons.items()
            if {reason.kind for reason in reasons} == {"absent"}
        ]

    def lost(self) -> list[str]:
        """Return the recorded outputs that are not here, but for those that stale stages lead to."""
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
        """Return the parameters of a stage as they are now, by file and key."""
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
    """Return what stands under a key with dots, each of which may also belong to a name."""
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
    """Return the md5 of a folder as DVC names it, from the ``md5`` and ``relpath`` of its files."""
    rows = sorted(rows, key=lambda row: str(row["relpath"]).split("/"))
    return md5(json.dumps(rows, sort_keys=True).encode()) + ".dir"


class _Hashes:
    """md5 of files and folders; a file whose inode, size and time are as before is not read again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            self._memo: dict[str, list[Any]] = json.loads((root / _MEMO).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._memo = {}
        self._before, self._known = dict(self._memo), dict[str, str | None]()

    def of(self, path: str) -> str | None:
        """Return the md5 as DVC names it, ``….dir`` for a folder, and None where nothing is."""
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
                if not name.endswith(".tmp"):  # as .dvcignore says
                    path = Path(place, name)
                    digest = self._of_file(path.relative_to(self._root).as_posix())
                    rows.append({"md5": digest, "relpath": path.relative_to(folder).as_posix()})
        return folder_md5(rows)

    def save(self) -> None:
        """Keep what was learned for the next time, where it can be kept."""
        if self._memo != self._before:
            with suppress(OSError):
                write_bytes(self._root / _MEMO, json.dumps(self._memo).encode())
