import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from rllte.config import cache_dir
from rllte.errors import HubError, MissingArtifactError, MissingExtraError, UnknownNameError
from rllte.hub import Atari, DMControl, MiniGrid, Procgen, available
from rllte.tables import CURVES, SCORES, read_parquet
from tests.conftest import CELL, RUNS, edit_yaml

NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}


def cached_files():
    return [path for path in cache_dir().rglob("*") if path.is_file()]


def test_scores_are_those_of_the_runs(hub, published_hub):
    scores = MiniGrid().load_scores(**NAMES)
    assert (scores.shape, scores.dtype) == ((2, 4), np.float32)
    for run, row in zip(RUNS, scores, strict=True):
        table = read_parquet((published_hub / run.path("scores")).read_bytes(), SCORES, "scores")
        assert table.column("episode_return").to_pylist() == row.tolist()


def test_curves_have_two_splits_and_their_step_axes(hub, published_hub):
    curves = MiniGrid().load_curves(**NAMES)
    assert set(curves) == {"train", "eval"}
    assert curves["eval"].shape == curves["train"].shape == (2, 2)
    assert curves.eval_steps.tolist() == curves.train_steps.tolist() == [512, 1024]
    table = read_parquet((published_hub / RUNS[1].path("curves")).read_bytes(), CURVES, "curves").to_pylist()
    expected = [row["episode_return"] for row in table if row["split"] == "eval"]
    assert curves["eval"][1].tolist() == expected


def test_a_model_gives_logits_in_eval_mode(hub):
    model = MiniGrid().load_models(**NAMES, seed=1, device="cpu")
    assert isinstance(model, torch.jit.ScriptModule)
    assert not model.training
    assert model(torch.zeros(3, 7, 7, 3, dtype=torch.uint8)).shape == (3, 7)


def test_arguments_may_be_given_by_position(hub):
    scores = MiniGrid().load_scores("Empty-5x5-v0", "ppo")
    assert np.array_equal(scores, MiniGrid().load_scores("MiniGrid-Empty-5x5-v0", "PPO"))
    assert MiniGrid().load_models("Empty-5x5-v0", "ppo", 0, "cpu").training is False


def test_an_api_trains_with_the_settings_of_the_pipeline_and_with_changed_ones(hub):
    agent = MiniGrid().load_apis(agent="PPO", env_id="Empty-5x5-v0", seed=1, device="cpu")
    assert (agent.seed, agent.num_train_steps, agent.config.num_steps) == (1, 1024, 32)
    changed = MiniGrid().load_apis(agent="PPO", env_id="Empty-5x5-v0", learning_rate=1e-3, num_eval_envs=1)
    assert (changed.config.learning_rate, changed.settings.num_eval_envs) == (1e-3, 1)
    assert "minigrid/Empty-5x5-v0" in changed.env_name
    agent.train(num_train_steps=5.12e2)
    assert agent.env_step == 512


def test_training_by_the_api_gives_the_published_weights(hub, published_hub):
    import safetensors.torch

    agent = MiniGrid().load_apis(**NAMES, seed=1)
    agent.train()
    stored = safetensors.torch.load((published_hub / RUNS[1].path("policy")).read_bytes())
    for name, value in agent.policy.state_dict().items():
        assert torch.equal(value, stored[name])


def test_a_planned_cell_can_be_trained_at_the_paper_scale(hub):
    agent = MiniGrid().load_apis(agent="ppo", env_id="DoorKey-5x5-v0")
    assert agent.num_train_steps == 1_000_000


