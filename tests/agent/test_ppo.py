import dataclasses
import math

import pytest
import torch

from rllte.agent.onpolicy import standardize
from rllte.agent.ppo import PPOConfig, ppo_loss
from rllte.agent.rollout import Batch

CONFIG = PPOConfig(
    num_envs=1, num_steps=1, batch_size=1, n_epochs=1, learning_rate=1e-3, adam_eps=1e-8, gamma=0.99,
    gae_lambda=0.95, normalize_advantage="none", clip_range=0.2, clip_range_vf=0.5, ent_coef=0.0, vf_coef=0.0,
    max_grad_norm=1.0, encoder="minigrid_cnn", feature_dim=1, hidden_dim=1,
)  # fmt: skip


def loss(*, probability, old, advantage, value=0.0, old_value=0.0, target=0.0, **config):
    """The loss of one sample whose action has these probabilities, of two actions."""
    logits = torch.tensor([[math.log(probability), math.log(1 - probability)]])
    batch = Batch(
        obs=torch.zeros(1),
        actions=torch.tensor([0]),
        log_probs=torch.tensor([math.log(old)]),
        values=torch.tensor([old_value]),
        advantages=torch.tensor([advantage]),
        returns=torch.tensor([target]),
    )
    return ppo_loss((logits, torch.tensor([value])), batch, dataclasses.replace(CONFIG, **config)).item()


@pytest.mark.parametrize(
    ("probability", "advantage", "expected"),
    [
        (0.5, 2.0, -2.0),  # ratio 1
        (0.55, 2.0, -2.2),  # ratio 1.1, inside the range
        (0.75, 2.0, -2.4),  # ratio 1.5 is clipped to 1.2: no gain beyond
        (0.25, 2.0, -1.0),  # ratio 0.5 with a good action: the lower value counts, unclipped
        (0.25, -2.0, 1.6),  # ratio 0.5 with a bad action is clipped to 0.8
        (0.75, -2.0, 3.0),  # ratio 1.5 with a bad action: the full loss
    ],
)
def test_policy_loss_takes_the_worse_of_plain_and_clipped(probability, advantage, expected):
    assert loss(probability=probability, old=0.5, advantage=advantage) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 0.5 * 2.5**2),  # moved by 1, clipped to 0.5: the larger of (1 - 3)² and (0.5 - 3)²
        (0.25, 0.5 * 2.75**2),  # moved by less than 0.5
        (-1.0, 0.5 * 4.0**2),  # away from the target: the full error
        (5.0, 0.5 * 2.5**2),  # too far: clipped to 0.5, which is 2.5 from the target, more than 2
    ],
)
def test_value_loss_takes_the_larger_of_plain_and_clipped(value, expected):
    got = loss(probability=0.5, old=0.5, advantage=0.0, value=value, target=3.0, vf_coef=1.0)
    assert got == pytest.approx(expected)


def test_value_loss_is_clipped_on_both_sides_of_the_old_value_and_weighted():
    # moved from 3 down to 1, clipped to 2.5: (2.5 - 1)² is larger than 0
    got = loss(probability=0.5, old=0.5, advantage=0.0, value=1.0, old_value=3.0, target=1.0, vf_coef=0.2)
    assert got == pytest.approx(0.2 * 0.5 * 1.5**2)


def test_losses_are_means_over_the_batch():
    half = torch.tensor(0.5).log().item()
    batch = Batch(
        obs=torch.zeros(2),
        actions=torch.tensor([0, 1]),
        log_probs=torch.tensor([half, half]),
        values=torch.zeros(2),
        advantages=torch.tensor([1.0, 3.0]),
        returns=torch.tensor([2.0, 4.0]),
    )
    config = dataclasses.replace(CONFIG, vf_coef=0.5, ent_coef=0.1)
    got = ppo_loss((torch.zeros(2, 2), torch.zeros(2)), batch, config).item()
    assert got == pytest.approx(-(1 + 3) / 2 + 0.5 * 0.5 * (4 + 16) / 2 + 0.1 * half)


def test_entropy_lowers_the_loss():
    # two equal probabilities have entropy log 2
    assert loss(probability=0.5, old=0.5, advantage=0.0, ent_coef=0.1) == pytest.approx(-0.1 * math.log(2))


def test_gradient_raises_the_probability_of_a_good_action():
    logits = torch.zeros(1, 2, requires_grad=True)
    batch = Batch(
        torch.zeros(1),
        torch.tensor([0]),
        torch.tensor([math.log(0.5)]),
        torch.zeros(1),
        torch.ones(1),
        torch.zeros(1),
    )
    ppo_loss((logits, torch.zeros(1)), batch, CONFIG).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]


def test_standardize_gives_zero_mean_and_unit_deviation():
    # mean 2 and standard deviation 1 (with n - 1)
    assert standardize(torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx([-1, 0, 1], abs=1e-4)


def test_standardize_divides_by_the_deviation_plus_a_little():
    # mean 20 and deviations of 10, √200 with n - 1; of values that hardly differ, 1e-5 is the larger part
    assert standardize(torch.tensor([10.0, 30.0])).tolist() == pytest.approx(
        [-(0.5**0.5), 0.5**0.5], rel=1e-4
    )
    tiny = standardize(torch.tensor([0.0, 2e-6]))
    assert tiny.tolist() == pytest.approx([-1e-6 / (2**0.5 * 1e-6 + 1e-5), 1e-6 / (2**0.5 * 1e-6 + 1e-5)])
