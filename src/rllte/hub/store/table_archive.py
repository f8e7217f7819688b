"""Files of many tables: the curves and scores of all cells of one agent in one zip, for one request.

Each table is an artifact of its own as well; its bytes in the zip are the same, and are verified alike.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator

from rllte.errors import HubError
from rllte.hub.store.catalogue import Artifact
from rllte.hub.store.source import Source

ENOUGH_CELLS = 3  # of one agent, asked for one by one, before all are fetched at once
ENOUGH_TABLES = 3  # of one agent, asked for together, for one file to be better than one for each
_asked: dict[tuple[Source, str, str], set[str]] = {}


def write(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return files, by name, as a zip without dates: the same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def read(data: bytes, tables: Iterable[Artifact]) -> Iterator[tuple[Artifact, bytes]]:
    """Yield those tables that a zip has, with their bytes, not verified.

    Raises:
        HubError: It is no zip.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            for table in tables:
                if sizes.get(table.path) == table.size:
                    yield table, archive.read(table.path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise HubError(f"A file of tables is no zip: {error}") from None


def bundles(source: Source, artifacts: Iterable[Artifact]) -> list[tuple[Artifact, list[Artifact]]]:
    """Return the zips that serve enough of these artifacts, each with those."""
    catalogue, wanted = source.catalogue, dict[tuple[str, str], list[Artifact]]()
    for artifact in artifacts:
        if artifact.seed is None:
            wanted.setdefault((artifact.benchmark, artifact.agent), []).append(artifact)
    pairs = (
        (catalogue.bundle(*names), tables) for names, tables in wanted.items() if len(tables) >= ENOUGH_TABLES
    )
    return [(zipped, tables) for zipped, tables in pairs if zipped is not None]


def is_worthwhile(source: Source, artifact: Artifact) -> bool:
    """Return whether so many cells of this agent were asked for that all should be fetched at once."""
    names = artifact.benchmark, artifact.agent
    if artifact.env_id is None or artifact.seed is not None or source.catalogue.bundle(*names) is None:
        return False
    asked = _asked.setdefault((source, *names), set())
    asked.add(artifact.env_id)
    return len(asked) >= ENOUGH_CELLS
