"""Serve the catalogue from a real S3 server: its writer pushes it, anybody reads it with an empty cache."""

import os
import subprocess
import tempfile
from pathlib import Path

from demo import ROOT, step
from s3_server import HOST, s3_server


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step("Start SeaweedFS; one identity may write, everybody may read")
        with s3_server(folder / "s3") as server:
            print(f"S3 on {server.endpoint}, which listens on {HOST} alone")
            maintainer, reader = folder / "maintainer", folder / "reader"
            for clone in (maintainer, reader):
                subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
                server.add_remotes(clone)
            step("Push the catalogue with the writer's key", "dvc", "pull", "-q", cwd=maintainer)
            step("", "dvc", "push", "-r", "writer", cwd=maintainer)
            for remote in ("s3", "http"):
                os.environ |= {
                    "RLLTE_HUB_CACHE": str(folder / f"cache-{remote}"),
                    "RLLTE_HUB_REPO": str(reader),
                }
                step(
                    f"Read it back through {remote} without a key",
                    "rllte-hub",
                    "--remote",
                    remote,
                    "pull",
                    "--all",
                )
                step("Hash every copy again", "rllte-hub", "verify", cwd=reader)
            step("A write without a key is refused")
            (reader / "note.txt").write_text("from nobody")
            subprocess.run(["dvc", "add", "-q", "note.txt"], cwd=reader, check=True)
            done = subprocess.run(
                ["dvc", "push", "-r", "s3", "note.txt.dvc"], cwd=reader, capture_output=True, text=True
            )
            print(done.stderr.strip().splitlines()[0])
            if done.returncode == 0:
                raise SystemExit("an anonymous write went through")
        step("The server is stopped; all of the above is as it should be")


if __name__ == "__main__":
    main()
