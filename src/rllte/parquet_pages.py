"""Bounds on what a Parquet file unpacks to, read from the headers of its pages before any page is unpacked.

A small page can claim gigabytes, and the footer of the file need not agree with it. The header of a page is a
struct in Thrift's compact protocol (https://parquet.apache.org/docs/file-format/data-pages/).
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet  # as pa.parquet

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY = range(1, 9)
_STRUCT = 12
_MAX_DEPTH = 4

_UNPACKED_SIZE, _PACKED_SIZE = 2, 3  # the fields of a page's header, by their numbers
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8
_NUM_VALUES = 1
_ENCODINGS = {_DATA_PAGE: 2, _DICTIONARY_PAGE: 2, _DATA_PAGE_V2: 4}
_DELTA_BYTE_ARRAY = 7
"""An encoding that repeats the start of a text for free, so a small page holds any amount of text."""


def check_pages(
    data: bytes, metadata: "pa.parquet.FileMetaData", groups: Iterable[int], max_bytes: int, max_values: int
) -> None:
    """Check the unpacked size of row groups, and the number of values of each of their columns.

    Args:
        data: The bytes of the file.
        metadata: The footer of the file.
        groups: The numbers of the row groups.
        max_bytes: The limit of all their unpacked pages together, in bytes.
        max_values: The limit of the values of one column in one row group.

    Raises:
        OSError: A page unpacks to more, or a header cannot be read; PyArrow raises the same for such a file.
    """
    total = 0
    for group in groups:
        for i in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(i)
            values_left = max_values
            for num_bytes, num_values in _pages(data, chunk):
                total, values_left = total + num_bytes, values_left - num_values
                if total > max_bytes:
                    raise OSError(f"it unpacks to more than {max_bytes:,} bytes")
                if values_left < 0:
                    raise OSError(f"column {chunk.path_in_schema} has more than {max_values:,} values")


def _pages(data: bytes, chunk: "pa.parquet.ColumnChunkMetaData") -> Iterator[tuple[int, int]]:
    """Yield each page's unpacked size in bytes and its number of values, which is 0 for a dictionary."""
    # a column without values has a dictionary and no data; then the offset of its data is 0
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
    start = min(filter(None, offsets), default=0)
    end = start + chunk.total_compressed_size
    while start < end:
        num_bytes, num_values, start = _page(data, start)
        yield num_bytes, num_values


def _page(data: bytes, start: int) -> tuple[int, int, int]:
    """Return the unpacked size in bytes of the page at a position, its number of values, and its end."""
    try:
        header, end = _struct(data, start, 0)
        unpacked, packed = header[_UNPACKED_SIZE], header[_PACKED_SIZE]
        kinds = [kind for kind in _ENCODINGS if kind in header]
        encodings = [header[kind][_ENCODINGS[kind]] for kind in kinds]
        num_values = sum(header[kind][_NUM_VALUES] for kind in kinds if kind != _DICTIONARY_PAGE)
        smallest = min(unpacked, packed, num_values)
    except (IndexError, KeyError, TypeError):
        raise OSError(f"the page at byte {start:,} has no readable header") from None
    if smallest < 0 or _DELTA_BYTE_ARRAY in encodings:
        raise OSError(f"the page at byte {start:,} has sizes or an encoding that are not read")
    return unpacked, num_values, end + packed


def _struct(data: bytes, i: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by field number, and its end.

    The value of a field is None unless it is an integer or a struct.
    """
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[i]:
        i += 1
        kind = byte & 15
        if byte >> 4:
            number += byte >> 4
        else:
            number, i = _integer(data, i)
        value: Any = None
        if kind in (_I16, _I32, _I64):
            value, i = _integer(data, i)
        elif kind == _STRUCT and depth < _MAX_DEPTH:
            value, i = _struct(data, i, depth + 1)
        elif kind == _BINARY:
            length, i = _varint(data, i)
            i += length
        elif kind in (_BYTE, _DOUBLE):
            i += 1 if kind == _BYTE else 8
        elif kind not in (_TRUE, _FALSE):
            raise TypeError(f"a header of a page has no field of kind {kind}")
        fields[number] = value
    return fields, i + 1


def _varint(data: bytes, i: int) -> tuple[int, int]:
    """Return the unsigned number at a position, seven bits in each byte, and its end."""
    value = shift = 0
    while True:
        byte = data[i]
        i, value, shift = i + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, i
        if shift > 63:
            raise TypeError("a number has more than 64 bits")


def _integer(data: bytes, i: int) -> tuple[int, int]:
    """Return the signed number at a position, and its end."""
    value, i = _varint(data, i)
    return (value >> 1) ^ -(value & 1), i
