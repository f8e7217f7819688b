"""Read and write dvc.lock, which records what each stage of a pipeline last ran with."""

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from rllte.files import write_bytes

Entry = TypeVar("Entry")

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

    A YAML parser is slow: a lock of three thousand stages takes seconds. This function reads the regular
    parts with regular expressions, parses equal texts only once, and leaves all other parts to the YAML
    parser.

    Returns:
        For each stage ``cmd``, ``params`` (by file), and ``deps`` and ``outs`` (md5 by path); empty if there
        is no lock.
    """
    return _entries(path, read_entry, _entry)


def read_texts(path: Path) -> dict[str, str]:
    """Return the text of each entry of a dvc.lock, by the names of their stages."""
    return _entries(path, str, entry_text)


def _entries(
    path: Path, of_text: Callable[[str], Entry], of_parsed: Callable[[dict[str, Any]], Entry]
) -> dict[str, Entry]:
    """Return the entries of a lock by the names of their stages.

    Args:
        path: The lock.
        of_text: Makes an entry from its text, if the file has the form that DVC writes.
        of_parsed: Makes an entry from its parsed form, otherwise.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    bodies = _split(text)
    if bodies is None:
        return {name: of_parsed(entry) for name, entry in (_parse(text)["stages"] or {}).items()}
    return {name: of_text(body) for name, body in bodies.items()}


def merge_texts(path: Path, texts: dict[str, str]) -> None:
    """Write entries into a dvc.lock in one atomic write; all other entries stay as they are."""
    merged = {**read_texts(path), **texts}
    write_bytes(path, (_HEAD + "".join(f"  {name}:\n{body}" for name, body in merged.items())).encode())


def entry_text(entry: dict[str, Any]) -> str:
    """Return the text of an entry, as DVC writes it below the name of its stage."""
    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump({"stages": {"stage": _plain(entry)}}, stream)
    return stream.getvalue().partition("  stage:\n")[2]


def _plain(value: Any) -> Any:
    """Return the value with plain dicts for DVC's ordered dicts, which ruamel.yaml writes differently."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _split(text: str) -> dict[str, str] | None:
    """Return the text of each entry, or None if the file does not have the form that DVC writes."""
    bodies = _STAGE.findall(text)
    if _HEAD + "".join(f"  {name}:\n{body}" for name, body in bodies) != text:
        return None
    return dict(bodies)


def read_entry(body: str) -> dict[str, Any]:
    """Return an entry from its text, in the form that ``read_lock`` returns."""
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
