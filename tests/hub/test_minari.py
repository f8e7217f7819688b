"""Demonstrations as Minari reads them."""

import json

import numpy as np
import pytest

from rllte.errors import HubError
from rllte.hub.demonstrations import Demonstrations
from rllte.hub.minari_export import export_minari, minari_id
from rllte.names import Cell
from tests.hub.test_demonstrations import file_of

minari = pytest.importorskip("minari")

FACTS = {"cell": "minigrid/ppo/Empty-5x5-v0", "level": "expert", "action_space": "Discrete(7)", "model": "m"}
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 1, 40, 40), np.uint8)


def small(**options):
    return Demonstrations(file_of([IMAGE, IMAGE[:2]], [[0, 1], [6]], changes=FACTS, **options), "small")


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("minigrid/ppo/Empty-5x5-v0", "rllte/minigrid/empty5x5/expert-v0"),
        ("dmc/sac/cheetah_run", "rllte/dmc/cheetahrun/expert-v0"),
        ("atari/ppo/BeamRider-v5", "rllte/atari/beamrider/expert-v0"),
    ],
)
def test_a_dataset_is_named_by_benchmark_environment_and_level(cell, name):
    assert minari_id(Cell.parse(cell), "expert") == name


def test_minari_reads_what_was_written_without_loss(tmp_path, monkeypatch):
    demonstrations = small(stack_size=2)
    folder = export_minari(demonstrations, "rllte/a/b/expert-v0", tmp_path, low=0.1, high=0.9)
    assert folder == tmp_path / "rllte/a/b/expert-v0"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert list(minari.list_local_datasets()) == ["rllte/a/b/expert-v0"]
    dataset = minari.load_dataset("rllte/a/b/expert-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 3)
    assert dataset.action_space.n == 7
    assert dataset.observation_space.shape == (2, 40, 40)
    for read, episode in zip(dataset, demonstrations.values(), strict=True):
        assert np.array_equal(read.observations, episode["observations"])
        assert np.array_equal(read.actions, episode["actions"])
        assert np.array_equal(read.rewards, episode["rewards"])
        assert np.array_equal(read.terminations, episode["terminateds"])
        assert np.array_equal(read.truncations, episode["truncateds"])
    assert minari.get_normalized_score(dataset, np.array([0.1, 0.9])).tolist() == pytest.approx([0, 1])
    metadata = json.loads((folder / "data/0/metadata.json").read_text())
    assert metadata["seed"] == demonstrations.metadata["env_seeds"][0]


def test_continuous_actions_have_their_bounds(tmp_path, monkeypatch):
    data = file_of(
        [[[0.5, -2.0], [1e-9, 3.0]]], [[[0.25, -1.0]]], dtype="float32",
        changes={**FACTS, "action_space": "Box(-1.0, 1.0, (2,), float32)"},
    )  # fmt: skip
    export_minari(Demonstrations(data, "states"), "rllte/one-v0", tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("rllte/one-v0")
    assert (dataset.action_space.low.tolist(), dataset.action_space.high.tolist()) == ([-1, -1], [1, 1])
    assert dataset[0].actions.tolist() == [[0.25, -1.0]]


def test_a_dataset_that_exists_is_kept_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    export_minari(small(), "rllte/one-v0", tmp_path)
    with pytest.raises(HubError, match=r"one-v0 exists\. Delete it, or choose another id"):
        export_minari(small(), "rllte/one-v0", tmp_path)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(minari.dataset.minari_storage.MinariStorage, "update_metadata", fail)
    with pytest.raises(OSError, match="No space left"):
        export_minari(small(), "rllte/two-v0", tmp_path)
    assert sorted(path.name for path in tmp_path.glob("**/*-v0")) == ["one-v0"]
    assert not list(tmp_path.glob(".new-*"))


def test_an_id_that_minari_does_not_allow_is_an_error(tmp_path):
    with pytest.raises(HubError, match="'x y' is not an id of Minari"):
        export_minari(small(), "x y", tmp_path)
