"""Repositories of strangers: nothing that they contain may run, send or fill anything."""

import io
import json
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet
import pytest

from rllte import tables
from rllte.errors import HubError
from rllte.files import md5, sha256
from rllte.hub import MiniGrid
from rllte.hub.store.dvc_config import read_url_config
from rllte.hub.store.http import PublicObjects
from rllte.hub.store.source import make_source
from tests.conftest import CELL, git

NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}
PARAMS = "pipelines/minigrid/params.yaml"


@pytest.fixture
def stranger(published_hub, tmp_path):
    """A repository that a stranger may change at will."""
    root = tmp_path / "stranger"
    git(tmp_path, "clone", "-q", str(published_hub), str(root))
    return root


def commit(root, **files):
    """Write files into a repository, and return its URL."""
    for name, text in files.items():
        (root / name.replace("__", "/")).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")
    return root.as_uri()


def config_of(*lines, name="hub"):
    options = "".join(f"    {line}\n" for line in lines)
    return f"[core]\n    remote = {name}\n['remote \"{name}\"']\n{options}"


def write_config(root, *lines, name="hub"):
    (root / ".dvc/config").write_text(config_of(*lines, name=name))
    return commit(root)


@contextmanager
def server(answer):
    """A server that answers each GET by a function of the handler; yields its URL and the headers it got."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            with suppress(OSError):
                answer(self)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()


@pytest.mark.parametrize("option", ["configpath", "credentialpath"])
@pytest.mark.parametrize("named", [False, True])
def test_a_settings_file_of_a_url_runs_no_command(stranger, tmp_path, option, named):
    marker = tmp_path / "was-run"
    ini = f"[default]\ncredential_process = sh -c 'touch {marker}'\n"
    (stranger / PARAMS).write_text(ini)
    url = write_config(
        stranger, "url = s3://bucket/hub", "endpointurl = http://127.0.0.1:9", f"{option} = ../{PARAMS}"
    )
    with pytest.raises(
        HubError, match=f"remote 'hub' sets {option}, which a repository at a URL may not set"
    ):
        MiniGrid(url, remote="hub" if named else None).load_curves(**NAMES)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["url = https://example.org", "ask_password = true"], "sets ask_password"),
        (["url = https://example.org", "ssl_verify = /etc/passwd"], "sets ssl_verify"),
        (["url = https://example.org", "an_option_to_come = 1"], "sets an_option_to_come"),
        (["url = s3://bucket/hub", "profile = work"], "sets profile"),
        (["url = s3://bucket/hub", "region = a, b"], "sets region"),
        (["url = ssh://example.org/hub", "keyfile = ../x"], "of the type ssh://"),
        (["url = webdav://example.org", "bearer_token_command = touch /tmp/x"], "of the type webdav://"),
        (["url = gs://bucket", "credentialpath = x"], "of the type gs://"),
        (["url = remote://other/x"], "of the type remote://"),
        (["url = /etc"], "outside of the repository"),
        (["url = ../../elsewhere"], "outside of the repository"),
        (["url = ~/elsewhere"], "outside of the repository"),
        (["url = http://me@host/hub"], "has an '@'"),
        (["url = " + '"",' * 40 + "'"], "cannot be read: Parse error in value at line 4"),
        (["url = x" + "y" * 2000], "too long"),
        (["verify = true"], "has no url"),
    ],
)
def test_a_url_chooses_neither_options_nor_places_that_are_not_allowed(stranger, lines, message):
    url = write_config(stranger, *lines)
    with pytest.raises(HubError, match=message):
        MiniGrid(url).load_curves(**NAMES)


def test_a_type_that_the_user_names_is_used_but_not_its_commands(stranger):
    url = write_config(stranger, "url = webdav://example.org", "bearer_token_command = touch /tmp/x")
    with pytest.raises(HubError, match="sets bearer_token_command"):
        MiniGrid(url, remote="hub").load_curves(**NAMES)


@pytest.mark.parametrize("text", ["[core\n", "[core]\nremote = a\nremote = b\n", "[[[x]]]\n", "\0\0"])
def test_a_settings_file_that_cannot_be_read_is_named(stranger, text):
    (stranger / ".dvc/config").write_text(text)
    with pytest.raises(HubError, match=r"\.dvc/config cannot be read|no default DVC remote"):
        MiniGrid(commit(stranger)).load_curves(**NAMES)


def test_the_users_settings_come_before_those_of_a_url(stranger, published_hub, tmp_path):
    (tmp_path / "dvc-global").mkdir()
    (tmp_path / "dvc-global/config").write_text(config_of(f"url = {published_hub}/remote"))
    url = write_config(stranger, "url = /etc", "keyfile = x")
    assert MiniGrid(url).load_scores(**NAMES).shape == (2, 4)


def forbid(handler):
    handler.send_response(403, "\x1b[31mnot \x9b2Jyours")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_the_users_keys_stay_home_unless_the_remote_is_named(stranger, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "my-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "my-secret")
    with server(forbid) as (endpoint, seen):
        url = write_config(stranger, "url = s3://bucket/hub", f"endpointurl = {endpoint}")
        with pytest.raises(HubError):
            MiniGrid(url).load_curves(**NAMES)
        assert seen
        assert not any("my-key" in str(headers) for headers in seen)
        with pytest.raises(HubError):
            MiniGrid(url, remote="hub").load_curves(**NAMES)
        assert any("my-key" in str(headers) for headers in seen), "named by the user, the remote gets them"


def test_an_upper_case_scheme_is_read_as_the_lower_case_one(stranger, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with server(forbid) as (endpoint, seen):
        url = write_config(stranger, f"url = {endpoint.replace('http', 'HTTP')}/hub")
        with pytest.raises(HubError):
            MiniGrid(url).load_curves(**NAMES)
    assert seen
    assert not any("Authorization" in headers for headers in seen)


@pytest.mark.parametrize("named", [False, True])
def test_a_bucket_of_a_stranger_is_read_without_keys_and_never_in_plain_text(stranger, named):
    url = write_config(stranger, '"url" = "s3://bucket/hub"', "use_ssl = false", "region = us-east-1")
    source = make_source(url)
    config, name, _ = read_url_config(source.root, "hub" if named else None, url)
    settings = config["remote"][name]
    assert (settings["url"], settings["region"]) == ("s3://bucket/hub", "us-east-1")
    assert settings["allow_anonymous_login"] is not named
    assert settings["use_ssl"]


def test_what_a_server_says_is_shown_without_its_escapes(stranger):
    with server(forbid) as (endpoint, _):
        url = write_config(stranger, f"url = {endpoint}")
        with pytest.raises(HubError) as caught:
            MiniGrid(url).load_curves(**NAMES)
    assert "\\x1b[31mnot" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url", ["https://me:pass@word@host/x", "https://token@host/x?key=pass", "https://me:pa/pass@host/x"]
)
def test_no_part_of_a_password_is_shown(url):
    source = make_source(url, "v1")
    for text in (repr(source), str(source), repr(MiniGrid(url))):
        assert not any(secret in text for secret in ("me", "pa", "word", "token")), text
        assert "host" in text or "…" in text


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def bomb(handler):
    body = b"\x1f\x8b" + bytes(1000)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize("answer", [endless, bomb])
def test_no_more_of_a_body_is_read_than_was_asked_for(answer):
    with server(answer) as (url, _):
        data = PublicObjects(1).cat_file(f"{url}/object", 10, 110)
    assert len(data) == 100


def test_an_endless_object_is_damaged_and_nothing_more(stranger):
    with server(endless) as (endpoint, _):
        url = write_config(stranger, f"url = {endpoint}")
        start = time.monotonic()
        with pytest.raises(HubError, match="is damaged"):
            MiniGrid(url).load_curves(**NAMES)
    assert time.monotonic() - start < 60


def drip_body(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.05)


def drip_head(handler):
    while True:
        handler.wfile.write(b"H")
        time.sleep(0.05)


def silent(handler):
    time.sleep(30)


def login_page(handler):
    page = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.wfile.write(page)


def test_a_login_page_is_called_so_and_nobody_is_told_to_delete_anything(stranger):
    with server(login_page) as (url, _):
        repo = write_config(stranger, f"url = {url}/hub")
        with pytest.raises(HubError, match=r"sent a web page instead of .*scores\.parquet") as caught:
            MiniGrid(repo=repo).load_scores(**NAMES)
    assert "delete" not in str(caught.value)


def test_a_damaged_object_of_a_url_is_reported_to_its_owner(stranger, published_hub):
    artifact = make_source(str(published_hub)).catalogue.artifact(CELL, "scores")
    path = f"remote/files/md5/{artifact.md5[:2]}/{artifact.md5[2:]}"
    (stranger / path).chmod(0o644)
    repo = commit(stranger, **{path.replace("/", "__"): "damaged"})
    with pytest.raises(HubError, match=f"Tell the repository's owner that {path} is damaged"):
        MiniGrid(repo=repo).load_scores(**NAMES)


@pytest.mark.parametrize("answer", [drip_body, drip_head, silent])
def test_a_slow_server_ends_at_the_limit(stranger, monkeypatch, answer):
    monkeypatch.setenv("RLLTE_HUB_TIMEOUT", "1")
    with server(answer) as (endpoint, _):
        url = write_config(stranger, f"url = {endpoint}")
        MiniGrid(url).source.catalogue  # noqa: B018  git has its own second
        start = time.monotonic()
        with pytest.raises(HubError, match="RLLTE_HUB_TIMEOUT"):
            MiniGrid(url).load_curves(**NAMES)
    assert time.monotonic() - start < 15


def test_a_silent_git_server_ends_at_the_limit(monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/hub.git"
        start = time.monotonic()
        with pytest.raises(HubError, match="git ls-remote got no complete answer within 1 s"):
            MiniGrid(url).load_curves(**NAMES)
        assert time.monotonic() - start < 15
    left = subprocess.run(["pgrep", "-f", url], capture_output=True, text=True)
    assert left.stdout == "", "no process is left behind"


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_a_limit_that_is_not_a_time_is_refused(hub, monkeypatch, text):
    monkeypatch.setenv("RLLTE_HUB_TIMEOUT", text)
    with pytest.raises(HubError, match=f"RLLTE_HUB_TIMEOUT is '{text}'"):
        PublicObjects(1).cat_file("http://127.0.0.1:9", 0, 1)


def edited(root, change):
    content = json.loads((root / "catalogue.json").read_text())
    change(content)
    (root / "catalogue.json").write_text(json.dumps(content))
    return commit(root)


def cell_row(content):
    return next(row for row in content["cells"] if row["status"] == "available")


def planned_row(content):
    return next(row for row in content["cells"] if row["status"] == "planned")


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def curves_row(content):
    return next(row for row in content["artifacts"] if row["path"] == CELL.path("curves"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("cells"), "is not a catalogue .KeyError: 'cells'"),
        (lambda content: content.update(cells=5), "is not a catalogue"),
        (lambda content: content.update(cells=[5]), r"cells\.0 is 5"),
        (lambda content: content.update(artifacts=[{}]), "path is missing"),
        (
            lambda content: content["artifacts"].append({**curves_row(content), "more": [[1]]}),
            "lists of values only",
        ),
        (lambda content: content["pipelines"].update(x=nested(600)), "too many levels"),
        (lambda content: cell_row(content).update(x=nested(600)), "values and lists of values only"),
        (lambda content: planned_row(content).update(mean="high"), "mean is 'high'"),
        (lambda content: planned_row(content).update(interval="xy"), "interval is 'xy'"),
        (lambda content: cell_row(content).update(mean=10**400), "is too large"),
        (lambda content: cell_row(content).update(mean=float("nan")), "not a finite number"),
        (lambda content: cell_row(content).update(scale="\ud800"), "surrogates not allowed"),
        (lambda content: content.update(pipelines=5), "is not a catalogue"),
        (lambda content: cell_row(content).pop("agent"), "agent is missing"),
        (lambda content: cell_row(content).update(env_id="../../x"), "env_id is '../../x'"),
        (lambda content: cell_row(content).update(status="perhaps"), "status is 'perhaps'"),
        (lambda content: cell_row(content).update(seeds=1e9), "seeds is 1000000000.0; expected list"),
        (lambda content: cell_row(content).update(seeds=["0"]), "seeds is .'0'.; expected"),
        (lambda content: cell_row(content).update(mean="high"), "mean is 'high'; expected int or float"),
        (lambda content: cell_row(content).update(interval=[1]), "interval is .1.; expected 2 numbers"),
        (lambda content: cell_row(content).pop("num_train_steps"), "num_train_steps is missing"),
        (lambda content: curves_row(content).update(size="many"), "size is 'many'; expected int"),
        (lambda content: curves_row(content).update(size=2**40), "size of 1,099,511,627,776 bytes"),
        (lambda content: curves_row(content).update(md5="../../../../etc/passwd"), "malformed hash"),
        (lambda content: curves_row(content).update(kind=None), "kind is None"),
        (lambda content: curves_row(content).pop("sha256"), "sha256 is missing"),
    ],
)
def test_a_catalogue_that_is_wrong_is_an_error_that_names_the_key(stranger, change, message):
    url = edited(stranger, change)
    with pytest.raises(HubError, match=message) as caught:
        MiniGrid(url).load_curves(**NAMES)
    assert "catalogue" in str(caught.value) or "names have" in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"cells": ' + "9" * 10_000 + "}", "", "\xff", "{}"])
def test_json_that_is_none_is_an_error(stranger, text):
    (stranger / "catalogue.json").write_text(text)
    with pytest.raises(HubError, match="is not a catalogue"):
        MiniGrid(commit(stranger)).load_curves(**NAMES)


def tenfold(form):
    """Return YAML whose last value stands for billions, as each value has the one before it ten times."""
    lines = [f"a{i}: &a{i} {form % ', '.join([f'*a{i - 1}'] * 10)}" for i in range(1, 10)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (tenfold("[%s]"), "has more than 100,000 values"),
        (tenfold("{<<: [%s]}"), "has more than 100,000 values"),
        ("[" * 100_000, "has more than 50 levels"),
        ("{a: " * 50_000, "has more than 50 levels"),
        ("!!bool x", "is not valid YAML"),
        ("!!int ''", "is not valid YAML"),
    ],
)
def test_settings_that_are_too_large_or_of_a_wrong_type_are_an_error(stranger, text, message):
    (stranger / PARAMS).write_text(text)
    with pytest.raises(HubError, match=f"{PARAMS} {message}"):
        MiniGrid(commit(stranger)).load_apis(**NAMES)


def test_a_tree_that_contains_one_tree_many_times_is_an_error(stranger):
    blob = git(stranger, "rev-parse", f"HEAD:{PARAMS}").stdout.strip()
    tree, kind, name = blob, "100644 blob", "params.yaml"
    for level in range(8):
        rows = "".join(f"{kind} {tree}\t{name}{i}\n" for i in range(10))
        made = subprocess.run(["git", "mktree"], cwd=stranger, input=rows, capture_output=True, text=True)
        tree, kind, name = made.stdout.strip(), "040000 tree", f"level{level}-"
    git(stranger, "rm", "-rq", "--cached", "pipelines")
    git(stranger, "read-tree", "--empty")
    git(stranger, "add", "catalogue.json", ".dvc/config")
    kept = git(stranger, "write-tree").stdout.strip()
    rows = git(stranger, "ls-tree", kept).stdout + f"040000 tree {tree}\tpipelines\n"
    made = subprocess.run(["git", "mktree"], cwd=stranger, input=rows, capture_output=True, text=True)
    commit_id = git(stranger, "commit-tree", made.stdout.strip(), "-m", "bomb").stdout.strip()
    git(stranger, "update-ref", "HEAD", commit_id)
    with pytest.raises(HubError, match="more than 67,108,864 bytes"):
        MiniGrid(stranger.as_uri()).load_curves(**NAMES)


def test_names_that_are_not_utf8_are_passed_over(stranger):
    (stranger / os.fsdecode(b"pipelines/\xff.yaml")).write_text("{}")
    url = commit(stranger)
    head = git(stranger, "rev-parse", "HEAD").stdout.strip()
    subprocess.run([b"git", b"tag", b"\xff\xfe"], cwd=stranger, check=True)
    assert MiniGrid(url).load_scores(**NAMES).shape == (2, 4)
    with pytest.raises(HubError, match="Unknown revision 'v9'"):
        MiniGrid(url, rev="v9").load_scores(**NAMES)
    assert MiniGrid(url, rev=head).load_scores(**NAMES).shape == (2, 4)


def test_the_folder_of_the_repository_itself_can_be_the_remote(stranger):
    (stranger / "remote/files").rename(stranger / "files")
    url = write_config(stranger, "url = ..")
    assert MiniGrid(url).load_scores(**NAMES).shape == (2, 4)


def test_an_object_that_is_larger_than_the_catalogue_says_is_not_read(stranger):
    digest = curves_row(json.loads((stranger / "catalogue.json").read_text()))["md5"]
    path = stranger / f"remote/files/md5/{digest[:2]}/{digest[2:]}"
    path.chmod(0o644)
    path.write_bytes(bytes(2 * 2**20))
    with pytest.raises(HubError, match="the limit is"):
        MiniGrid(commit(stranger)).load_curves(**NAMES)


def rows_of(root):
    return tables.read_parquet((root / CELL.path("curves")).read_bytes(), tables.CURVES, "curves")


def put(root, data):
    """Make some bytes the published curves of a repository."""

    def change(content):
        curves_row(content).update(md5=md5(data), sha256=sha256(data), size=len(data))

    place = root / f"remote/files/md5/{md5(data)[:2]}/{md5(data)[2:]}"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    return edited(root, change)


def with_nulls(table):
    values = [None, *table.column("episode_return").to_pylist()[1:]]
    i = table.schema.get_field_index("episode_return")
    return table.set_column(i, tables.CURVES.field("episode_return"), pa.array(values, pa.float32()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.filter(pa.compute.equal(table["split"], "eval")),
            "no rows of the split 'train'",
        ),
        (lambda table: table.slice(0, 0), "no rows of the split 'train'; it has none"),
        (lambda table: table.slice(1), "cannot be divided equally among 2 seeds"),
        (lambda table: table.sort_by([("seed", "descending")]), "ascending order of seeds"),
        (with_nulls, "column episode_return has 1 missing values"),
        (lambda table: table.drop_columns(["seed"]), "has columns"),
    ],
)
def test_tables_that_are_not_rectangular_are_an_error(stranger, published_hub, change, message):
    url = put(stranger, tables.to_parquet(change(rows_of(published_hub))))
    with pytest.raises(HubError, match=rf"data/.*/curves\.parquet.*{message}"):
        MiniGrid(url).load_curves(**NAMES)


def test_a_split_that_no_row_has_is_passed_over(stranger, published_hub):
    table = rows_of(published_hub)
    texts = pa.array(["train", "eval", "unused"])
    indices = pa.array([["train", "eval"].index(text) for text in table["split"].to_pylist()], pa.int32())
    splits = pa.DictionaryArray.from_arrays(indices, texts)
    table = table.set_column(1, "split", splits)
    file = io.BytesIO()
    pa.parquet.write_table(table, file, store_schema=False)
    curves = MiniGrid(put(stranger, file.getvalue())).load_curves(**NAMES)
    assert set(curves) == {"train", "eval"}


def test_a_damaged_block_and_too_many_rows_are_an_error(stranger, published_hub, monkeypatch):
    data = bytearray((published_hub / CELL.path("curves")).read_bytes())
    data[20:60] = bytes(40)
    with pytest.raises(HubError, match="is not a readable Parquet file"):
        MiniGrid(put(stranger, bytes(data))).load_curves(**NAMES)
    url = put(stranger, tables.to_parquet(rows_of(published_hub)))
    monkeypatch.setattr(tables, "MAX_ROWS", 7)
    with pytest.raises(HubError, match="has 8 rows; the limit is 7"):
        MiniGrid(url).load_curves(**NAMES)


def test_a_model_of_a_stranger_is_checked_and_trusted_only_on_request(stranger, published_hub):
    import torch

    from tests.test_vetting import Forward, archive_of

    data = archive_of(Forward("/nowhere/file"))

    def change(content):
        row = next(row for row in content["artifacts"] if row["kind"] == "model" and row["seed"] == 0)
        row.update(md5=md5(data), sha256=sha256(data), size=len(data))

    put(stranger, data)
    url = edited(stranger, change)
    with pytest.raises(HubError, match=r"models/.*/model\.pt was not loaded.*trust_repo=True"):
        MiniGrid(url).load_models(**NAMES)
    assert isinstance(MiniGrid(url).load_models(**NAMES, trust_repo=True), torch.jit.ScriptModule)
