"""Read public objects by plain HTTP GET requests, so that public remotes need no S3 client."""

import functools
import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from rllte.config import timeout_s

if TYPE_CHECKING:
    import urllib3

_KNOWN = {"url", "verify", "protected", "slow_link_warning", "read_timeout", "connect_timeout"}
_KNOWN_S3 = _KNOWN | {"endpointurl", "allow_anonymous_login", "region", "use_ssl", "listobjects"}
_MAX_REDIRECTS = 5
_READ_SIZE = 2**16


def public_url(options: Mapping[str, Any]) -> str | None:
    """Return the public URL of a DVC remote's objects, or None if plain requests cannot read it.

    Args:
        options: The settings of the remote. An anonymous S3 remote with an ``endpointurl`` also has a public
            URL.
    """
    if any(urlsplit(proxy).scheme.startswith("socks") for proxy in urllib.request.getproxies().values()):
        return None
    url = str(options["url"])
    if url.startswith(("http://", "https://")) and "@" not in url and options.keys() <= _KNOWN:
        return url
    endpoint = options.get("endpointurl")
    if url.startswith("s3://") and endpoint and options.get("allow_anonymous_login"):
        return f"{endpoint.rstrip('/')}/{url.removeprefix('s3://')}" if options.keys() <= _KNOWN_S3 else None
    return None


class PublicObjects:
    """A file system in the sense of fsspec, with only the method that reading needs.

    Threads can share one object and its connections.

    Args:
        connections: The number of connections to keep open to each server.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def cat_file(self, url: str, start: int, end: int) -> bytes:
        """Return the bytes of a range, or fewer if the object ends earlier.

        Nothing after the range is read.

        Raises:
            FileNotFoundError: There is no such object.
            PermissionError: The object is not public.
            TimeoutError: The request took longer than ``RLLTE_HUB_TIMEOUT``.
            OSError: The server returned another error, or cannot be reached.
        """
        import urllib3

        limit_s = timeout_s()
        try:
            with _time_limit(limit_s):
                return self._read_range(url, start, end, limit_s)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError) as error:
            raise OSError(str(error)) from None

    def _read_range(self, url: str, start: int, end: int, limit_s: float) -> bytes:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._pool(url).request(
                "GET", url, headers=headers, preload_content=False, decode_content=False, redirect=False,
                retries=False, timeout=2 * limit_s,  # longer than the limit, which acts first
            )  # fmt: skip
            with closing(answer):
                if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status == 416:  # the object ends before the range
                    return b""
                if answer.status not in (200, 206):
                    text = f"{answer.status} {answer.reason or ''}".strip()
                    kinds = {401: PermissionError, 403: PermissionError, 404: FileNotFoundError}
                    raise kinds.get(answer.status, OSError)(text)
                if answer.status == 200:  # the server ignores ranges and sends the whole object
                    _read(answer, start)
                return _read(answer, end - start)
        raise OSError(f"302 more than {_MAX_REDIRECTS} redirections")

    def _pool(self, url: str) -> "urllib3.PoolManager":
        """Return the connection pool for a server; it uses the proxy that the environment sets."""
        import urllib3

        parts = urlsplit(url)
        proxy = None
        if not urllib.request.proxy_bypass(parts.hostname or ""):
            proxies = urllib.request.getproxies()
            proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy not in self._pools:
            pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
            pool.connection_pool_kw["maxsize"] = self._connections
            pool.pool_classes_by_scheme = _limited_pools()
            self._pools[proxy] = pool
        return self._pools[proxy]


def _read(answer: "urllib3.BaseHTTPResponse", num_bytes: int) -> bytes:
    """Return the next bytes of a body, or fewer if it ends earlier; read nothing after them."""
    data = bytearray()
    while len(data) < num_bytes and (part := answer.read(min(_READ_SIZE, num_bytes - len(data)))):
        data += part
    return bytes(data)


class _TimeLimit:
    """Closes the connections of one request after a time limit, even while the server is still sending."""

    def __init__(self, limit_s: float) -> None:
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(limit_s, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        self.expired = True
        for copy in self._sockets:
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)

    def watch(self, connection: socket.socket) -> None:
        """Close this connection too when the limit expires."""
        self._sockets.append(connection.dup())  # a copy, because TLS takes over the socket itself
        if self.expired:
            self._expire()

    def end(self) -> None:
        """Stop the timer and leave the connections open."""
        self._timer.cancel()
        for copy in self._sockets:
            copy.close()


_limit_of_thread = threading.local()


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Limit the time of the request that this thread makes inside the block.

    Raises:
        TimeoutError: The request exceeded the limit and was stopped.
    """
    limit = _limit_of_thread.limit = _TimeLimit(limit_s)
    try:
        yield
    except Exception:
        if not limit.expired:
            raise
    finally:
        limit.end()
    if limit.expired:
        raise TimeoutError(f"no complete answer within {limit_s:g} s; RLLTE_HUB_TIMEOUT sets the limit")


@functools.cache
def _limited_pools() -> dict[str, Any]:
    """Return variants of urllib3's pool classes whose connections obey the time limit of a request."""
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Watched(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            _limit_of_thread.limit.watch(connection)
            return connection

        def getresponse(self) -> Any:  # a kept-open connection does not call _new_conn
            if self.sock is not None:
                _limit_of_thread.limit.watch(self.sock)
            return super().getresponse()

    class WatchedTLS(Watched, HTTPSConnection):
        pass

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Watched

    class PoolTLS(urllib3.HTTPSConnectionPool):
        ConnectionCls = WatchedTLS

    return {"http": Pool, "https": PoolTLS}
