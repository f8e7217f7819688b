import gymnasium as gym
import numpy as np
import pytest
import torch

from rllte.agent.evaluation import acting, play_episodes, sample_categorical
from rllte.errors import HubError
from tests.agent.scripted import ONE_NUMBER, TWO_ACTIONS, Scripted

ENDS = {(1, 0): "terminated", (3, 0): "truncated", (4, 1): "terminated", (6, 0): "both", (9, 1): "truncated"}
"""Environment 0 has episodes of 1, 2 and 3 steps, environment 1 of 4 and 5; rewards are 1, 2, 3, …"""


def nothing(obs):
    return torch.zeros(len(obs), dtype=torch.int64)


def test_every_environment_plays_as_many_episodes_counted_from_its_first():
    envs = Scripted(2, ENDS, TWO_ACTIONS)
    returns, lengths = play_episodes(nothing, envs, 4)
    # by round, then by environment: the third, longer episode of environment 0 does not count
    assert lengths.tolist() == [1, 4, 2, 5]
    assert returns.tolist() == [1, 10, 3, 15]
    assert (returns.dtype, lengths.dtype) == (np.float64, np.int64)
    assert envs.steps == 9, "it stops when the last environment is done"


def test_environments_begin_anew_and_each_action_follows_its_observation():
    envs, seen = Scripted(2, ENDS, TWO_ACTIONS), []
    envs.reset()
    envs.step(torch.zeros(2))

    def act(obs):
        seen.append(obs[:, 0].tolist())
        return nothing(obs)

    play_episodes(act, envs, 2)
    assert seen == [[0, 100], [0, 101], [1, 102], [0, 103]]


@pytest.mark.parametrize("num_episodes", [0, 1, 3])
def test_episodes_that_environments_cannot_share_equally_are_refused(num_episodes):
    with pytest.raises(HubError, match=f"num_episodes is {num_episodes}; write a multiple of num_envs .2"):
        play_episodes(nothing, Scripted(2, ENDS, TWO_ACTIONS), num_episodes)


LOGITS = torch.log(torch.tensor([0.1, 0.6, 0.3]))


def policy(obs):
    """Probabilities 0.1, 0.6 and 0.3, from logits that do not sum to 1."""
    return (LOGITS + 5).expand(len(obs), 3)


def test_the_deterministic_action_is_the_most_probable():
    act = acting(policy, gym.spaces.Discrete(3), deterministic=True)
    assert act(torch.zeros(4, 1)).tolist() == [1] * 4


def test_actions_are_drawn_with_the_probabilities_of_the_policy():
    generator = torch.Generator().manual_seed(0)
    act = acting(policy, gym.spaces.Discrete(3), deterministic=False, generator=generator)
    actions = act(torch.zeros(20_000, 1))
    assert actions.dtype == torch.int64
    shares = torch.bincount(actions) / len(actions)
    assert shares.tolist() == pytest.approx([0.1, 0.6, 0.3], abs=0.02)


def test_each_row_of_logits_has_an_action_of_its_own():
    logits = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert sample_categorical(logits, torch.Generator().manual_seed(0)).tolist() == [0, 1]


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_continuous_policy_acts_by_its_output_and_without_gradients(deterministic):
    weight = torch.tensor(0.5, requires_grad=True)
    act = acting(lambda obs: obs * weight, ONE_NUMBER, deterministic)
    actions = act(torch.tensor([[1.0], [-1.0]]))
    assert actions.tolist() == [[0.5], [-0.5]]
    assert not actions.requires_grad
