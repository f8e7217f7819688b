"""List the cells that differ between two revisions of a repository."""

from pathlib import Path
from typing import Any

from rllte.hub.store.catalogue import Catalogue
from rllte.hub.store.source import Source, make_source

_SETTINGS = ("scale", "num_train_steps", "version", "spec")


def diff(
    rev_a: str | None, rev_b: str | None = None, *, repo: str | Path | None = None
) -> list[dict[str, Any]]:
    """Return one row for each cell that was added, removed or changed between two revisions.

    Only available cells are compared.

    Args:
        rev_a: The first revision: a tag, branch or commit. None means the same as in ``Benchmark``.
        rev_b: The second revision. None means the checkout with its uncommitted changes, or the default
            branch of a URL.
        repo: The repository, as in ``Benchmark``.

    Returns:
        Rows with ``benchmark``, ``agent`` and ``env_id``; ``change``: ``"added"``, ``"removed"`` or
        ``"changed"``; ``moved``: which of ``settings``, ``seeds``, ``curves``, ``scores``, ``policy`` and
        ``model`` differ; the mean scores ``mean_a`` and ``mean_b``, None if the cell is not available in that
        revision; and their ``difference``, None if one of them is None.

    Raises:
        UnknownNameError: There is no such revision.
    """
    source = make_source(repo, rev_a)
    a, b = source.catalogue, Source(source.repo, rev_b).catalogue  # rev_b=None ignores RLLTE_HUB_REV
    rows = []
    for name in dict.fromkeys([*a.cells, *b.cells]):
        old, new = _available(a, name), _available(b, name)
        moved = _moved(a, b, name, old, new) if old and new else []
        if bool(old) == bool(new) and not moved:
            continue
        row = new or old
        rows.append(
            {
                **{key: row[key] for key in ("benchmark", "agent", "env_id")},
                "change": "changed" if old and new else "added" if new else "removed",
                "moved": moved,
                "mean_a": old.get("mean"),
                "mean_b": new.get("mean"),
                "difference": round(new["mean"] - old["mean"], 4) if old and new else None,
            }
        )
    return rows


def _available(catalogue: Catalogue, name: str) -> dict[str, Any]:
    row = catalogue.cells.get(name, {})
    return row if row.get("status") == "available" else {}


def _moved(a: Catalogue, b: Catalogue, name: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    moved = ["settings"] if any(old[key] != new[key] for key in _SETTINGS) else []
    moved += ["seeds"] if old["seeds"] != new["seeds"] else []
    hashes_a, hashes_b = _hashes(a, name), _hashes(b, name)
    both = hashes_a.keys() & hashes_b.keys()
    return moved + sorted({kind for kind, path in both if hashes_a[kind, path] != hashes_b[kind, path]})


def _hashes(catalogue: Catalogue, name: str) -> dict[tuple[str, str], str]:
    found = {}
    for row in catalogue.artifacts.values():
        if f"{row['benchmark']}/{row['agent']}/{row.get('env_id')}" == name:
            found[row["kind"], row["path"]] = row["md5"]
    return found
