"""Demonstrations: what is written is what was played, and an interrupted attempt ends with the same bytes."""

import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllte import tables, torchscript
from rllte.agent.evaluation import acting
from rllte.errors import HubError, MissingArtifactError
from rllte.files import sha256
from rllte.hub.demonstrations import Demonstrations
from rllte.hub.store.source import make_source
from rllte.names import Cell, Dataset, Run
from rllte.recipes.build import make_envs
from rllte.recipes.project import Project
from rllte.recipes.spec import DemonstrationSettings
from rllte.stages import demonstrate as stage
from tests.conftest import CELL, ROOT, RUNS, edit_yaml

pytestmark = pytest.mark.slow

SETTINGS = DemonstrationSettings(num_episodes=3, num_envs=2, noise=0.25, num_threads=1)
CELLS = [
    "minigrid/ppo/DoorKey-5x5-v0",
    "minigrid/ppo/MultiRoom-N2-S4-v0",  # of package minigrid
    "dmc/sac/cartpole_balance",
    "dmc/sac/finger_spin",  # of package dm_control
    "procgen/ppo/coinrun",
    "atari/ppo/Pong-v5",
]


def play(spec, tmp_path, level="random", player=None, settings=SETTINGS):
    return stage.make_demonstrations(spec, level, player, settings, tmp_path / "scratch")


@pytest.fixture
def player(published_hub):
    return stage.best_player(CELL, lambda owner, kind: (published_hub / owner.path(kind)).read_bytes())


@pytest.fixture
def spec(published_hub):
    return Project(published_hub).spec(CELL)


@pytest.mark.parametrize("name", CELLS)
def test_stored_actions_from_stored_seeds_give_the_stored_observations_and_rewards(name, tmp_path):
    spec = Project(ROOT).spec(Cell.parse(name))
    demonstrations = Demonstrations(play(spec, tmp_path), name)
    assert len(demonstrations) == 3
    for seed, episode in zip(demonstrations.metadata["env_seeds"], demonstrations.values(), strict=True):
        envs = make_envs(spec, 1, [seed], training=False)
        obs, _ = envs.reset()
        for step, action in enumerate(episode["actions"]):
            assert np.array_equal(obs[0].numpy(), episode["observations"][step])
            obs, rewards, terminated, truncated, infos = envs.step(action[None])
            assert rewards.tolist() == [episode["rewards"][step]]
            assert terminated.tolist() == [episode["terminateds"][step]]
            assert truncated.tolist() == [episode["truncateds"][step]]
        assert (terminated | truncated).item(), "the episode is whole"
        assert np.array_equal(infos["final_obs"][0].numpy(), episode["observations"][-1])
        envs.close()


def test_random_actions_are_spread_evenly_over_the_action_space(tmp_path):
    spec = Project(ROOT).spec(Cell.parse("minigrid/ppo/DoorKey-8x8-v0"))
    demonstrations = Demonstrations(play(spec, tmp_path), "random")
    actions = np.concatenate([episode["actions"] for episode in demonstrations.values()])
    counts = np.bincount(actions, minlength=7)
    # five standard deviations of a binomial count
    assert (abs(counts - len(actions) / 7) < 5 * np.sqrt(len(actions) * 6 / 49)).all()


def test_an_expert_is_the_best_seed_and_plays_as_its_model_does(spec, published_hub, player, tmp_path):
    scores = tables.read_parquet(
        (published_hub / CELL.path("scores")).read_bytes(), tables.SCORES, "scores"
    ).to_pylist()
    means = [np.mean([row["episode_return"] for row in scores if row["seed"] == run.seed]) for run in RUNS]
    assert player.run == RUNS[int(np.argmax(means))]
    assert player.mean_score == pytest.approx(max(means), abs=1e-6)
    demonstrations = Demonstrations(play(spec, tmp_path, "expert", player), "expert")
    model = torchscript.load(player.model, "model")
    seeds = demonstrations.metadata["env_seeds"]
    envs = make_envs(spec, 2, seeds[:2], training=False)
    generator = torch.Generator().manual_seed(seeds[0])
    act = acting(model, envs.single_action_space, spec.evaluation.deterministic, generator)
    obs, _ = envs.reset()
    for step in range(min(demonstrations.lengths[:2])):
        actions = act(obs)
        assert actions.tolist() == [demonstrations[i]["actions"][step] for i in range(2)]
        obs, *_ = envs.step(actions)
    metadata = demonstrations.metadata
    assert metadata["model_sha256"] == sha256((published_hub / metadata["model"]).read_bytes())


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_noise_replaces_this_share_of_discrete_actions(spec, noise):
    always_last = lambda obs: torch.tensor([0.0, 0.0, 0.0, 1e9]).expand(len(obs), -1)  # noqa: E731
    act = stage._actor(
        spec, "noise", always_last, gym.spaces.Discrete(4), noise, torch.Generator().manual_seed(0)
    )
    actions = act(torch.zeros(10_000, 1))
    # a replaced action is the policy's own in one case of four
    assert (actions != 3).float().mean().item() == pytest.approx(0.75 * noise, abs=0.02)


