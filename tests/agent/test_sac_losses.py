"""SAC's actor and what one gradient step moves."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllte.agent.replay import Transitions
from rllte.agent.sac import SAC, Actor, squashed_log_prob
from tests.agent.conftest import make_agent
from tests.agent.scripted import OFF_POLICY, ONE_NUMBER, constant, make

CONFIG = {
    **OFF_POLICY, "target_update_interval": 2, "initial_temperature": 0.5, "log_std_min": -4.0,
    "log_std_max": 2.0,
}  # fmt: skip


@pytest.fixture
def agent(monkeypatch):
    return make(SAC, monkeypatch, action_space=ONE_NUMBER, **CONFIG)[0]


def make_actor(mean, raw):
    """Return an actor of one action whose layers say the same everywhere."""
    actor = Actor(1, 1, SAC.Config(**CONFIG))
    constant(actor, 0.0)
    actor.layers[-1].bias.data = torch.tensor([mean, raw])
    return actor


@pytest.mark.parametrize(
    ("raw", "log_std"), [(100.0, 2.0), (-100.0, -4.0), (0.0, -1.0), (math.atanh(0.5), 0.5)]
)
def test_log_std_is_squashed_into_its_range(raw, log_std):
    actor = make_actor(0.25, raw)
    actions, log_probs = actor.sample(torch.zeros(4, 1), torch.Generator().manual_seed(0))
    noise = torch.randn(4, 1, generator=torch.Generator().manual_seed(0))
    before_tanh = 0.25 + math.exp(log_std) * noise
    torch.testing.assert_close(actions, before_tanh.tanh())
    torch.testing.assert_close(log_probs, squashed_log_prob(noise, torch.full((4, 1), log_std), before_tanh))


def test_the_policys_action_is_the_squashed_mean():
    assert make_actor(0.25, 3.0)(torch.zeros(1, 1)).item() == pytest.approx(math.tanh(0.25))


def test_gradients_flow_through_mean_and_deviation_of_a_drawn_action():
    actor = make_actor(0.25, 0.0)
    actions, _ = actor.sample(torch.zeros(1, 1), torch.Generator().manual_seed(0))
    actions.sum().backward()
    noise = torch.randn(1, 1, generator=torch.Generator().manual_seed(0)).item()
    slope = 1 - actions.item() ** 2
    # the derivative of log σ by its raw value at 0 is half the range, 3
    expected = [slope, slope * noise * math.exp(-1) * 3]
    assert actor.layers[-1].bias.grad.tolist() == pytest.approx(expected)


zeros = torch.zeros(4, 1)
BATCH = Transitions(zeros, zeros + 1, zeros[:, 0] + 3, zeros[:, 0] + 0.5, zeros + 2)


def losses(agent, batch):
    """Return the gradients of SAC's three losses, written down as in the paper and left to autograd."""
    next_actions, next_log_probs = agent.actor.sample(batch.next_obs, agent.generator)
    targets = batch.rewards + batch.discounts * (
        torch.min(*agent.target_critic(batch.next_obs, next_actions)) - agent.log_alpha.exp() * next_log_probs
    )
    q1, q2 = agent.critic(batch.obs, batch.actions)
    critic_loss = ((q1 - targets.detach()) ** 2).mean() + ((q2 - targets.detach()) ** 2).mean()
    actions, log_probs = agent.actor.sample(batch.obs, agent.generator)
    alpha = agent.log_alpha.exp()
    actor_loss = (alpha.detach() * log_probs - torch.min(*agent.critic(batch.obs, actions))).mean()
    alpha_loss = (alpha * (-log_probs.detach() + actions.shape[1])).mean()
    return (
        torch.autograd.grad(critic_loss, list(agent.critic.parameters())),
        torch.autograd.grad(actor_loss, list(agent.actor.parameters())),
        torch.autograd.grad(alpha_loss, [agent.log_alpha]),
    )


def test_a_gradient_step_has_the_gradients_of_the_papers_losses():
    agent = make_agent("sac", num_threads=1)
    agent.train(agent.config.learning_starts)
    agent.optimizers["critic"].step = lambda: None  # the losses are of the same critic
    batch = agent.replay.sample(32, agent.generator)
    before = agent.generator.get_state()
    for_critic, for_actor, for_alpha = losses(agent, batch)
    agent.generator.set_state(before)
    agent._learn(batch)
    for network, expected in ((agent.critic, for_critic), (agent.actor, for_actor)):
        for parameter, grad in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, grad)
            assert grad.abs().max() > 0
    torch.testing.assert_close(agent.log_alpha.grad, for_alpha[0])


