import gymnasium as gym
import numpy as np
import pytest
import torch

from rllte.common.utils import get_episode_statistics
from rllte.env import ENVS, make_envpool_dmc_env, make_envpool_minigrid_env
from rllte.errors import HubError, UnknownNameError
from rllte.extras import load

FORWARD, RIGHT, LEFT = 2, 1, 0
TO_THE_GOAL = [FORWARD, FORWARD, RIGHT, FORWARD, FORWARD]  # in Empty-5x5 the goal is in the far corner


def make(benchmark, **kwargs):
    return load(ENVS[benchmark], "Environments need")(**kwargs)


@pytest.mark.parametrize("benchmark", ENVS)
def test_step_gives_tensors_of_the_declared_spaces(benchmark):
    envs = make(benchmark, num_envs=3, seed=0)
    obs, _ = envs.reset()
    assert isinstance(envs, gym.vector.VectorEnv)
    assert obs.shape == (3, *envs.single_observation_space.shape)
    assert envs.single_observation_space.contains(obs[0].numpy())
    obs, rewards, terminated, truncated, _ = envs.step(torch.from_numpy(envs.action_space.sample()))
    assert obs.shape == (3, *envs.single_observation_space.shape)
    assert (rewards.shape, rewards.dtype) == ((3,), torch.float32)
    assert terminated.dtype == truncated.dtype == torch.bool


@pytest.mark.parametrize("benchmark", ENVS)
def test_same_seed_gives_the_same_episodes(benchmark):
    def trace():
        envs = make(benchmark, num_envs=2, seed=[7, 8])
        envs.action_space.seed(0)
        obs = [envs.reset()[0]]
        for _ in range(20):
            obs.append(envs.step(envs.action_space.sample())[0])
        return torch.stack(obs)

    assert torch.equal(trace(), trace())


def test_reset_with_a_seed_starts_the_streams_anew_and_without_goes_on():
    envs = make_envpool_dmc_env("cartpole_balance", num_envs=2, seed=3)
    first, _ = envs.reset()
    second, _ = envs.reset()
    again, _ = envs.reset(seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_episode_is_reported_where_it_ends_and_the_next_one_has_begun():
    envs = make_envpool_minigrid_env("Empty-5x5-v0", num_envs=2, seed=0)
    start, _ = envs.reset()
    for action in TO_THE_GOAL:
        obs, rewards, terminated, truncated, infos = envs.step(torch.tensor([action, LEFT]))
    # the reward of minigrid is 1 - 0.9 × steps / max_steps, and max_steps is 4 × 5 × 5
    assert rewards.tolist() == pytest.approx([1 - 0.9 * 5 / 100, 0.0])
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, False])
    assert infos["_episode"].tolist() == [True, False]
    assert infos["episode"]["r"].tolist() == pytest.approx([0.955, 0.0])
    assert infos["episode"]["l"].tolist() == [5, 0]
    assert torch.equal(obs[0], start[0]), "the returned observation is the first of the next episode"
    assert not torch.equal(infos["final_obs"][0], start[0]), "the last observation is kept"
    assert torch.equal(infos["final_obs"][1], obs[1])


@pytest.mark.parametrize("benchmark", ["minigrid", "procgen"])
def test_a_vector_gives_each_environment_what_it_gives_alone_also_where_only_some_end(benchmark):
    options = {"minigrid": {"env_id": "Empty-5x5-v0"}, "procgen": {"env_id": "starpilot"}}[benchmark]
    seeds = [3, 8, 1]
    together = make(benchmark, num_envs=3, seed=seeds, **options)
    alone = [make(benchmark, num_envs=1, seed=[seed], **options) for seed in seeds]
    generator, ends = np.random.default_rng(0), set()
    obs = together.reset()[0]
    assert torch.equal(obs, torch.cat([envs.reset()[0] for envs in alone]))
    for _ in range(150):
        actions = generator.integers(0, together.single_action_space.n, 3)
        obs, rewards, terminated, truncated, _ = together.step(actions)
        singles = [envs.step(actions[i : i + 1]) for i, envs in enumerate(alone)]
        for whole, k in ((obs, 0), (rewards, 1), (terminated, 2), (truncated, 3)):
            assert torch.equal(whole, torch.cat([single[k] for single in singles]))
        ends.add(tuple((terminated | truncated).tolist()))
    assert any(0 < sum(end) < 3 for end in ends), "some ended while others went on"


