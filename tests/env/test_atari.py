import numpy as np
import pytest
import torch

from rllte.env import make_envpool_atari_env
from rllte.env.atari import AtariVectorEnv
from rllte.env.vector import discrete_space, integers
from rllte.errors import UnknownNameError


def play_random_games(env_id, num_games, **options):
    """Return the steps of one environment until some games are over: rewards, terminated, reports."""
    envs = make_envpool_atari_env(env_id, num_envs=1, seed=3, num_threads=1, **options)
    envs.reset()
    generator, steps, games = np.random.default_rng(0), [], 0
    while games < num_games:
        action = generator.integers(0, envs.single_action_space.n, 1)
        _, reward, terminated, truncated, infos = envs.step(action)
        report = (infos["episode"]["r"][0], infos["episode"]["l"][0]) if infos.get("_episode") else None
        steps.append((reward.item(), terminated.item(), report))
        assert not truncated
        games += report is not None
    return steps


def test_observations_are_stacked_grey_frames():
    envs = make_envpool_atari_env(env_id="Pong-v5", num_envs=2, seed=0, device="cpu", asynchronous=False)
    obs, _ = envs.reset(seed=0)
    assert (obs.shape, obs.dtype) == ((2, 4, 84, 84), torch.uint8)
    assert envs.single_action_space.n == 6


def test_a_full_game_ends_once_with_the_sum_of_its_rewards():
    steps = play_random_games("Breakout-v5", 2)
    ends = [i for i, (_, terminated, _) in enumerate(steps) if terminated]
    assert [steps[i][2] is not None for i in ends] == [True, True]
    first = steps[: ends[0] + 1]
    assert steps[ends[0]][2] == (sum(reward for reward, _, _ in first), len(first))


def test_in_training_every_life_ends_an_episode_and_the_game_is_reported_once():
    steps = play_random_games("Breakout-v5", 2, episodic_life=True, reward_clip=True)
    reports = [i for i, (_, _, report) in enumerate(steps) if report]
    lives = [i for i, (_, terminated, _) in enumerate(steps) if terminated]
    assert len(lives) == 10, "five lives in each of two games"
    assert reports == [lives[4], lives[9]]
    assert steps[reports[1]][2][1] == reports[1] - reports[0], "the length of the second game"


def test_clipped_rewards_are_signs_and_the_report_is_the_score_of_the_game():
    steps = play_random_games("BeamRider-v5", 1, episodic_life=True, reward_clip=True)
    rewards = [reward for reward, _, _ in steps]
    assert set(rewards) == {0.0, 1.0}
    # every enemy of the first sector gives 44 points
    assert steps[-1][2][0] == 44 * sum(rewards) > 0


def test_a_lost_life_does_not_start_the_game_anew():
    envs = make_envpool_atari_env("Breakout-v5", num_envs=1, seed=3, episodic_life=True)
    envs.reset()
    lives = []
    for _ in range(200):
        *_, terminated, _, infos = envs.step(np.array([0]))
        if terminated:
            lives.append("_episode" in infos)
    assert lives[:5] == [False, False, False, False, True]


@pytest.mark.parametrize("episodic_life", [False, True])
def test_a_game_at_the_time_limit_is_truncated_and_reported(episodic_life):
    envs = AtariVectorEnv(
        "Pong-v5", num_envs=2, seed=0, device="cpu", observation_space=lambda space: space,
        action_space=discrete_space, read_obs=lambda raw: raw, write_action=integers,
        episodic_life=episodic_life, reward_clip=False, max_episode_steps=20,
    )  # fmt: skip
    envs.reset()
    for step in range(1, 21):
        *_, terminated, truncated, infos = envs.step(np.array([0, 0]))
        assert not terminated.any()
        assert truncated.tolist() == [step == 20] * 2
    assert infos["_episode"].tolist() == [True, True]
    assert infos["episode"]["l"].tolist() == [20, 20]


@pytest.mark.parametrize("env_id", ["Pong-v4", "pong", "Empty-5x5-v0"])
def test_an_unknown_game_is_refused(env_id):
    with pytest.raises(UnknownNameError, match="Unknown env_id"):
        make_envpool_atari_env(env_id)


def test_a_step_in_two_halves_gives_what_a_whole_one_gives():
    whole, halves = (
        make_envpool_atari_env("Breakout-v5", num_envs=3, seed=5, asynchronous=asynchronous)
        for asynchronous in (False, True)
    )
    assert torch.equal(whole.reset()[0], halves.reset()[0])
    generator = np.random.default_rng(0)
    for _ in range(300):
        actions = generator.integers(0, 4, 3)
        halves.step_async(actions)
        for one, other in zip(whole.step(actions)[:4], halves.step_wait()[:4], strict=True):
            assert torch.equal(one, other)
