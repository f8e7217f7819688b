"""Get artifacts as verified bytes from the checkout, the cache or the remote.

A load returns only bytes whose size and sha256 are those of the catalogue. Bytes are added to the cache only
if their md5 is also that of the catalogue.
"""

import os
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rllte.config import bars_disabled, cache_dir, offline, writing_cache
from rllte.errors import HubError, MissingArtifactError
from rllte.files import locked, md5, sha256, write_bytes
from rllte.hub.store import table_archive
from rllte.hub.store.catalogue import Artifact
from rllte.hub.store.source import Source

if TYPE_CHECKING:
    from rllte.hub.store.remote import Remote

_CHUNK = 2 * 2**20  # bytes for each request; Ctrl-C waits for the current chunks and keeps complete ones
_ATTEMPTS = 3
_jitter = random.Random()  # not the global one: a retry must not change the user's random numbers
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # a link could lead out of the cache


def fetch(source: Source, artifact: Artifact) -> bytes:
    """Return the verified bytes of an artifact.

    Raises:
        MissingArtifactError: The artifact is not on this machine and cannot be downloaded.
        HubError: The remote's copy differs from the catalogue, or the cache cannot be written.
    """
    data = read_local(source, artifact)
    if data is None and table_archive.is_worthwhile(source, artifact):
        with suppress(HubError):  # an error may concern a table that was not requested
            fetch_all(source, source.catalogue.tables(artifact.benchmark, artifact.agent))
        data = read_local(source, artifact)
    return _download(source, artifact) if data is None else data


def fetch_all(source: Source, artifacts: Iterable[Artifact], description: str = "fetch") -> int:
    """Download artifacts into the cache, several at once; return the size of those that were not here.

    Artifacts that are in the checkout or in DVC's cache are not downloaded and not copied: loads read them
    from there. If the repository has one zip with many of the tables, the zip is downloaded instead of single
    tables. After an error, complete downloads stay in the cache.

    Args:
        source: The source of the artifacts.
        artifacts: The artifacts to download.
        description: The label of the progress bar.

    Raises:
        MissingArtifactError: An artifact cannot be downloaded.
        HubError: The remote's copy differs from the catalogue, or the cache cannot be written.
    """
    from tqdm import tqdm

    from rllte.hub.store.remote import CONNECTIONS, open_remote

    wanted = [artifact for artifact in artifacts if read_local(source, artifact) is None]
    if wanted:
        caches = open_remote(source).caches
        wanted = [artifact for artifact in wanted if _from_caches(caches, artifact) is None]
    if not wanted:
        return 0
    size = sum(artifact.size for artifact in wanted)
    bar = tqdm(desc=description, total=size, unit="B", unit_scale=True, disable=bars_disabled())
    stopped = threading.Event()

    def advance(num_bytes: int) -> None:
        if stopped.is_set():
            raise HubError("The download was stopped; complete files stay in the cache.")
        bar.update(num_bytes)

    with bar, ThreadPoolExecutor(CONNECTIONS) as pool:
        for zipped, tables in table_archive.bundles(source, wanted):
            wanted = _without(unpack(source, zipped, tables), wanted, advance)
        wanted = _without(_prepare(source, wanted), wanted, advance)
        tasks = [pool.submit(_download, source, artifact, advance) for artifact in wanted]
        try:
            for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                task.result()
        finally:  # after an error or Ctrl-C, running downloads stop after their current chunk
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return size


def read_local(source: Source, artifact: Artifact) -> bytes | None:
    """Return the verified bytes of an artifact from the checkout or the cache; None if neither has it."""
    if not source.is_url and (data := _read(f"{source.repo}/{artifact.path}")) and is_intact(artifact, data):
        return data
    data = _read(f"{cache_dir()}/md5/{artifact.md5[:2]}/{artifact.md5[2:]}", _NO_LINKS)
    return data if data and is_intact(artifact, data) else None