def test_training_leaves_the_folder_of_the_user_alone(hub, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    MiniGrid().load_apis(**NAMES).train(512)
    assert os.getcwd() == str(folder)
    assert list(folder.iterdir()) == []


def test_available_lists_published_cells_alone(hub):
    (row,) = available()
    assert (row["benchmark"], row["agent"], row["env_id"]) == ("minigrid", "ppo", "Empty-5x5-v0")
    assert (row["seeds"], row["num_episodes"], row["scale"]) == ([0, 1], 4, "published")
    assert row["mean"] == pytest.approx(MiniGrid().load_scores(**NAMES).mean(), abs=1e-4)
    assert row["interval"][0] <= row["mean"] <= row["interval"][1]
    assert available("minigrid", "PPO", "MiniGrid-Empty-5x5-v0") == [row]
    assert available("dmc") == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MiniGrid().load_scores("Empty-5x5-v1", "ppo"), "Did you mean 'Empty-5x5-v0'"),
        (lambda: MiniGrid().load_scores("../../etc/passwd", "ppo"), r"Unknown env_id '../../etc/passwd'"),
        (lambda: MiniGrid().load_scores("Empty-5x5-v0", "pp0"), "Did you mean 'ppo'"),
        (lambda: MiniGrid().load_scores("Empty-5x5-v0", "ppo", split="test"), "Unknown split 'test'"),
        (lambda: MiniGrid().load_models("Empty-5x5-v0", "ppo", seed=7), r"Unknown seed '7' .*Known: 0, 1"),
        (lambda: MiniGrid().load_apis("Empty-5x5-v0", "ppo", learning_rat=1), "Did you mean 'learning_rate'"),
        (lambda: DMControl().load_scores("cheetah_fly", "sac"), "Did you mean 'cheetah_run'"),
        (lambda: available("minigrd"), "Did you mean 'minigrid'"),
        (lambda: available("minigrid", "ppo", "Empty-5x5"), "Did you mean 'Empty-5x5-v0'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_match(hub, call, message):
    with pytest.raises(UnknownNameError, match=message) as caught:
        call()
    assert caught.value.known


@pytest.mark.parametrize(
    "call",
    [
        lambda: MiniGrid().load_scores("DoorKey-5x5-v0", "ppo"),
        lambda: MiniGrid().load_models("Empty-5x5-v0", "a2c"),
        lambda: DMControl().load_curves(agent="DrQ-v2", env_id="cheetah_run"),
        lambda: Atari().load_models(agent="ppo", env_id="BeamRider-v5", seed=0, device="cuda"),
        lambda: Procgen().load_curves(agent="PPG", env_id="maze"),
    ],
)
def test_a_planned_cell_says_so(hub, call):
    with pytest.raises(MissingArtifactError, match="is planned"):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_an_error_before_anything_is_read(hub):
    with pytest.raises(HubError, match="device is 'cuda', but PyTorch sees no CUDA devices"):
        MiniGrid().load_models(**NAMES, device="cuda")
    assert cached_files() == []


def test_reads_go_to_the_checkout_then_the_cache_then_the_remote(hub, published_hub):
    path = hub / CELL.path("scores")
    expected = MiniGrid().load_scores(**NAMES)
    assert len(cached_files()) == 1, "fetched from the remote into the cache"
    (hub / "remote").rename(hub / "away")
    assert np.array_equal(MiniGrid().load_scores(**NAMES), expected), "read from the cache"
    cached_files()[0].unlink()
    path.parent.mkdir(parents=True)
    path.write_bytes((published_hub / CELL.path("scores")).read_bytes())
    assert np.array_equal(MiniGrid().load_scores(**NAMES), expected), "read from the checkout"
    assert cached_files() == []


def test_without_any_copy_the_error_says_what_to_pull(hub):
    (hub / "remote").rename(hub / "away")
    with pytest.raises(
        MissingArtifactError, match=r"dvc pull data/minigrid/ppo/Empty-5x5-v0/scores\.parquet"
    ):
        MiniGrid().load_scores(**NAMES)


def test_a_damaged_cache_is_fetched_again(hub):
    expected = MiniGrid().load_scores(**NAMES)
    (cached,) = cached_files()
    cached.write_bytes(cached.read_bytes()[:-1])
    assert np.array_equal(MiniGrid().load_scores(**NAMES), expected)


def flipped(data, place):
    """Return bytes of equal length of which the one at a place has another bit."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_byte_that_flipped_in_the_cache_or_in_the_checkout_is_never_returned(hub):
    expected = MiniGrid().load_scores(**NAMES)
    (cached,) = cached_files()
    good = cached.read_bytes()
    path = hub / CELL.path("scores")
    path.parent.mkdir(parents=True)
    for place in (0, len(good) // 2, len(good) - 1):
        cached.write_bytes(flipped(good, place))
        path.write_bytes(flipped(good, place))
        assert np.array_equal(MiniGrid().load_scores(**NAMES), expected)
        assert cached.read_bytes() == good, "it was fetched again"


def test_a_file_changed_in_the_checkout_is_passed_over(hub):
    path = hub / CELL.path("scores")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)
    assert path.read_bytes() == b"mine"


def test_bytes_with_another_hash_are_never_returned(hub):
    content = json.loads((hub / "catalogue.json").read_text())
    row = next(row for row in content["artifacts"] if row["path"] == CELL.path("scores"))
    row["sha256"] = "0" * 64
    (hub / "catalogue.json").write_text(json.dumps(content))
    with pytest.raises(HubError, match=rf"{CELL.path('scores')} in remote .* is damaged: it has sha256"):
        MiniGrid().load_scores(**NAMES)
    assert cached_files() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("md5", "x" * 32), ("sha256", ""), ("benchmark", "../../etc"), ("seed", 7), ("kind", "model")],
)
def test_a_hostile_catalogue_reads_nothing(hub, field, value):
    content = json.loads((hub / "catalogue.json").read_text())
    for row in content["artifacts"]:
        row[field] = value
    (hub / "catalogue.json").write_text(json.dumps(content))
    with pytest.raises(HubError):
        MiniGrid().load_scores(**NAMES)
    assert cached_files() == []


def test_a_folder_that_is_no_checkout_is_an_error(tmp_path):
    with pytest.raises(HubError, match=r"no catalogue.json, so it is not a checkout"):
        MiniGrid(repo=tmp_path).load_scores(**NAMES)


def test_a_broken_catalogue_is_an_error(hub):
    (hub / "catalogue.json").write_text("{}")
    with pytest.raises(HubError, match="is not a catalogue"):
        available()


def test_a_model_that_is_no_torchscript_is_an_error(hub):
    from rllte.files import md5, sha256

    data = b"not a model"
    path = RUNS[0].path("model")
    (hub / path).parent.mkdir(parents=True)
    (hub / path).write_bytes(data)
    content = json.loads((hub / "catalogue.json").read_text())
    row = next(row for row in content["artifacts"] if row["path"] == path)
    row.update(md5=md5(data), sha256=sha256(data), size=len(data))
    (hub / "catalogue.json").write_text(json.dumps(content))
    with pytest.raises(HubError, match=r"seed-0/model.pt is not a TorchScript model"):
        MiniGrid().load_models(**NAMES)


def test_a_cache_that_cannot_be_written_is_an_error_with_a_way_out(hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(HubError, match="set RLLTE_HUB_CACHE to another folder"):
        MiniGrid().load_scores(**NAMES)


def test_an_unknown_scale_is_refused(hub):
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        MiniGrid().load_apis("DoorKey-5x5-v0", "ppo", scale="papr")


def test_a_planned_cell_can_be_built_at_the_published_scale(hub):
    small, large = (
        DMControl().load_apis("walker_run", "sac", scale=scale) for scale in ("published", "paper")
    )
    assert (small.config.hidden_dim, large.config.hidden_dim) == (256, 1024)
    assert small.num_train_steps == large.num_train_steps == 2_000_000


def test_an_agent_that_serves_another_benchmark_is_refused_with_its_benchmarks(hub):
    with pytest.raises(
        UnknownNameError, match=r"Unknown agent 'sac' .*It runs on dmc; this benchmark has ppo, a2c, impala"
    ):
        Atari().load_apis("Pong-v5", "sac")


@pytest.mark.parametrize("seed", ["0", 0.0, -1])
def test_a_seed_that_is_no_whole_number_is_refused(hub, seed):
    with pytest.raises(HubError, match=r"seed is .* a seed is a whole number"):
        MiniGrid().load_models(**NAMES, seed=seed)


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("torch", "MiniGrid().load_models('Empty-5x5-v0', 'ppo')"),
        ("envpool", "MiniGrid().load_apis('Empty-5x5-v0', 'ppo')"),
    ],
)
def test_a_missing_extra_is_named(hub, missing, call):
    program = f"import sys; sys.modules[{missing!r}] = None\nfrom rllte.hub import MiniGrid\n{call}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    extra = {"torch": "torch", "envpool": "train"}[missing]
    assert f'{missing}. Install it with: pip install "rllte-hub[{extra}]"' in result.stderr
    assert MissingExtraError.__name__ in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda params: params["hyperparameters"].update(learning_rate="5e-4"),
            r"hyperparameters.learning_rate is the text '5e-4'; write 5.0e-4",
        ),
        (
            lambda params: params["hyperparameters"].update(gama=0.9),
            "Unknown key 'gama'.*Did you mean 'gamma'",
        ),
        (lambda params: params["hyperparameters"].pop("gamma"), "hyperparameters.gamma is missing"),
        (lambda params: params.update(version="1"), r"version is the text '1'; write 1\."),
    ],
)
def test_settings_of_the_wrong_kind_name_file_and_key(hub, change, message):
    edit_yaml(hub / "pipelines/minigrid/ppo/params.yaml", change)
    with pytest.raises(HubError, match=message) as caught:
        MiniGrid().load_apis(**NAMES)
    assert "pipelines/minigrid/ppo/params.yaml" in str(caught.value)
