"""The published numbers of others, and the bounds by which scores are normalised (``references/*.csv``)."""

import csv
import functools
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rllte.errors import HubError
from rllte.hub.store.source import Source, make_source
from rllte.names import benchmark_name, env_name


def load_references(
    benchmark: str,
    env_id: str | None = None,
    agent: str | None = None,
    *,
    repo: str | Path | None = None,
    rev: str | None = None,
) -> list[dict[str, Any]]:
    """Return the numbers that others have published, one row for each point of a curve or final score.

    ``repo`` and ``rev`` are those of ``Benchmark``.

    Returns:
        Rows with ``benchmark``, ``env_id``, ``agent``, ``split``, ``env_step`` (agent steps; None for a final
        score, whose budget stands in ``protocol``), ``mean``, ``sd`` (sample standard deviation over seeds,
        None if it is not known), ``num_seeds`` (None if it is not known), ``protocol`` and ``source``.

    Raises:
        UnknownNameError: There is no such benchmark or env_id.
    """
    benchmark = benchmark_name(benchmark)
    for name, value in (("env_id", env_id), ("agent", agent)):
        if not isinstance(value, (str, type(None))):
            raise HubError(f"{name} is {value!r}; expected a string.")
    wanted = {"benchmark": benchmark, "env_id": env_id and env_name(benchmark, env_id), "agent": agent}
    return [
        row
        for row in read_references(make_source(repo, rev))
        if all(value in (None, row[key]) for key, value in wanted.items())
    ]


def read_references(source: Source) -> list[dict[str, Any]]:
    """Return the rows of both files of references, as ``load_references`` describes them."""
    with _readable(source, "learning_curves"):
        curves = [
            _row(row, row["split"], agent_steps(row), int(row["n_seeds"]))
            for row in read_csv(source, "learning_curves")
        ]
    with _readable(source, "atari_scores"):
        return curves + [_row(row, "eval", None, None) for row in read_csv(source, "atari_scores")]


def load_bounds(source: Source, benchmark: str) -> dict[str, tuple[float, float]]:
    """Return the returns that normalisation maps to 0 and 1, for each environment of a benchmark."""
    with _readable(source, "normalization"):
        return {
            row["env_id"]: (float(row["low"]), float(row["high"]))
            for row in read_csv(source, "normalization")
            if row["benchmark"] == benchmark
        }


@contextmanager
def _readable(source: Source, name: str) -> Iterator[None]:
    """Turn errors of reading a file of references into a HubError that names it."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError, csv.Error) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise HubError(
            f"references/{name}.csv of {source} is not as docs/reference/formats.md says: {text}"
        ) from None


def agent_steps(row: Mapping[str, str]) -> int:
    """Return the env step of a reference's point, in agent steps; some count frames of repeated actions."""
    frames = 2 if row["step_unit"] == "env frames (action repeat 2)" else 1
    return int(row["step"]) // frames


def read_csv(source: Source, name: str) -> list[dict[str, str]]:
    """Return the rows of ``references/<name>.csv`` at a source's revision.

    Raises:
        HubError: The revision has no such file.
    """
    path = f"references/{name}.csv"
    data = source.read_file(path)
    if data is None:
        raise HubError(f"{source} has no {path}; releases after 0.1.0 have it.")
    return _parse(data)


@functools.lru_cache(maxsize=8)
def _parse(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


def _row(row: Mapping[str, str], split: str, env_step: int | None, num_seeds: int | None) -> dict[str, Any]:
    many = num_seeds is None or num_seeds > 1
    return {
        **{key: row[key] for key in ("benchmark", "env_id", "agent")},
        "split": split,
        "env_step": env_step,
        "mean": float(row["mean"]),
        "sd": float(row["sd"]) if row["sd"] and many else None,
        "num_seeds": num_seeds,
        "protocol": row["protocol"],
        "source": row["source"],
    }