def is_intact(artifact: Artifact, data: bytes) -> bool:
    """Return whether bytes have the size and the sha256 that the catalogue lists."""
    return len(data) == artifact.size and sha256(data) == artifact.sha256


def cache_path(artifact: Artifact) -> Path:
    """Return the path of an artifact in the cache.

    Raises:
        HubError: The folder is a link that leads out of the cache.
    """
    base = cache_dir()
    folder = base / "md5" / artifact.md5[:2]
    if os.path.realpath(folder) != os.path.join(os.path.realpath(base), "md5", artifact.md5[:2]):
        raise HubError(f"{folder} leads out of the cache, to {os.path.realpath(folder)}. Remove the link.")
    return folder / artifact.md5[2:]


def add(artifact: Artifact, data: bytes) -> None:
    """Write the bytes of an artifact into the cache; the caller has verified them."""
    path = cache_path(artifact)
    with writing_cache(path):
        write_bytes(path, data)


def unpack(source: Source, zipped: Artifact, tables: list[Artifact]) -> set[Artifact]:
    """Fetch a zip of tables, add those with the right hashes to the cache, and return them."""
    try:
        data = _download(source, zipped, keep=False)
        return _add_good(table_archive.read(data, tables))
    except HubError:
        return set()  # each table can still be fetched as a single file


def _add_good(pairs: Iterable[tuple[Artifact, bytes]]) -> set[Artifact]:
    """Add the artifacts whose bytes match the catalogue to the cache, and return them."""
    good = [pair for pair in pairs if not find_problem(*pair)]
    for artifact, data in good:
        add(artifact, data)
    return {artifact for artifact, _ in good}


def _without(here: set[Artifact], wanted: list[Artifact], advance: Callable[[int], None]) -> list[Artifact]:
    """Return the wanted artifacts that are not here yet, and count the bytes of the others as progress."""
    advance(sum(artifact.size for artifact in here))
    return [artifact for artifact in wanted if artifact not in here]


def _read(path: str | Path, flags: int = 0) -> bytes | None:
    """Return the content of a file; None if it does not exist or cannot be read."""
    try:
        with open(os.open(path, os.O_RDONLY | flags), "rb") as file:
            return file.read()
    except OSError:
        return None


def _prepare(source: Source, artifacts: list[Artifact]) -> set[Artifact]:
    """Add to the cache the artifacts that the remote can send with one request, and return them."""
    from rllte.hub.store.remote import open_remote

    if len(artifacts) < 2:
        return set()
    remote = open_remote(source)
    if remote.needs_network and offline():
        return set()
    found = remote.prepare({artifact.md5: artifact.size for artifact in artifacts})
    return _add_good((artifact, found.get(artifact.md5, b"")) for artifact in artifacts)


def _download(
    source: Source, artifact: Artifact, advance: Callable[[int], None] = lambda _: None, keep: bool = True
) -> bytes:
    """Return the verified bytes of an artifact from DVC's cache or the remote.

    Only one process or thread downloads an artifact; the others wait and then read it from the cache.

    Args:
        source: The source of the artifact.
        artifact: The artifact to get.
        advance: Called with each number of bytes that was received; it may raise to stop the download.
        keep: Whether to keep a download in the cache.
    """
    from rllte.hub.store.remote import open_remote

    part = cache_dir() / "parts" / artifact.md5
    remote = open_remote(source)
    if (data := _from_caches(remote.caches, artifact)) is not None:
        return data
    if remote.needs_network and offline():
        raise MissingArtifactError(
            artifact.path,
            f"{artifact.path} is not in the cache {cache_dir()}, and RLLTE_HUB_OFFLINE is set, so nothing is "
            f"downloaded from {remote}. Unset it, then run: rllte-hub pull {artifact.cell_name}",
        )
    with writing_cache(part), locked(part) as file:
        if (data := read_local(source, artifact)) is not None:
            part.unlink(missing_ok=True)
            return data
        try:
            data = _complete(remote, artifact, file, advance)
            if keep:
                # not by renaming the part: where locks do nothing, another process may have written to it
                write_bytes(cache_path(artifact), data)
            part.unlink(missing_ok=True)
        except HubError:
            if not os.fstat(file.fileno()).st_size:
                part.unlink(missing_ok=True)
            raise
        except OSError:  # such as a full disk: free the space of the part
            part.unlink(missing_ok=True)
            raise
        return data