def test_noise_is_added_to_continuous_actions_which_stay_in_their_bounds(spec):
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    policy = lambda obs: torch.tensor([0.0, 1.0]).expand(len(obs), -1)  # noqa: E731
    act = stage._actor(spec, "noise", policy, space, 0.3, torch.Generator().manual_seed(0))
    actions = act(torch.zeros(10_000, 1))
    assert actions[:, 0].std().item() == pytest.approx(0.3, abs=0.01)
    assert actions[:, 0].mean().item() == pytest.approx(0, abs=0.02)
    assert actions.abs().max().item() == 1
    assert (actions[:, 1] == 1).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_the_first_episodes_do_not_depend_on_how_many_follow(spec, player, tmp_path):
    more = DemonstrationSettings(num_episodes=5, num_envs=2, noise=0.25, num_threads=1)
    few = Demonstrations(play(spec, tmp_path, "noise", player), "few")
    many = Demonstrations(play(spec, tmp_path, "noise", player, more), "many")
    for name, episode in few.items():
        for key, values in episode.items():
            assert np.array_equal(values, many[name][key])


def test_what_was_played_before_an_interruption_is_kept_and_the_bytes_are_the_same(
    spec, player, tmp_path, monkeypatch
):
    whole = play(spec, tmp_path, "expert", player)
    shutil.rmtree(tmp_path / "scratch")
    rounds, make = [], stage.make_envs

    def interrupted(*arguments, **options):
        rounds.append(arguments)
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return make(*arguments, **options)

    monkeypatch.setattr(stage, "make_envs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        play(spec, tmp_path, "expert", player)
    assert play(spec, tmp_path, "expert", player) == whole
    assert len(rounds) == 3, "the first round was not played again"


def test_what_was_played_is_kept_until_the_file_is_written(published_hub, tmp_path, monkeypatch):
    root = shutil.copytree(published_hub, tmp_path / "hub")
    edit_yaml(
        root / "pipelines/minigrid/params.yaml",
        lambda params: params["demonstrations"].update(num_episodes=2, num_envs=2),
    )
    dataset, write = Dataset(CELL, "random"), stage.write_bytes

    def full(path, data):
        if path == root / dataset.path:
            raise OSError(28, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            stage.demonstrate(root, dataset)
    monkeypatch.setattr(stage, "make_envs", None)  # nothing is played again
    stage.demonstrate(root, dataset)
    assert (root / dataset.path).exists()
    assert not list(root.glob("scratch/demonstrations/*/*/*/*"))


def test_noise_for_a_level_without_noise_is_an_error(published_hub, tmp_path):
    source = make_source(published_hub)
    with pytest.raises(HubError, match=r"noise is 0\.5, but the level is expert\. Leave it out"):
        stage.demonstrate_on_demand(source, Dataset(CELL, "expert"), tmp_path / "d.parquet", noise=0.5)


def test_a_cell_whose_files_are_not_here_and_a_level_that_it_lacks_are_errors(published_hub, tmp_path):
    root = shutil.copytree(published_hub, tmp_path / "hub")
    (root / Run(CELL, 0).path("model")).unlink()
    (root / Run(CELL, 1).path("model")).unlink()
    with pytest.raises(MissingArtifactError, match=r"model\.pt is not here\. Get it with: dvc pull"):
        stage.demonstrate(root, Dataset(CELL, "expert"))
    with pytest.raises(HubError, match="trained by intrinsic rewards alone"):
        play(Project(root).spec(CELL), tmp_path, "exploration")
