import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllte.agent.rollout import Rollout
from tests.agent.scripted import TWO_ACTIONS, Scripted

ENDS = {(2, 1): "truncated", (3, 0): "terminated", (3, 1): "both", (4, 0): "truncated"}
"""Of 4 steps: environment 0 ends after 3 and 1 steps; environment 1 after 2 and 1, and goes on for 1."""


def network(obs):
    """Logits that are no log-probabilities, (0, 1), and ten times the observation as value."""
    parameter = torch.ones(1, requires_grad=True)
    return parameter * torch.tensor([[0.0, 1.0]]).expand(len(obs), 2), parameter * 10 * obs[:, 0]


@pytest.fixture
def rollout():
    filled = Rollout(4, 2, gym.spaces.Box(0, 255, (1,), np.float32), 2, torch.device("cpu"))
    envs = Scripted(2, ENDS, TWO_ACTIONS)
    obs, _ = envs.reset()
    filled.last_obs = filled.collect(network, envs, obs, torch.Generator().manual_seed(0), lambda _: None)
    filled.taken = torch.stack(envs.actions)
    return filled


def test_a_rollout_keeps_what_was_seen_and_done(rollout):
    assert rollout.obs[:, :, 0].tolist() == [[0, 100], [1, 101], [2, 100], [0, 100]]
    assert rollout.values.tolist() == [[0, 1000], [10, 1010], [20, 1000], [0, 1000]]
    assert rollout.rewards.tolist() == [[1, 1], [2, 2], [3, 1], [1, 1]]
    assert torch.equal(rollout.actions, rollout.taken)
    assert rollout.last_obs[:, 0].tolist() == [0, 101]


def test_terminated_and_ended_steps_are_told_apart(rollout):
    assert rollout.terminated.tolist() == [[False, False], [False, False], [True, True], [False, False]]
    assert rollout.ended.tolist() == [[False, False], [False, True], [True, True], [True, False]]


def test_next_values_are_those_of_what_each_environment_saw_next(rollout):
    # environment 0: 1, 2, terminated, and the last observation 1 of an episode cut at the very last step
    assert rollout.next_values[[0, 1, 3], 0].tolist() == [10, 20, 10]
    # environment 1: 101, its last observation 102 where it was truncated, terminated, 101
    assert rollout.next_values[[0, 1, 3], 1].tolist() == [1010, 1020, 1010]


def test_a_batch_has_advantages_returns_and_log_probabilities(rollout):
    batch = rollout.batch(gamma=0.1, gae_lambda=0.5)
    # environment 0, from the back, δ + 0.05 A': 1 + 1 - 0 = 2 (truncated); 3 - 20 = -17 (terminated);
    # 2 + 2 - 10 - 0.85 = -6.85; 1 + 1 - 0 - 0.3425 = 1.6575
    assert batch.advantages.reshape(4, 2)[:, 0].tolist() == pytest.approx([1.6575, -6.85, -17, 2])
    assert batch.returns.reshape(4, 2)[:, 0].tolist() == pytest.approx([1.6575, 3.15, 3, 2])
    # environment 1: 1 + 101 - 1000 = -898; 1 - 1000 = -999; 2 + 102 - 1010 = -906; 1 + 101 - 1000 - 45.3
    assert batch.advantages.reshape(4, 2)[:, 1].tolist() == pytest.approx([-943.3, -906, -999, -898])
    assert torch.equal(batch.values, rollout.values.flatten())
    log_total = math.log(1 + math.e)  # of exp(0) + exp(1)
    assert batch.log_probs.tolist() == pytest.approx(
        [action - log_total for action in batch.actions.tolist()]
    )
    assert torch.equal(batch.obs, rollout.obs.flatten(0, 1))


def test_a_rollout_needs_no_gradients(rollout):
    assert not any(part.requires_grad for part in (rollout.values, rollout.logits, rollout.next_values))
