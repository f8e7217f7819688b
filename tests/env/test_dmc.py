import warnings

import numpy as np
import pytest
import torch

from rllte.env.dmc import TASKS, caught, make_envpool_dmc_env

pytestmark = pytest.mark.slow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.env.dmc_state import flatten, load_suite, set_state_from_observation

# the observations of these do not tell how the body lies, so no state can be found from them
HIDDEN = {"fish_swim", "fish_upright", "quadruped_run", "quadruped_walk"}


@pytest.mark.parametrize("env_id", sorted(set(TASKS) - HIDDEN))
def test_rewards_and_observations_equal_those_of_dm_control_from_the_same_state(env_id):
    ours, theirs = make_envpool_dmc_env(env_id, num_envs=1, seed=5), load_suite(env_id)
    theirs.reset()
    obs, _ = ours.reset()
    assert set_state_from_observation(theirs, obs[0].double().numpy()) < 1e-6
    bounds, generator = theirs.action_spec(), np.random.default_rng(0)
    for t in range(50):
        action = generator.uniform(-1, 1, bounds.shape).astype(np.float32)
        obs, reward, _, _, _ = ours.step(action[None])
        scaled = bounds.minimum + (action.astype(np.float64) + 1) / 2 * (bounds.maximum - bounds.minimum)
        step = theirs.step(scaled)
        assert reward.item() == pytest.approx(step.reward, abs=1e-5)
        # a humanoid's heading is not shown, and turns its velocities; after hard contacts, tiny
        # differences between two versions of MuJoCo grow
        if not env_id.startswith("humanoid") and t < 10:
            np.testing.assert_allclose(obs[0], flatten(step.observation), atol=1e-4)


@pytest.mark.parametrize(
    ("env_id", "num_envs"),
    [
        ("acrobot_swingup", 80),  # these earn where they begin
        ("hopper_stand", 120),
        ("pendulum_swingup", 80),
        ("reacher_easy", 16),
        ("reacher_hard", 16),
    ],
)
def test_rare_rewards_are_earned_where_dm_control_gives_them(env_id, num_envs):
    ours, theirs = make_envpool_dmc_env(env_id, num_envs=num_envs, seed=5), load_suite(env_id)
    ours.reset()
    generator, seen = np.random.default_rng(0), []
    while len(seen) < 3:
        actions = generator.uniform(-1, 1, ours.action_space.shape).astype(np.float32)
        obs, rewards, *_ = ours.step(actions)
        seen += [(obs[i], actions[i], rewards[i].item()) for i in np.flatnonzero(rewards > 0)]
    seen = seen[:3] + [(obs[i], actions[i], 0.0) for i in np.flatnonzero(rewards == 0)[:2]]
    for observation, action, reward in seen:
        theirs.reset()
        assert set_state_from_observation(theirs, observation.double().numpy()) < 1e-6
        theirs.physics.set_control(action)
        assert reward == pytest.approx(theirs.task.get_reward(theirs.physics), abs=1e-5)


@pytest.mark.parametrize("env_id", ["finger_spin", "finger_turn_easy", "finger_turn_hard"])
def test_finger_is_dm_controls_own(env_id):
    ours, theirs = make_envpool_dmc_env(env_id, num_envs=2, seed=[7, 3]), load_suite(env_id, seed=3)
    np.testing.assert_array_equal(ours.reset()[0][1], flatten(theirs.reset().observation).astype(np.float32))
    generator = np.random.default_rng(0)
    for t in range(1, 1003):
        actions = generator.uniform(-1, 1, (2, 2)).astype(np.float32)
        obs, rewards, terminated, truncated, infos = ours.step(actions)
        step = theirs.step(actions[1].astype(np.float64))
        reference = flatten(step.observation).astype(np.float32)
        assert (rewards[1].item(), terminated[1].item(), truncated[1].item()) == (
            step.reward,
            False,
            t == 1000,
        )
        if step.last():
            np.testing.assert_array_equal(infos["final_obs"][1], reference)
            reference = flatten(theirs.reset().observation).astype(np.float32)
        np.testing.assert_array_equal(obs[1], reference)


def test_the_ball_is_caught_where_dm_control_says_so():
    num_envs = 60
    ours, theirs = make_envpool_dmc_env("cup_catch", num_envs=num_envs, seed=3), load_suite("cup_catch")
    ours.reset()
    obs, rewards, *_ = ours.step(np.zeros((num_envs, 2), np.float32))
    expected, physics = [], theirs.physics
    for position in obs[:, :4].double().numpy():
        with physics.reset_context():
            physics.data.qpos[:] = position
        expected.append(theirs.task.get_reward(physics))
    assert rewards.tolist() == expected
    assert 0 < sum(expected) < num_envs
    positions = np.array([[0.0, 0.0, 0.0, 0.35], [0.0, 0.0, 0.024, 0.35], [0.0, 0.0, 0.026, 0.35]])
    assert caught(positions).tolist() == [
        True,
        True,
        False,
    ]  # the ball's radius keeps it from the target's side


@pytest.mark.parametrize("env_id", sorted(HIDDEN))
def test_random_actions_earn_what_they_earn_in_dm_control(env_id):
    num_envs, num_steps = 16, 100
    ours = make_envpool_dmc_env(env_id, num_envs=num_envs, seed=0)
    obs, _ = ours.reset()
    generator = torch.Generator().manual_seed(0)
    mine = np.zeros(num_envs)
    action_shape = ours.single_action_space.shape
    for _ in range(num_steps):
        _, rewards, *_ = ours.step(2 * torch.rand((num_envs, *action_shape), generator=generator) - 1)
        mine += rewards.numpy()
    theirs, reference, numbers = load_suite(env_id), [], np.random.default_rng(0)
    bounds = theirs.action_spec()
    for _ in range(num_envs):
        step = theirs.reset()
        assert flatten(step.observation).shape == obs[0].shape
        rewards = [
            theirs.step(numbers.uniform(bounds.minimum, bounds.maximum)).reward for _ in range(num_steps)
        ]
        reference.append(sum(rewards))
    error = np.hypot(mine.std(), np.std(reference)) / num_envs**0.5
    assert abs(mine.mean() - np.mean(reference)) < 4 * error


@pytest.mark.parametrize("env_id", TASKS)
def test_observations_have_the_length_of_those_of_dm_control(env_id):
    obs, _ = make_envpool_dmc_env(env_id, num_envs=1).reset()
    assert obs[0].shape == flatten(load_suite(env_id).reset().observation).shape
