"""Loading from a real S3 server: who may read, what is damaged, what breaks off."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from rllte.config import cache_dir
from rllte.errors import HubError, MissingArtifactError, UnknownNameError
from rllte.hub import MiniGrid
from rllte.hub.store.cache import fetch, fetch_all
from rllte.hub.store.http import PublicObjects
from rllte.hub.store.remote import ObjectRemote, open_remote
from rllte.hub.store.source import make_source
from tests.conftest import CELL, path_of_python, run_program, wait_for
from tests.hub.conftest import MODEL, key, put_large

pytestmark = pytest.mark.slow

NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}
LARGE = 80 * 2**20
FETCH = (
    "from rllte.hub.store.source import make_source; from rllte.hub.store.cache import fetch; "
    "s = make_source(); "
)


def artifact_of(path):
    return next(row for row in make_source().catalogue.all_artifacts() if row.path == path)


def part(artifact):
    return cache_dir() / "parts" / artifact.md5


def start_fetching(path):
    program = (
        f"{FETCH}print(len(fetch(s, next(a for a in s.catalogue.all_artifacts() if a.path == {path!r}))))"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("remote", ["s3", "http", "writer"])
def test_anyone_reads_what_a_maintainer_pushed(reader, published_hub, remote):
    hub = MiniGrid(remote=remote)
    assert hub.load_scores(**NAMES).shape == (2, 4)
    model = fetch(hub.source, artifact_of(MODEL))
    assert model == (published_hub / MODEL).read_bytes()


def test_a_redirection_of_a_public_remote_is_followed(server):
    artifact = b"0123456789"
    server.filesystem().pipe_file("rllte/hub/digits", artifact)
    place = f"{server.endpoint}/rllte/hub/digits"

    class Redirection(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", place if self.path == "/once" else self.path)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirection) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{front.server_port}"
        assert PublicObjects(1).cat_file(f"{url}/once", 2, 5) == b"234"
        with pytest.raises(OSError, match="302"):
            PublicObjects(1).cat_file(f"{url}/for-ever", 2, 5)
        front.shutdown()


def test_a_remote_that_is_not_in_the_settings_is_named_with_those_that_are(reader):
    with pytest.raises(UnknownNameError, match=r"Unknown remote 's4' .*Did you mean 's3'"):
        MiniGrid(remote="s4").load_scores(**NAMES)


def change_settings(root, **changes):
    path = root / ".dvc/config.local"
    lines = path.read_text().splitlines()
    start = lines.index("['remote \"writer\"']")
    for number, line in enumerate(lines[start:], start):
        name = line.split("=")[0].strip()
        if name in changes:
            lines[number] = "" if changes[name] is None else f"    {name} = {changes.pop(name)}"
            changes.pop(name, None)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"secret_access_key": "not-the-secret"}, "secret_access_key"),
        ({"access_key_id": "nobody"}, "access_key_id"),
        ({"access_key_id": None, "secret_access_key": None}, "access_key_id and secret_access_key"),
    ],
)
def test_wrong_or_missing_credentials_are_named_and_never_shown(reader, server, changes, named):
    change_settings(reader, **changes)
    with pytest.raises(MissingArtifactError, match=f"remote 'writer' .*{named}") as caught:
        MiniGrid(remote="writer").load_scores(**NAMES)
    assert server.secret_key not in str(caught.value)
    assert "not-the-secret" not in str(caught.value)


def test_a_clock_that_is_an_hour_wrong_is_named(reader, monkeypatch):
    import botocore.auth

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *args, **kwargs: now(*args, **kwargs) + timedelta(hours=1),
    )
    with pytest.raises(MissingArtifactError, match="check the clock of this machine"):
        MiniGrid(remote="writer").load_scores(**NAMES)


def test_nobody_writes_without_credentials(reader, pushed):
    (reader / "new.txt").write_text("anonymous")
    run_program("dvc", "add", "-q", "new.txt", cwd=reader)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_program("dvc", "push", "-r", "s3", "new.txt.dvc", cwd=reader)
    assert "ERROR" in caught.value.stderr


@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "gone"])
def test_a_damaged_object_is_named_and_never_returned(reader, server, damage):
    artifact = artifact_of(CELL.path("scores"))
    filesystem, place = server.filesystem(), key(artifact.md5)
    good = filesystem.cat_file(place)
    flipped = bytes([good[0] ^ 1]) + good[1:]
    bad = {"flipped": flipped, "truncated": good[:-10], "longer": good + b"!"}.get(damage)
    try:
        filesystem.rm_file(place) if bad is None else filesystem.pipe_file(place, bad)
        problem = "does not have it" if bad is None else "damaged"
        with pytest.raises(HubError, match=rf"scores\.parquet .*remote 's3'.*{problem}"):
            MiniGrid().load_scores(**NAMES)
        assert [path for path in cache_dir().rglob("*") if path.is_file()] == []
    finally:
        filesystem.pipe_file(place, good)
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)


def test_a_damaged_cache_is_repaired_from_the_bucket(reader):
    expected = MiniGrid().load_scores(**NAMES)
    artifact = artifact_of(CELL.path("scores"))
    cached = cache_dir() / "md5" / artifact.md5[:2] / artifact.md5[2:]
    cached.write_bytes(cached.read_bytes()[::-1])
    assert np.array_equal(MiniGrid().load_scores(**NAMES), expected)
    assert len(cached.read_bytes()) == artifact.size


def test_a_loader_killed_in_mid_download_leaves_a_part_that_the_next_one_completes(
    reader, server, monkeypatch
):
    artifact, data = put_large(server, reader, LARGE)
    process = start_fetching(MODEL)
    wait_for(lambda: part(artifact).exists() and part(artifact).stat().st_size > 0, timeout_s=60)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    begun = part(artifact).stat().st_size
    assert 0 < begun < LARGE, "killed in the middle"
    starts, read = [], ObjectRemote.read

    def watched(self, md5, start, end):
        starts.append(start)
        return read(self, md5, start, end)

    monkeypatch.setattr(ObjectRemote, "read", watched)
    assert fetch(make_source(), artifact) == data
    assert starts[0] == begun
    assert not part(artifact).exists()


def test_a_part_that_was_damaged_is_thrown_away(reader, server):
    artifact, data = put_large(server, reader, 2**20)
    part(artifact).parent.mkdir(parents=True)
    part(artifact).write_bytes(b"nonsense")
    assert fetch(make_source(), artifact) == data


def test_a_server_that_stops_in_mid_pull_is_named_and_the_next_call_completes(reader, server):
    small = [artifact_of(CELL.path(kind)) for kind in ("scores", "curves")]
    artifact, data = put_large(server, reader, LARGE)
    fetch_all(make_source(), small)
    found = []

    def pull():
        try:
            fetch_all(make_source(), [*small, artifact])
        except HubError as error:
            found.append(str(error))

    thread = threading.Thread(target=pull)
    thread.start()
    wait_for(lambda: part(artifact).exists() and part(artifact).stat().st_size > 0, timeout_s=60)
    server.stop()
    thread.join(180)
    try:
        assert len(found) == 1
        assert "remote 's3' (s3://rllte/hub) cannot be read" in found[0]
        assert "What was downloaded is kept" in found[0]
        assert MiniGrid().load_scores(**NAMES).shape == (2, 4), "what was fetched is there"
        assert 0 < part(artifact).stat().st_size < LARGE
    finally:
        server.start()
    assert fetch(make_source(), artifact) == data


def test_after_an_error_downloads_stop_at_their_next_chunk(reader, server, monkeypatch):
    artifact, _ = put_large(server, reader, LARGE)
    gone = dataclasses.replace(artifact_of(CELL.path("scores")), md5="0" * 32, sha256="0" * 64)
    sizes, read = [], ObjectRemote.read

    def slowly(self, md5, start, end):
        if md5 == artifact.md5:
            sizes.append(end - start)
            time.sleep(0.2)
        else:
            wait_for(lambda: len(sizes) > 1, timeout_s=60)
        return read(self, md5, start, end)

    monkeypatch.setattr(ObjectRemote, "read", slowly)
    with pytest.raises(MissingArtifactError, match="does not have it"):
        fetch_all(make_source(), [artifact, gone])
    assert part(artifact).stat().st_size == sum(sizes) < LARGE / 2


def test_a_forked_process_has_connections_of_its_own(reader):
    here, source = open_remote(make_source()), make_source()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(fetch, (source, artifact_of(MODEL))) == fetch(source, artifact_of(MODEL))
        assert pool.apply(_address_of_remote, (source,)) != id(here)
    assert open_remote(source) is here


def _address_of_remote(source):
    return id(open_remote(source))


def test_eight_processes_want_the_same_cold_file_and_one_copy_remains(reader, server):
    artifact, _ = put_large(server, reader, 4 * 2**20)
    processes = [start_fetching(MODEL) for _ in range(8)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert out.split() == [b"%d" % artifact.size], err
    files = [path for path in cache_dir().rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in files] == [artifact.size]


def test_two_pulls_and_a_push_at_once_all_end_well(reader, pushed):
    program = str(path_of_python().split(os.pathsep)[0] + "/rllte-hub")
    commands = [([program, "pull", "--all"], reader)] * 2 + [(["dvc", "push", "-q", "-r", "writer"], pushed)]
    environment = {**os.environ, "PATH": path_of_python()}
    processes = [
        subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE)
        for command, folder in commands
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert run_program("rllte-hub", "verify", cwd=reader).returncode == 0


def test_offline_only_what_is_cached_is_loaded(reader, monkeypatch):
    expected = MiniGrid().load_scores(**NAMES)
    monkeypatch.setenv("RLLTE_HUB_OFFLINE", "1")
    assert np.array_equal(MiniGrid().load_scores(**NAMES), expected)
    with pytest.raises(MissingArtifactError, match=rf"RLLTE_HUB_OFFLINE .*: rllte-hub pull {CELL}"):
        MiniGrid().load_curves(**NAMES)
