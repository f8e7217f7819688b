"""Reading dvc.lock, which holds what the stages of a pipeline were last run with."""

import functools
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_HEAD = "schema: '2.0'\nstages:\n"
_STAGE = re.compile(r"^  (\S.*):\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_SECTION = re.compile(r"^    (\w+):((?: .*)?\n(?:(?:     *[^\s\w].*|      .*)\n)*)", re.MULTILINE)
_PLAIN = re.compile(r" [a-z][\w./@ -]+\n")
_ROW = re.compile(
    r"    - path: (?P<path>\S+)\n      hash: md5\n      md5: (?P<md5>[0-9a-f]+(?:\.dir)?)\n"
    r"      size: \d+\n(?:      nfiles: \d+\n)?"
)


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a dvc.lock by the names of their stages.

    YAML is slow: a lock of three thousand stages takes seconds. Here its regular parts are read by their
    form, the same text is parsed once, and all else is left to the YAML parser.

    Returns:
        For each stage ``cmd``, ``params`` (by file), and ``deps`` and ``outs`` (md5 by path); empty if there
        is no lock.
    """
    if not path.exists():
        return {}
    text = path.read_text()
    bodies = _STAGE.findall(text)
    if _HEAD + "".join(f"  {name}:\n{body}" for name, body in bodies) != text:
        return {name: _entry(entry) for name, entry in (_parse(text)["stages"] or {}).items()}
    return {name: _read_entry(body) for name, body in bodies}


def _read_entry(body: str) -> dict[str, Any]:
    sections = dict(_SECTION.findall(body))
    if "".join(f"    {name}:{section}" for name, section in sections.items()) != body:
        return _entry(_parse(body))
    cmd = sections["cmd"]
    entry: dict[str, Any] = {"cmd": cmd.strip() if _PLAIN.fullmatch(cmd) else _parse(f"cmd:{cmd}")["cmd"]}
    entry["params"] = _parse(f"params:{sections['params']}")["params"] if "params" in sections else {}
    for name in ("deps", "outs"):
        entry[name] = _rows(sections[name]) if name in sections else {}
    return entry


def _rows(section: str) -> dict[str, str]:
    rows = list(_ROW.finditer(section))
    if "\n" + "".join(row[0] for row in rows) == section:
        return {row["path"]: row["md5"] for row in rows}
    return {row["path"]: row["md5"] for row in _parse(f"rows:{section}")["rows"]}


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    rows = {name: {row["path"]: row["md5"] for row in entry.get(name, ())} for name in ("deps", "outs")}
    return {"cmd": entry["cmd"], "params": entry.get("params", {}), **rows}


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Any:
    return YAML(typ="safe").load(text)
