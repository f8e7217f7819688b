"""The runner when something stops: a worker, the coordinator, a signal."""

import json
import signal

import psutil
import pytest

from rllte.runner import batch
from rllte.runner.locks import read_lock
from tests.conftest import CELL, RUNS, wait_for
from tests.runner.conftest import LOCK, hashes, is_clean, run, start

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_and_goes_on_to_the_same_bytes(untrained, published_hub):
    process = start(untrained, "--jobs", 1)
    wait_for(lambda: list(untrained.glob("scratch/minigrid/**/resume.pt")), process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name().startswith(f"ray::{RUNS[0]}") or str(RUNS[0]) in " ".join(child.cmdline()):
            child.kill()
    process.communicate(timeout=240)
    assert process.returncode == 0
    assert hashes(untrained) == hashes(published_hub)
    assert json.loads((untrained / RUNS[0].path("train")).read_text())["resumed_at_env_step"] == 512


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_coordinator_that_is_stopped_does_not_repeat_what_was_finished(untrained, published_hub, number):
    process = start(untrained, "--jobs", 1)
    errors = ""
    while f"1/3 {RUNS[0]}: done" not in errors:  # the coordinator has heard of the first run
        errors += process.stderr.readline()
        assert process.poll() is None, errors
    process.send_signal(number)
    errors += process.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 130, errors
        assert "the same command resumes from here" in errors
        assert set(read_lock(untrained / LOCK)) >= {
            f"train@{CELL.env_id}/seed-0",
            f"evaluate@{CELL.env_id}/seed-0",
        }
    else:
        assert not (untrained / LOCK).exists()
    cost = (untrained / RUNS[0].path("train")).stat().st_mtime_ns
    run(untrained)
    assert (untrained / RUNS[0].path("train")).stat().st_mtime_ns == cost
    assert hashes(untrained) == hashes(published_hub)
    assert is_clean(untrained)
    assert not list(untrained.glob("scratch/minigrid/**/*.json")), "what is recorded is not kept twice"


def test_a_second_coordinator_says_who_the_first_is_and_stops(untrained):
    process = start(untrained, "--jobs", 1)
    wait_for(lambda: (untrained / ".dvc/tmp/rllte-hub/run.lock").exists(), process)
    wait_for(lambda: (untrained / ".dvc/tmp/rllte-hub/run.lock").read_text(), process)
    errors = run(untrained, code=1)
    assert f"Another rllte-hub run is working on {untrained}: process {process.pid} on " in errors
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


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


def test_a_signal_before_anything_runs_stops_at_once():
    with batch._Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
