"""Artifacts as verified bytes: from the checkout, the cache by hash, or the remote.

A load returns nothing whose size and sha256 are not the catalogue's; nothing enters the cache whose md5 is
not the catalogue's, either.
"""

import os
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

_CHUNK = 2 * 2**20  # of a larger object; what is complete survives Ctrl-C, which waits for those under way
_ATTEMPTS = 3
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # to files outside of the cache


def fetch(source: Source, artifact: Artifact) -> bytes:
    """Return the verified bytes of an artifact.

    Raises:
        MissingArtifactError: It is not here and cannot be downloaded.
        HubError: What the remote has is not what the catalogue lists, or the cache cannot be written.
    """
    data = read_local(source, artifact)
    if data is None and table_archive.is_worthwhile(source, artifact):
        with suppress(HubError):  # of a table that nobody asked for
            fetch_all(source, source.catalogue.tables(artifact.benchmark, artifact.agent))
        data = read_local(source, artifact)
    return _download(source, artifact) if data is None else data


def fetch_all(source: Source, artifacts: Iterable[Artifact], description: str = "fetch") -> int:
    """Bring artifacts into the cache, several at once, and return how many bytes were downloaded.

    What the checkout or DVC's cache has is loaded from there, and stays there alone. Tables come many in one
    file where the repository has one. After an error what was complete stays.

    Raises:
        MissingArtifactError: One cannot be downloaded.
        HubError: What the remote has is not what the catalogue lists, or the cache cannot be written.
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
            raise HubError("The download was stopped; what was complete stays.")
        bar.update(num_bytes)

    with bar, ThreadPoolExecutor(CONNECTIONS) as pool:
        for zipped, tables in table_archive.bundles(source, wanted):
            wanted = _without(unpack(source, zipped, tables), wanted, advance)
        wanted = _without(_prepare(source, wanted), wanted, advance)
        tasks = [pool.submit(_download, source, artifact, advance) for artifact in wanted]
        try:
            for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                task.result()
        finally:  # after an error or Ctrl-C, those that run end with the chunk that is under way
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return size


def read_local(source: Source, artifact: Artifact) -> bytes | None:
    """Return the verified bytes of an artifact that is in the checkout or in the cache, else None."""
    if not source.is_url and (data := _read(f"{source.repo}/{artifact.path}")) and is_intact(artifact, data):
        return data
    data = _read(f"{cache_dir()}/md5/{artifact.md5[:2]}/{artifact.md5[2:]}", _NO_LINKS)
    return data if data and is_intact(artifact, data) else None


def is_intact(artifact: Artifact, data: bytes) -> bool:
    """Return whether bytes are those that the catalogue lists."""
    return len(data) == artifact.size and sha256(data) == artifact.sha256


def cache_path(artifact: Artifact) -> Path:
    """Return where the cache keeps an artifact.

    Raises:
        HubError: The place is a link that leads out of the cache.
    """
    base = cache_dir()
    folder = base / "md5" / artifact.md5[:2]
    if os.path.realpath(folder) != os.path.join(os.path.realpath(base), "md5", artifact.md5[:2]):
        raise HubError(f"{folder} leads out of the cache, to {os.path.realpath(folder)}. Remove the link.")
    return folder / artifact.md5[2:]


def add(artifact: Artifact, data: bytes) -> None:
    """Write verified bytes into the cache."""
    path = cache_path(artifact)
    with writing_cache(path):
        write_bytes(path, data)


def unpack(source: Source, zipped: Artifact, tables: list[Artifact]) -> set[Artifact]:
    """Fetch a file of many tables; return those that were as they should be, and are in the cache now."""
    try:
        data = _download(source, zipped, keep=False)
    except HubError:
        return set()  # each has a file of its own as well
    return _add_good(table_archive.read(data, tables))


def _add_good(pairs: Iterable[tuple[Artifact, bytes]]) -> set[Artifact]:
    """Bring those artifacts into the cache whose bytes are as they should be, and return them."""
    good = [pair for pair in pairs if not find_problem(*pair)]
    for artifact, data in good:
        add(artifact, data)
    return {artifact for artifact, _ in good}


def _without(here: set[Artifact], wanted: list[Artifact], advance: Callable[[int], None]) -> list[Artifact]:
    """Return what is wanted still when some artifacts are here, and say how many bytes those are."""
    advance(sum(artifact.size for artifact in here))
    return [artifact for artifact in wanted if artifact not in here]


def _read(path: str | Path, flags: int = 0) -> bytes | None:
    """Return what a file holds; None where there is none that can be read."""
    try:
        with open(os.open(path, os.O_RDONLY | flags), "rb") as file:
            return file.read()
    except OSError:
        return None


def _prepare(source: Source, artifacts: list[Artifact]) -> set[Artifact]:
    """Bring into the cache what one request can bring, and return it."""
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
    """Return an artifact from DVC's cache or the remote, and keep it in the cache.

    Of those who want the same artifact one at a time downloads; the others then find it in the cache.
    """
    from rllte.hub.store.remote import open_remote

    part = cache_dir() / "parts" / artifact.md5
    remote = open_remote(source)
    if (data := _from_caches(remote.caches, artifact)) is not None:
        return data
    if remote.needs_network and offline():
        raise MissingArtifactError(
            artifact.path,
            f"{artifact.path} is not in the cache {cache_dir()}, and RLLTE_HUB_OFFLINE forbids to ask "
            f"{remote}. Unset it, and: rllte-hub pull {artifact.cell_name}",
        )
    with writing_cache(part), locked(part) as file:
        if (data := read_local(source, artifact)) is not None:
            part.unlink()
            return data
        try:
            data = _complete(remote, artifact, file, advance)
            if keep:
                path = cache_path(artifact)
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
            else:
                part.unlink()
        except HubError:
            if not part.stat().st_size:
                part.unlink()
            raise
        except OSError:  # a full disk is not left full of a part
            part.unlink(missing_ok=True)
            raise
        return data


def _complete(remote: "Remote", artifact: Artifact, file: BinaryIO, advance: Callable[[int], None]) -> bytes:
    """Download what a part file lacks of an artifact, and return all of it, verified."""
    file.seek(0)
    data = _rest(remote, artifact, file, bytearray(file.read()), advance)
    problem = find_problem(artifact, data)
    if problem:  # what was begun, or what came over the network, may have been damaged
        file.truncate(0)
        data = _rest(remote, artifact, file, bytearray(), advance)
        problem = find_problem(artifact, data)
    if problem:
        file.truncate(0)
        raise HubError(
            f"{artifact.path} in {remote} is damaged: it {problem}. It was not used. "
            f"Whoever has a good copy repairs it: delete files/md5/{artifact.md5[:2]}/{artifact.md5[2:]} "
            f"there, then dvc push."
        )
    return data


def _rest(
    remote: "Remote", artifact: Artifact, file: BinaryIO, data: bytearray, advance: Callable[[int], None]
) -> bytes:
    """Append what is left of an artifact to its part file, in chunks, each tried several times."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    from rllte.hub.store.remote import explain, is_permanent

    advance(len(data))
    patience = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=4),
        retry=retry_if_exception(lambda error: not is_permanent(error)),
        before=lambda _: advance(0),  # which says whether it is still wanted
        reraise=True,
    )
    chunk_size = _CHUNK if remote.gives_ranges else artifact.size + 1
    while len(data) < artifact.size:
        end = min(len(data) + chunk_size, artifact.size + 1)  # one more than there should be
        try:
            chunk = patience(remote.read, artifact.md5, len(data), end)
        except HubError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise MissingArtifactError(
                artifact.path,
                f"{artifact.path} is not in the cache {cache_dir()}, and {explain(error, remote)}. "
                f"What was fetched stays. Try again, or see `dvc remote list`: dvc pull {artifact.path}",
            ) from None
        if not chunk:
            break
        file.write(chunk)
        file.flush()
        data += chunk
        advance(len(chunk))
        if len(data) < min(end, artifact.size):  # it ends too early
            break
    return bytes(data)


def find_problem(artifact: Artifact, data: bytes) -> str:
    """Return how bytes differ from what the catalogue lists; empty where they do not."""
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
