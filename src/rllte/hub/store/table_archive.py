"""Zip files that hold the curves and scores of all cells of one agent, so that one request fetches them.

Each table is also an artifact of its own. Its bytes in the zip are the same and are verified in the same way.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator

from rllte.errors import HubError
from rllte.hub.store.catalogue import Artifact
from rllte.hub.store.source import Source

ENOUGH_CELLS = 3  # after loads of this many cells of one agent, fetch the zip of all its cells
ENOUGH_TABLES = 3  # if at least this many tables of one agent are wanted at once, fetch the zip
_asked: dict[tuple[Source, str, str], set[str]] = {}


def write(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip of named files without dates, so that the same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def read(data: bytes, tables: Iterable[Artifact]) -> Iterator[tuple[Artifact, bytes]]:
    """Yield each of the tables that the zip contains, with its bytes, which are not verified.

    Raises:
        HubError: The bytes are not a zip file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            for table in tables:
                info = infos.get(table.path)
                # what is compressed could be larger than it says, and ``write`` compresses nothing
                if info and info.compress_type == zipfile.ZIP_STORED and info.file_size == table.size:
                    yield table, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise HubError(f"A file of tables is not a zip file: {error}") from None


def bundles(source: Source, artifacts: Iterable[Artifact]) -> list[tuple[Artifact, list[Artifact]]]:
    """Return each zip that contains enough of these artifacts to be worth fetching, with those artifacts."""
    catalogue, wanted = source.catalogue, dict[tuple[str, str], list[Artifact]]()
    for artifact in artifacts:
        if _is_table(artifact):
            wanted.setdefault((artifact.benchmark, artifact.agent), []).append(artifact)
    pairs = (
        (catalogue.bundle(*names), tables) for names, tables in wanted.items() if len(tables) >= ENOUGH_TABLES
    )
    return [(zipped, tables) for zipped, tables in pairs if zipped is not None]


def _is_table(artifact: Artifact) -> bool:
    return artifact.seed is None and artifact.kind in ("curves", "scores")


def is_worthwhile(source: Source, artifact: Artifact) -> bool:
    """Return whether enough cells of this agent were loaded that all of them should be fetched at once."""
    names = artifact.benchmark, artifact.agent
    if artifact.env_id is None or not _is_table(artifact) or source.catalogue.bundle(*names) is None:
        return False
    asked = _asked.setdefault((source, *names), set())
    asked.add(artifact.env_id)
    return len(asked) >= ENOUGH_CELLS
