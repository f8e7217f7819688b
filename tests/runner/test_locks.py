import signal
import subprocess
import sys
import time
from collections import OrderedDict

import pytest
from ruamel.yaml import YAML

from rllte.runner.locks import entry_text, merge_texts, read_lock, read_texts
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

LOCKS = sorted(ROOT.glob("pipelines/*/*/dvc.lock"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_an_entry_is_written_as_dvc_writes_it(path):
    texts = read_texts(path)
    parsed = YAML(typ="safe").load(path.read_text())["stages"]
    assert {name: entry_text(entry) for name, entry in parsed.items()} == texts


def test_merging_replaces_and_adds_entries_and_keeps_all_others_to_the_byte(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_bytes(LOCKS[0].read_bytes())
    before = read_texts(path)
    first = next(iter(before))
    merge_texts(path, {first: "    cmd: new\n", "train@x/seed-9": "    cmd: added\n"})
    after = read_texts(path)
    assert list(after) == [*before, "train@x/seed-9"]
    assert {name: text for name, text in after.items() if name not in (first, "train@x/seed-9")} == {
        name: text for name, text in before.items() if name != first
    }
    assert read_lock(path)[first]["cmd"] == "new"
    merge_texts(path, {first: before[first]})
    assert path.read_text().startswith(LOCKS[0].read_text())


def test_an_ordered_dict_is_written_as_any_other():
    assert (
        entry_text(OrderedDict(cmd="echo", params=OrderedDict(a=1)))
        == "    cmd: echo\n    params:\n      a: 1\n"
    )


def test_a_lock_begins_with_its_first_entry(tmp_path):
    merge_texts(tmp_path / "dvc.lock", {"a": "    cmd: echo\n"})
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\nstages:\n  a:\n    cmd: echo\n"


def test_a_lock_is_whole_at_every_moment_of_a_merge(tmp_path):
    path = tmp_path / "dvc.lock"
    texts = {f"train@x/seed-{n}": f"    cmd: echo {'x' * 5000}\n" for n in range(500)}
    merge_texts(path, texts)
    program = (
        "import sys; from pathlib import Path; from rllte.runner.locks import *\n"
        "path = Path(sys.argv[1]); print(flush=True)\n"
        "while True: merge_texts(path, {'a': '    cmd: echo\\n'})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    size, end = path.stat().st_size, time.monotonic() + 2
    try:
        while time.monotonic() < end:
            assert path.stat().st_size >= size
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert {name for name in read_texts(path) if name != "a"} == set(texts)
