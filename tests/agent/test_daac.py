"""DAAC's two networks and when each learns."""

import pytest
import torch

from rllte.agent.daac import DAAC
from rllte.agent.rollout import Batch
from tests.agent.scripted import ON_POLICY, constant, make

CONFIG = {
    **ON_POLICY, "n_epochs": 2, "value_epochs": 3, "value_freq": 2, "adv_coef": 1.0, "clip_range": 0.2,
    "clip_range_vf": 0.3, "vf_coef": 0.25,
}  # fmt: skip


@pytest.fixture
def agent(monkeypatch):
    return make(DAAC, monkeypatch, **CONFIG)[0]


def batch(returns, values):
    zeros = torch.zeros(len(returns))
    return Batch(zeros[:, None], zeros.long(), zeros, torch.tensor(values), zeros, torch.tensor(returns))


def test_the_value_function_learns_at_the_first_of_value_freq_updates(agent, monkeypatch):
    passes = []
    monkeypatch.setattr(agent, "minimize", lambda loss, samples, n, module: passes.append((module, n)))
    envs = agent.make_envs(2, [0, 1], True)
    obs = envs.reset()[0]
    for agent.num_updates in range(3):
        obs = agent.update(envs, obs)
    assert passes == [("actor", 2), ("critic", 3), ("actor", 2), ("actor", 2), ("critic", 3)]


def test_value_loss_is_clipped_near_the_old_values_and_weighted(agent):
    constant(agent.critic, 1.0)
    # the value moved from 0 to 1: clipped to 0.3, it is 1.7 from the return 2, which is more than 1;
    # the other one stayed: 1 from its return 0
    loss = agent._value_loss(batch(returns=[2.0, 0.0], values=[0.0, 1.0]))
    assert loss.item() == pytest.approx(0.25 * 0.5 * (1.7**2 + 1) / 2)


def test_values_of_a_rollout_are_the_value_functions(agent):
    constant(agent.critic, 7.0)
    seen = []
    agent.minimize = lambda loss, samples, n, module: seen.append(samples)
    envs = agent.make_envs(2, [0, 1], True)
    agent.update(envs, envs.reset()[0])
    assert seen[0].values.tolist() == [7.0] * 6


def test_the_predicted_advantage_is_that_of_the_action(agent):
    agent.actor.advantage[0].weight.data = torch.tensor([[10.0, 1.0, 2.0]])
    agent.actor.advantage[0].bias.data.zero_()
    # ten times the feature, which is the observation, plus 1 for action 0 and 2 for action 1
    _, advantages = agent.actor(torch.tensor([[3.0], [3.0], [4.0]]), torch.tensor([0, 1, 1]))
    assert advantages.tolist() == [31.0, 32.0, 42.0]


def test_advantages_shape_the_features_of_the_policy(agent):
    obs = torch.ones(2, 1, requires_grad=True)
    agent.actor(obs, torch.tensor([0, 1]))[1].sum().backward()
    assert obs.grad.abs().min() > 0


def test_policy_and_value_function_share_nothing(monkeypatch):
    image = ((7, 7, 3), "uint8")
    agent, _ = make(DAAC, monkeypatch, space=image, **{**CONFIG, "encoder": "minigrid_cnn", "feature_dim": 8})
    actor, critic = ({id(p) for p in agent.modules[name].parameters()} for name in ("actor", "critic"))
    assert actor
    assert critic
    assert not actor & critic
    assert {id(p) for p in agent.policy.parameters()} < actor
