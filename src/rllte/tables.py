"""The tables of curves and scores: their columns, and functions that read, convert and write them."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet  # noqa: F401  # as pa.parquet

from rllte.errors import HubError
from rllte.files import write_bytes
from rllte.names import Cell
from rllte.parquet_pages import check_pages

CURVES = pa.schema(
    [
        ("seed", pa.int32()),
        ("split", pa.string()),
        ("env_step", pa.int64()),
        ("episode_return", pa.float32()),
        ("episode_length", pa.float32()),
        ("num_episodes", pa.int32()),
    ]
)
SCORES = pa.schema(
    [
        ("seed", pa.int32()),
        ("split", pa.string()),
        ("episode", pa.int32()),
        ("episode_return", pa.float32()),
        ("episode_length", pa.int32()),
    ]
)


MAX_ROWS = 10_000_000
"""The largest number of rows that is read, because a small file can claim to hold billions of rows."""

_MAX_BYTES = 2**28
_MAX_TEXT = 256


def to_parquet(table: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a table as the bytes of a Parquet file; the same table always gives the same bytes.

    Args:
        table: The table.
        metadata: The keys and values to store as the file's metadata.
    """
    buffer = io.BytesIO()
    with pa.parquet.ParquetWriter(buffer, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(dict(metadata or {}))
    return buffer.getvalue()


def read_parquet(
    data: bytes,
    schema: pa.Schema,
    name: str,
    columns: Sequence[str] | None = None,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """Read a Parquet file that must have exactly these columns.

    Args:
        data: The bytes of the file.
        schema: The columns and types that the file must have.
        name: The name of the file in error messages.
        columns: The names of the columns to read; all by default.
        dictionaries: The columns of texts to return with each text once, as dictionaries.

    Raises:
        HubError: The bytes are not a Parquet file, or the table has other columns, missing values or too many
            rows, or is larger than tables of so many rows are.
    """
    with _opened(data, name) as file:
        found = file.schema_arrow
        if not found.equals(schema, check_metadata=False):
            raise HubError(f"{name} has columns {found.names}; expected {schema.names} and their types.")
        if file.metadata.num_rows > MAX_ROWS:
            raise HubError(f"{name} has {file.metadata.num_rows:,} rows; the limit is {MAX_ROWS:,}.")
        check_pages(data, file.metadata, range(file.num_row_groups), _MAX_BYTES, MAX_ROWS)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        table = open_parquet(data, texts).read(columns, use_threads=False)
        table = _with_texts(table, [text for text in texts if text not in dictionaries], schema, name)
    for column_name in table.column_names:
        if count := table.column(column_name).null_count:
            raise HubError(f"{name}: column {column_name} has {count} missing values.")
    return table


def _with_texts(table: pa.Table, texts: Sequence[str], schema: pa.Schema, name: str) -> pa.Table:
    """Return a table with some of its dictionaries as texts, after checking that all texts are short."""
    for i, column_name in enumerate(table.column_names):
        values = table.column(i)
        if not pa.types.is_dictionary(values.type):
            continue
        for chunk in values.chunks:
            if max(map(len, chunk.dictionary.to_pylist()), default=0) > _MAX_TEXT:
                raise HubError(
                    f"{name}: a text of column {column_name} has more than {_MAX_TEXT} characters."
                )
        if column_name in texts:
            table = table.set_column(i, schema.field(column_name), values.cast(pa.string()))
    return table


def read_metadata(data: bytes, name: str) -> dict[str, str]:
    """Return the metadata that is stored in a Parquet file.

    Args:
        data: The bytes of the file.
        name: The name of the file in error messages.

    Raises:
        HubError: The bytes are not a Parquet file.
    """
    with _opened(data, name) as file:
        return {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[pa.parquet.ParquetFile]:
    with readable(name):
        yield open_parquet(data)


def open_parquet(data: bytes, dictionaries: Sequence[str] = ()) -> pa.parquet.ParquetFile:
    """Open the bytes of a Parquet file; ``dictionaries`` are columns of texts to read as dictionaries."""
    # pre_buffer=False avoids threads: the files are small, and a process that exited right after a read
    # sometimes aborted.
    return pa.parquet.ParquetFile(
        pa.BufferReader(data), pre_buffer=False, read_dictionary=list(dictionaries) or None
    )


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn PyArrow's errors inside the block into a HubError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: a damaged block
        raise HubError(f"{name} is not a readable Parquet file: {error}") from None


def read_eval_scores(data: bytes, name: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the episodes of the split ``"eval"`` in a file of scores.

    Args:
        data: The file.
        name: Its path, for errors.

    Returns:
        The seeds and the returns, ``(num_episodes,)`` each.

    Raises:
        HubError: The file is damaged, or its columns are not those of ``SCORES``.
    """
    scores = read_parquet(data, SCORES, name)
    rows = np.array([split == "eval" for split in scores["split"].to_pylist()], dtype=bool)
    return column(scores["seed"])[rows], column(scores["episode_return"])[rows]


def column(values: "pa.Array | pa.ChunkedArray") -> npt.NDArray[Any]:
    """Return a numeric column without nulls as an array; unlike ``to_numpy``, this never imports pandas."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.from_dlpack(array)


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Return one table with the rows of several tables in order, stored in one chunk."""
    return pa.concat_tables(tables).combine_chunks()


def convert(table: pa.Table, form: str) -> bytes:
    """Return a table as the bytes of a ``csv``, ``json`` (rows, with NaN as null) or ``parquet`` file."""
    if form == "parquet":
        return to_parquet(table)
    if form == "json":
        rows = [{k: None if v != v else v for k, v in row.items()} for row in table.to_pylist()]
        return (json.dumps(rows, allow_nan=False) + "\n").encode()
    buffer = io.BytesIO()
    pa.csv.write_csv(table, buffer)
    return buffer.getvalue()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as CSV or Parquet; the file's suffix decides which.

    Raises:
        HubError: The suffix is neither ``.csv`` nor ``.parquet``.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise HubError(f"{path} ends in {path.suffix!r}; use .csv or .parquet.")
    write_bytes(path, convert(table, path.suffix[1:]))


def tidy(by_cell: Mapping[Cell, pa.Table], schema: pa.Schema) -> pa.Table:
    """Return the tables of several cells as one, whose first columns are benchmark, agent and env_id.

    It does without ``pa.array``, ``pa.table`` and ``empty_table``, which import pandas.

    Args:
        by_cell: The tables.
        schema: Their columns.
    """
    names = ("benchmark", "agent", "env_id")
    whole = pa.schema([*((name, pa.string()) for name in names), *schema])
    parts = [pa.Table.from_batches([], whole)]
    for cell, table in by_cell.items():
        columns = [pa.repeat(getattr(cell, name), len(table)) for name in names]
        parts.append(pa.Table.from_arrays([*columns, *table.columns], schema=whole))
    return pa.concat_tables(parts).combine_chunks()
