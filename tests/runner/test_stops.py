"""The runner when something stops: a worker, the coordinator, a signal."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rllte.runner import batch
from rllte.runner.locks import read_lock
from tests.conftest import CELL, RUNS, wait_for
from tests.runner.conftest import LOCK, hashes, is_clean, make_untrained, run, start

pytestmark = pytest.mark.slow


@dataclass
class Story:
    """What was seen while the runs of a hub were trained by three coordinators."""

    root: Path
    lock_after_sigkill: bool
    cost: list[int]
    second: str
    errors: str
    code: int
    recorded: set[str]


def read_until(process, text):
    """Return what a process wrote to its standard error up to a text."""
    errors = ""
    while text not in errors:
        errors += process.stderr.readline()
        assert process.poll() is None, errors
    return errors


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Kill a worker, then the coordinator; refuse a second coordinator, terminate the first, and finish."""
    root = make_untrained(tmp_path_factory.mktemp("stops") / "hub")
    process = start(root, "--jobs", 1)
    wait_for(lambda: list(root.glob("scratch/minigrid/**/resume.pt")), process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name().startswith(f"ray::{RUNS[0]}") or str(RUNS[0]) in " ".join(child.cmdline()):
            child.kill()
    read_until(process, f"1/3 {RUNS[0]}: done")  # the coordinator has heard of the first run
    process.kill()
    process.communicate(timeout=60)
    cost, lock = root / RUNS[0].path("train"), (root / LOCK).exists()
    times = [cost.stat().st_mtime_ns]
    process = start(root, "--jobs", 1)
    errors = read_until(process, f"1/3 {RUNS[0]}: done")
    second = run(root, code=1)
    process.terminate()
    errors += process.communicate(timeout=120)[1]
    recorded = set(read_lock(root / LOCK))
    run(root, "--jobs", 1)
    times.append(cost.stat().st_mtime_ns)
    return Story(
        root, lock, times, second.replace(str(process.pid), "PID"), errors, process.returncode, recorded
    )


def test_a_killed_worker_is_replaced_and_goes_on_from_its_checkpoint(story):
    assert json.loads((story.root / RUNS[0].path("train")).read_text())["resumed_at_env_step"] == 512


def test_a_killed_coordinator_does_not_repeat_what_was_finished(story):
    assert not story.lock_after_sigkill
    assert len(set(story.cost)) == 1, "the first run was not trained again"


def test_a_second_coordinator_says_who_the_first_is_and_stops(story):
    assert f"Another rllte-hub run is working on {story.root}: process PID on " in story.second


def test_a_coordinator_that_is_terminated_records_what_was_finished(story):
    assert story.code == 130, story.errors
    assert "the same command resumes from here" in story.errors
    assert story.recorded >= {f"{kind}@{CELL.env_id}/seed-0" for kind in ("train", "evaluate")}


def test_what_was_stopped_ends_with_the_bytes_of_what_was_not(story, published_hub):
    assert hashes(story.root) == hashes(published_hub)
    assert is_clean(story.root)
    assert not list(story.root.glob("scratch/minigrid/**/*.json")), "what is recorded is not kept twice"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_remembered_and_the_second_stops_at_once(number):
    before = signal.getsignal(number)
    with batch._Interrupts() as interrupts:
        interrupts.finish_first = True
        signal.raise_signal(number)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_batch_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    try:
        with batch._Interrupts():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_before_anything_runs_stops_at_once():
    with batch._Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
