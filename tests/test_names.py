import pickle

import numpy as np
import pytest

from rllte.errors import HubError, MissingArtifactError, MissingExtraError, UnknownNameError
from rllte.extras import load
from rllte.files import md5, sha256, write_bytes
from rllte.names import Cell, Run, benchmark_name


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("minigrid/ppo/Empty-6x6-v0", Cell("minigrid", "ppo", "Empty-6x6-v0")),
        ("MiniGrid/PPO/MiniGrid-Empty-6x6-v0", Cell("minigrid", "ppo", "Empty-6x6-v0")),
        ("dm_control/DrQ-v2/cheetah_run", Cell("dmc", "drqv2", "cheetah_run")),
    ],
)
def test_a_cell_is_read_whatever_its_spelling(text, cell):
    assert Cell.parse(text) == cell


def test_a_run_names_its_files():
    run = Run.parse("dmc/sac/cheetah_run/seed-3")
    assert str(run) == "dmc/sac/cheetah_run/seed-3"
    assert run.path("curves") == "data/runs/dmc/sac/cheetah_run/seed-3/curves.parquet"
    assert run.path("model") == "models/dmc/sac/cheetah_run/seed-3/model.pt"
    assert run.cell.path("scores") == "data/dmc/sac/cheetah_run/scores.parquet"
    assert run.cell.stage_file == "pipelines/dmc/sac/dvc.yaml"


@pytest.mark.parametrize("text", ["minigrid/ppo", "minigrid/ppo/a/b/c", ""])
def test_a_text_of_another_form_is_no_cell(text):
    with pytest.raises(HubError, match="is not a cell"):
        Cell.parse(text)


@pytest.mark.parametrize("text", ["minigrid/ppo/Empty-6x6-v0", "dmc/sac/cheetah_run/seed--1", "a/b/c/seed-x"])
def test_a_text_of_another_form_is_no_run(text):
    with pytest.raises(HubError, match="is not a run"):
        Run.parse(text)


@pytest.mark.parametrize("env_id", ["../../etc/passwd", "/etc/passwd", "", "a b", ".."])
def test_a_name_that_is_no_plain_word_makes_no_path(env_id):
    with pytest.raises(HubError, match="names have letters, digits"):
        Cell("minigrid", "ppo", env_id)


def test_a_seed_of_numpy_is_a_plain_number():
    assert Run.parse("dmc/sac/cheetah_run/seed-3") == Run(Cell("dmc", "sac", "cheetah_run"), np.int64(3))
    assert type(Run(Cell("dmc", "sac", "cheetah_run"), np.int64(3)).seed) is int


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "0", None])
def test_a_seed_that_tables_cannot_hold_is_refused(seed):
    with pytest.raises(HubError, match=f"seed is {seed!r}; a seed is a whole number from 0 to 2,147,483,647"):
        Run(Cell("dmc", "sac", "cheetah_run"), seed)


def test_an_unknown_benchmark_has_the_nearest_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'procgen'") as caught:
        benchmark_name("progen")
    assert caught.value.name == "progen"
    assert "atari" in caught.value.known


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    write_bytes(path, b"one")
    with pytest.raises(TypeError):
        write_bytes(path, "text")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_hashes_are_those_of_the_tools():
    # printf abc | md5sum; printf abc | sha256sum
    assert md5(b"abc") == "900150983cd24fb0d6963f7d28e17f72"
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'Plots need matplotlib. .*"rllte-hub\[plot\]"') as caught:
        load("matplotlib:__version__", "Plots need")
    assert (caught.value.package, caught.value.extra) == ("matplotlib", "plot")


@pytest.mark.parametrize(
    "error",
    [
        HubError("text"),
        UnknownNameError("agent", "pp", ["ppo"], where="here"),
        MissingArtifactError("data/x", "text"),
        MissingExtraError("Plots need", "matplotlib", "plot"),
    ],
)
def test_an_error_comes_whole_out_of_a_worker_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_missing_module_of_another_package_stays_an_import_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load("no_such_module:x", "This needs")
