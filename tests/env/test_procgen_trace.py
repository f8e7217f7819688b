"""Our Procgen is the original one, as record_procgen.py recorded it."""

from pathlib import Path

import numpy as np
import pytest

from rllte.env import make_envpool_procgen_env
from rllte.env.procgen import GAMES

pytestmark = pytest.mark.slow

TRACE = Path(__file__).with_name("procgen_trace.npz")
# Of a frame's 4,096. The two builds draw small turned sprites, such as bullets, with a pixel here and there
# of another colour: 9 at most in 83,000 frames, none in ten of the games. Rewards and ends never differ.
MAX_DIFFERING_PIXELS = 16


@pytest.fixture(scope="module")
def trace():
    with np.load(TRACE, allow_pickle=False) as arrays:
        return dict(arrays)


def replay(game, level, actions):
    """Return rewards, dones and the frames ``(num_steps + 1, 64, 64, 3)`` that the actions lead to."""
    envs = make_envpool_procgen_env(game, num_envs=1, num_levels=1, start_level=level)
    obs, _ = envs.reset()
    frames, rewards, dones = [obs], [], []
    for action in actions:
        obs, reward, terminated, truncated, _ = envs.step(np.array([action]))
        frames.append(obs)
        rewards.append(reward)
        dones.append(terminated | truncated)
    return np.concatenate(rewards), np.concatenate(dones), np.concatenate(frames).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("game", GAMES)
def test_rewards_ends_and_frames_are_those_of_the_original(trace, game):
    i = trace["games"].tolist().index(game)
    for run, level in enumerate(trace["levels"][i]):
        rewards, dones, frames = replay(game, int(level), trace["actions"])
        np.testing.assert_array_equal(rewards, trace["rewards"][i, run])
        np.testing.assert_array_equal(dones, trace["dones"][i, run])
        # at an end both show the next episode's first frame already
        differ = frames[trace["frame_steps"][i, run]] != trace["frames"][i, run]
        assert differ.any(-1).sum((1, 2)).max() <= MAX_DIFFERING_PIXELS


def test_every_recorded_run_has_a_reward_and_an_end(trace):
    assert trace["games"].tolist() == list(GAMES)
    assert trace["rewards"].any(-1).all()
    assert trace["dones"].any(-1).all()