def _complete(remote: "Remote", artifact: Artifact, file: BinaryIO, advance: Callable[[int], None]) -> bytes:
    """Download the rest of an artifact to its part file, and return all of its bytes, verified."""
    file.seek(0)
    data = _rest(remote, artifact, file, bytearray(file.read()), advance)
    problem = find_problem(artifact, data)
    if problem:  # the old part or the transfer may have been damaged, so try once from the start
        file.truncate(0)
        data = _rest(remote, artifact, file, bytearray(), advance)
        problem = find_problem(artifact, data)
    if problem:
        file.truncate(0)
        if _is_web_page(data):
            raise HubError(
                f"{remote} sent a web page instead of {artifact.path}, such as one for logging in. It was "
                "not used. Open the URL in a browser to see what is asked for, check the remote's url, or "
                "name another remote."
            )
        raise HubError(
            f"{artifact.path} in {remote} is damaged: it {problem}. It was not used. "
            f"{remote.repair(artifact.md5)}"
        )
    return data


def _is_web_page(data: bytes) -> bool:
    return data[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _rest(
    remote: "Remote", artifact: Artifact, file: BinaryIO, data: bytearray, advance: Callable[[int], None]
) -> bytes:
    """Download the rest of an artifact in chunks, append each to the part file, and return all the bytes.

    A chunk is tried several times, unless its error is permanent.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    from rllte.hub.store.remote import explain, is_permanent

    advance(len(data))
    patience = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=lambda state: _jitter.uniform(0, min(2**state.attempt_number / 4, 4)),
        retry=retry_if_exception(lambda error: not is_permanent(error)),
        before=lambda _: advance(0),  # raises if the download was stopped
        reraise=True,
    )
    chunk_size = _CHUNK if remote.gives_ranges else artifact.size + 1
    while len(data) < artifact.size:
        end = min(len(data) + chunk_size, artifact.size + 1)  # one byte more shows if it is too long
        try:
            chunk = patience(remote.read, artifact.md5, len(data), end)
        except HubError:
            raise
        except Exception as error:  # file systems raise errors of their own
            raise MissingArtifactError(
                artifact.path,
                f"{artifact.path} is not in the cache {cache_dir()}, and {explain(error, remote)}. "
                f"What was downloaded is kept. Try again, or choose another remote (`dvc remote list`): "
                f"dvc pull {artifact.path}",
            ) from None
        if not chunk:
            break
        file.write(chunk)
        file.flush()
        data += chunk
        advance(len(chunk))
        if len(data) < min(end, artifact.size):  # the object is too short
            break
    return bytes(data)


def find_problem(artifact: Artifact, data: bytes) -> str:
    """Return how the bytes differ from the catalogue; empty if they do not differ."""
    if len(data) != artifact.size:
        return f"has {len(data):,} bytes, the catalogue says {artifact.size:,}"
    if md5(data) != artifact.md5:
        return f"has md5 {md5(data)}, the catalogue says {artifact.md5}"
    if sha256(data) != artifact.sha256:
        return f"has sha256 {sha256(data)}, the catalogue says {artifact.sha256}"
    return ""


def _from_caches(folders: Iterable[Path], artifact: Artifact) -> bytes | None:
    for folder in folders:
        data = _read(folder / artifact.md5[:2] / artifact.md5[2:])
        if data is not None and not find_problem(artifact, data):
            return data
    return None