def test_a_whole_number_as_seed_gives_each_environment_a_seed_of_its_own():
    def first(seed):
        return make_envpool_dmc_env("cartpole_balance", num_envs=3, seed=seed).reset()[0]

    assert torch.equal(first(5), first([5, 6, 7]))
    assert len({tuple(row) for row in first(5).tolist()}) == 3


def test_every_step_after_an_end_is_a_transition():
    envs = make_envpool_minigrid_env("Empty-5x5-v0", num_envs=1, seed=0)
    envs.reset()
    returns, lengths = [], []
    for action in TO_THE_GOAL * 3:
        *_, infos = envs.step(torch.tensor([action]))
        more_returns, more_lengths = get_episode_statistics(infos)
        returns += more_returns
        lengths += more_lengths
    assert lengths == [5, 5, 5]
    assert returns == pytest.approx([0.955] * 3)


def test_a_time_limit_truncates_and_does_not_terminate():
    envs = make_envpool_dmc_env("cartpole_balance", num_envs=1, seed=0)
    envs.reset()
    for step in range(1, 1001):
        _, _, terminated, truncated, infos = envs.step(torch.zeros(1, 1))
        assert not terminated
        assert truncated.item() == (step == 1000)
    assert get_episode_statistics(infos)[1] == [1000]


def test_a_minigrid_time_limit_truncates_after_max_steps():
    envs = make_envpool_minigrid_env("Empty-5x5-v0", num_envs=1, seed=0)
    envs.reset()
    for _ in range(100):
        _, reward, terminated, truncated, _ = envs.step(torch.tensor([0]))
    assert (reward.item(), terminated.item(), truncated.item()) == (0.0, False, True)


def test_statistics_of_a_step_without_an_end_are_empty():
    assert get_episode_statistics({}) == ([], [])


def test_minigrid_names_work_with_and_without_their_prefix():
    seeds = {"num_envs": 1, "seed": 4}
    short, _ = make_envpool_minigrid_env("DoorKey-5x5-v0", **seeds).reset()
    long, _ = make_envpool_minigrid_env("MiniGrid-DoorKey-5x5-v0", **seeds).reset()
    assert torch.equal(short, long)


@pytest.mark.parametrize(
    ("benchmark", "env_id", "message"),
    [
        ("minigrid", "Empty-5x5-v1", "Did you mean 'Empty-5x5-v0'"),
        ("dmc", "cheeta_run", "Did you mean 'cheetah_run'"),
        ("dmc", "../../etc/passwd", "Unknown env_id"),
    ],
)
def test_an_unknown_env_id_is_an_error_with_the_nearest_match(benchmark, env_id, message):
    with pytest.raises(UnknownNameError, match=message):
        make(benchmark, env_id=env_id)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"num_envs": 2, "seed": [1]}, "1 seeds for 2 environments"),
        ({"num_envs": 1, "seed": -1}, r"seed is -1; environment seeds lie in \[0, 2\*\*31\)"),
    ],
)
def test_impossible_vectors_are_refused(kwargs, message):
    with pytest.raises(HubError, match=message):
        make_envpool_minigrid_env("Empty-5x5-v0", **kwargs)


def test_dmc_refuses_actions_of_the_wrong_shape():
    envs = make_envpool_dmc_env("cheetah_run", num_envs=2)
    envs.reset()
    with pytest.raises(HubError, match=r"actions have shape \(2, 1\); cheetah_run takes \(2, 6\)"):
        envs.step(np.zeros((2, 1)))
