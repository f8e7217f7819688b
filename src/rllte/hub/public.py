"""Public objects, read by plain GETs: where no key is asked for, no S3 client has to be loaded."""

import os
from collections.abc import Mapping
from typing import Any

_KNOWN = {"url", "verify", "protected", "slow_link_warning", "read_timeout", "connect_timeout"}
_KNOWN_S3 = _KNOWN | {"endpointurl", "allow_anonymous_login", "region", "use_ssl", "listobjects"}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_TIMEOUT_S = 60


def public_url(options: Mapping[str, Any]) -> str | None:
    """Return where the objects of a DVC remote are for anybody; None where more than a URL is needed.

    Args:
        options: The settings of the remote. An anonymous S3 remote with an ``endpointurl`` has a URL, too.
    """
    if any(name.lower() in _PROXIES for name in os.environ):
        return None
    url = str(options["url"])
    if url.startswith(("http://", "https://")) and "@" not in url and options.keys() <= _KNOWN:
        return url
    endpoint = options.get("endpointurl")
    if url.startswith("s3://") and endpoint and options.get("allow_anonymous_login"):
        return f"{endpoint.rstrip('/')}/{url.removeprefix('s3://')}" if options.keys() <= _KNOWN_S3 else None
    return None


class PublicObjects:
    """What fsspec calls a file system, as far as reading needs it; threads share its connections."""

    def __init__(self, connections: int) -> None:
        import urllib3

        # whoever calls tries again; a redirection is followed, and given back as it is after too many
        retries = urllib3.Retry(
            total=None, connect=False, read=False, other=0, redirect=5, raise_on_redirect=False
        )
        self._pool = urllib3.PoolManager(maxsize=connections, retries=retries, timeout=_TIMEOUT_S)

    def cat_file(self, url: str, start: int, end: int) -> bytes:
        """Return the bytes of a range; fewer where the object ends, all of it from a server without ranges.

        Raises:
            FileNotFoundError: There is no such object.
            PermissionError: It is not public.
            OSError: The server says something else.
        """
        answer = self._pool.request(
            "GET", url, headers={"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        )
        if answer.status in (200, 206):
            return answer.data
        if answer.status == 416:  # it ends before the range
            return b""
        text = f"{answer.status} {answer.reason or ''}".strip()
        kinds = {401: PermissionError, 403: PermissionError, 404: FileNotFoundError}
        raise kinds.get(answer.status, OSError)(text)
