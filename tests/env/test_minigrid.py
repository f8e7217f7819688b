import warnings

import numpy as np
import pytest

from rllte.env import make_envpool_minigrid_env

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gymnasium as gym
    import minigrid  # noqa: F401  (registers its environments)


FIXED_START = ["Empty-5x5-v0", "Empty-6x6-v0", "Empty-8x8-v0", "Empty-16x16-v0"]


@pytest.mark.parametrize("env_id", [*FIXED_START, "MultiRoom-N2-S4-v0"])
def test_views_and_rewards_equal_those_of_minigrid_where_levels_can_be_the_same(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = gym.make(f"MiniGrid-{env_id}")
    ours = make_envpool_minigrid_env(env_id, num_envs=1, seed=0)
    obs, _ = ours.reset()
    reference, _ = theirs.reset(seed=0)
    np.testing.assert_array_equal(obs[0], reference["image"])
    generator, episodes = np.random.default_rng(0), 0
    for _ in range(600):
        action = generator.choice(7, p=[0.15, 0.15, 0.6, 0.025, 0.025, 0.025, 0.025])
        obs, reward, terminated, truncated, infos = ours.step(np.array([action]))
        reference, their_reward, their_terminated, their_truncated, _ = theirs.step(action)
        assert reward.item() == pytest.approx(their_reward)
        assert (terminated.item(), truncated.item()) == (their_terminated, their_truncated)
        if their_terminated or their_truncated:
            np.testing.assert_array_equal(infos["final_obs"][0], reference["image"])
            reference, _ = theirs.reset()
            episodes += 1
        np.testing.assert_array_equal(obs[0], reference["image"])
    assert episodes > 0 or env_id == "Empty-16x16-v0"


def test_each_multi_room_environment_has_the_levels_of_its_seed():
    envs = make_envpool_minigrid_env("MultiRoom-N2-S4-v0", num_envs=2, seed=[3, 5])
    first, second = envs.reset()[0], envs.reset()[0]
    alone = make_envpool_minigrid_env("MultiRoom-N2-S4-v0", num_envs=1, seed=5)
    assert alone.reset()[0][0].equal(first[1])
    assert alone.reset()[0][0].equal(second[1]), "without a seed the stream of levels goes on"
    assert envs.reset(seed=[3, 5])[0].equal(first)
    assert not second.equal(first)