@pytest.fixture
def stubbed(agent):
    """An agent whose optimizers take plain steps and whose α is ½.

    The action is θ = 1 with a log-probability of 3 θ, on any observation; the values of an action a > 0 are
    2 a and 5 a, those of the target 20 + 2 a and 20 + 5 a.
    """
    theta = agent.actor.layers[-1].bias
    for network in (agent.actor, agent.critic, agent.target_critic):
        constant(network, 0.0)
    for critic, bias in ((agent.critic, 0.0), (agent.target_critic, 20.0)):
        for layers, slope in ((critic.q1, 2.0), (critic.q2, 5.0)):
            layers[0].weight.data[0, 1] = layers[2].weight.data[0, 0] = 1.0
            layers[4].weight.data[0, 0], layers[4].bias.data[0] = slope, bias
    theta.data[0] = 1.0
    agent.actor.draw = lambda outputs, _: (None, None, outputs[:, :1])
    agent.optimizers = {
        "actor": torch.optim.SGD([theta, agent.log_alpha], 1.0),
        "critic": torch.optim.SGD(agent.critic.parameters(), 0.0),
    }
    return agent


@pytest.fixture(autouse=True)
def no_squashing(request, monkeypatch):
    """Where an agent is stubbed, an action is what was drawn, and its log-probability three times that."""
    if "stubbed" in request.fixturenames:
        monkeypatch.setattr("rllte.agent.sac.squashed_log_prob", lambda *drawn: 3 * drawn[2][:, 0])
        monkeypatch.setattr(torch.Tensor, "tanh", lambda self: self)


def test_critic_errors_are_between_what_was_done_and_what_follows(stubbed):
    stubbed._learn_critic(BATCH)
    # the next action 1 has target values 22 and 25 and a log-probability of 3: 3 + ½ (22 - ½ · 3) = 13.25,
    # where the critics say 2 and 5 of what was done; the slope of a squared error is twice the error
    assert stubbed.critic.q1[-1].bias.grad.item() == pytest.approx(2 * (2 - 13.25))
    assert stubbed.critic.q2[-1].bias.grad.item() == pytest.approx(2 * (5 - 13.25))


def test_targets_see_what_follows_and_get_no_gradients(stubbed):
    seen = []
    stubbed.target_critic.forward = lambda obs, actions: (seen.append(obs), (zeros[:, 0], zeros[:, 0]))[1]
    targets = stubbed._targets(BATCH)
    assert torch.equal(seen[0], BATCH.next_obs)
    assert targets.tolist() == pytest.approx([3 - 0.5 * 0.5 * 3] * 4)
    stubbed._learn_critic(BATCH)
    for network in (stubbed.target_critic, stubbed.actor):
        assert all(parameter.grad is None for parameter in network.parameters())
    assert stubbed.log_alpha.grad is None


def test_the_actor_gains_value_and_entropy(stubbed):
    stubbed._learn(BATCH)
    # loss α · 3 θ - min(2 θ, 5 θ) = 1.5 θ - 2 θ for θ > 0
    assert stubbed.actor.layers[-1].bias[0].item() == pytest.approx(1.5)


def test_the_actors_loss_leaves_no_gradient_in_the_critic(stubbed):
    stubbed._learn_critic(BATCH)
    before = [parameter.grad.clone() for parameter in stubbed.critic.parameters()]
    stubbed._learn_actor(BATCH.obs)
    assert all(map(torch.equal, before, (parameter.grad for parameter in stubbed.critic.parameters())))


def test_the_temperature_follows_the_entropy_gap(stubbed):
    assert stubbed.log_alpha.item() == pytest.approx(math.log(0.5))
    stubbed._learn(BATCH)
    # loss α (-3 + 1) with a target entropy of -1, so ∂ / ∂ log α = ½ · -2
    assert stubbed.log_alpha.item() == pytest.approx(math.log(0.5) + 1.0)


def test_the_target_entropy_is_minus_the_number_of_action_dimensions(monkeypatch):
    three = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    agent = make(SAC, monkeypatch, action_space=three, **CONFIG)[0]
    monkeypatch.setattr("rllte.agent.sac.squashed_log_prob", lambda *drawn: drawn[2].sum(dim=1) * 0 + 3)
    agent._learn_actor(BATCH.obs)
    assert agent.log_alpha.grad.item() == pytest.approx(0.0)  # an entropy of -3 is the target of three


def test_a_resumed_agent_has_its_temperature_and_replay(agent, monkeypatch):
    agent.log_alpha.data.fill_(-3.0)
    agent.replay.add(BATCH, zeros[:, 0] > 0)
    other = make(SAC, monkeypatch, action_space=ONE_NUMBER, **CONFIG)[0]
    other.load_state_dict(agent.state_dict())
    assert other.log_alpha.item() == -3.0
    assert other.log_alpha.requires_grad
    assert torch.equal(other.replay._table[:4], agent.replay._table[:4])
