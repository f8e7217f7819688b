"""Bounds on what a Parquet file unpacks to."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllte import tables
from rllte.errors import HubError
from rllte.parquet_pages import check_pages

NUM_ROWS = 5000


def curves(split=None, **options):
    split = split or ["eval"] * NUM_ROWS
    numbers = range(len(split))
    columns = [split if field.name == "split" else numbers for field in tables.CURVES]
    table = pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, tables.CURVES, strict=True)], tables.CURVES
    )
    file = io.BytesIO()
    pq.write_table(table, file, **{"compression": "zstd", "store_schema": False, **options})
    return file.getvalue()


def check(data, max_bytes, max_values=NUM_ROWS):
    file = pq.ParquetFile(pa.BufferReader(data))
    check_pages(data, file.metadata, range(file.num_row_groups), max_bytes, max_values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"data_page_size": 1000},
        {"row_group_size": 999},
    ],
)
def test_the_headers_of_pages_agree_with_the_footer(options):
    data = curves(**options)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    total = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    check(data, total)  # the footer counts the headers, too
    with pytest.raises(OSError, match="unpacks to more than"):
        check(data, total // 2)


def test_a_page_that_claims_more_than_the_footer_is_not_unpacked(monkeypatch):
    data = curves(use_dictionary=False)
    chunk = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0)
    size = 4 * NUM_ROWS + 7  # of the unpacked int32 values and the runs of their definition levels
    honest, lie = (bytes([n & 127 | 128, n >> 7 & 127 | 128, n >> 14]) for n in (2 * size, 2 * 1_000_000))
    at = data.index(honest, chunk.data_page_offset)
    data = data[:at] + lie + data[at + 3 :]
    assert pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).total_byte_size < 500_000
    monkeypatch.setattr(tables, "_MAX_BYTES", 500_000)
    with pytest.raises(
        HubError, match="c is not a readable Parquet file: it unpacks to more than 500,000 bytes"
    ):
        tables.read_parquet(data, tables.CURVES, "c")


def test_a_column_with_more_values_than_allowed_is_refused():
    with pytest.raises(OSError, match="column seed has more than 4,999 values"):
        check(curves(), 2**20, NUM_ROWS - 1)


def test_a_header_that_is_no_header_is_an_error():
    data = curves()
    start = 4  # after the file's magic number
    for wrong in (b"\xff" * 8, b"\x00" * 8, b"\x1c" * 8, b"\x21\x11\x00" * 3):
        with pytest.raises(OSError, match="the page at byte 4 has no readable header"):
            check(data[:start] + wrong + data[start + 8 :], 2**20)


def test_long_texts_and_texts_that_share_their_beginnings_are_refused():
    assert len(tables.read_parquet(curves(["x" * 256] * 3), tables.CURVES, "c")) == 3
    with pytest.raises(HubError, match="c: a text of column split has more than 256 characters"):
        tables.read_parquet(curves(["x" * 257] * 3), tables.CURVES, "c")
    data = curves(["x" * 200] * 3, use_dictionary=False, column_encoding={"split": "DELTA_BYTE_ARRAY"})
    with pytest.raises(HubError, match="has sizes or an encoding that are not read"):
        tables.read_parquet(data, tables.CURVES, "c")
