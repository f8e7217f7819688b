import math

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from rllte.agent.offpolicy import move_target
from rllte.agent.replay import StateReplay, Transitions
from rllte.agent.sac import squashed_log_prob
from tests.agent.conftest import make_agent
from tests.agent.scripted import constant

GOES_ON = torch.tensor([False])  # no episode ended


def transition(number, discount=0.99):
    value = torch.tensor([[float(number)]])
    return Transitions(value, value + 0.1, torch.tensor([number + 0.2]), torch.tensor([discount]), value + 1)


def test_log_probability_equals_that_of_a_transformed_normal():
    generator = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator) - 1
    noise = torch.randn(5, 3, generator=generator)
    before_tanh = mean + log_std.exp() * noise
    distribution = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform())
    expected = distribution.log_prob(before_tanh.tanh()).sum(dim=1)
    assert squashed_log_prob(noise, log_std, before_tanh).tolist() == pytest.approx(
        expected.tolist(), rel=1e-3
    )


def test_log_probability_at_zero_is_that_of_a_standard_normal():
    # tanh has slope 1 at 0, so log p = -½ log 2π for each of two dimensions
    zero = torch.zeros(1, 2)
    assert squashed_log_prob(zero, zero, zero).item() == pytest.approx(-math.log(2 * math.pi))


def test_log_probability_stays_finite_far_out():
    # at u = 20, tanh(u)² is 1 in float32; log(1 - tanh(u)²) = 2 (log 2 - 20)
    far, zero = torch.full((1, 1), 20.0), torch.zeros(1, 1)
    expected = -0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 20)
    assert squashed_log_prob(zero, zero, far).item() == pytest.approx(expected)


def test_replay_keeps_the_newest_transitions_whole():
    replay = StateReplay(capacity=2, obs_dim=1, action_dim=1, device=torch.device("cpu"))
    for number in range(3):
        replay.add(transition(number), GOES_ON)
    batch = replay.sample(100, torch.Generator().manual_seed(0))
    assert set(batch.obs[:, 0].tolist()) == {1.0, 2.0}
    torch.testing.assert_close(batch.actions, batch.obs + 0.1)
    torch.testing.assert_close(batch.rewards, batch.obs[:, 0] + 0.2)
    torch.testing.assert_close(batch.next_obs, batch.obs + 1)


def test_replay_resumes_where_it_was():
    replay, other = (StateReplay(4, 1, 1, torch.device("cpu")) for _ in range(2))
    for number in range(5):
        replay.add(transition(number), GOES_ON)
    other.load_state_dict(replay.state_dict())
    for memory in (replay, other):
        memory.add(transition(9), GOES_ON)
    samples = [memory.sample(50, torch.Generator().manual_seed(1)).obs for memory in (replay, other)]
    assert torch.equal(*samples)


def test_target_networks_move_by_tau():
    target, source = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    for parameter in target.parameters():
        parameter.data.fill_(1.0)
    for parameter in source.parameters():
        parameter.data.fill_(5.0)
    move_target(target, source, 0.25)
    assert all(bool((parameter == 2.0).all()) for parameter in target.parameters())
    assert all(bool((parameter == 5.0).all()) for parameter in source.parameters())


def test_target_networks_move_every_second_update():
    agent = make_agent("sac")
    assert agent.config.target_update_interval == 2
    agent.train(agent.config.learning_starts)  # fills the replay
    moved = []
    for gradient_step in range(4):
        before = [parameter.clone() for parameter in agent.target_critic.parameters()]
        agent.learn(gradient_step)
        after = agent.target_critic.parameters()
        moved.append(not all(map(torch.equal, before, after)))
    assert moved == [True, False, True, False]


def test_critic_target_has_no_future_where_the_episode_terminated():
    agent = make_agent("sac")
    obs_dim, action_dim = agent.observation_space.shape[0], agent.action_space.shape[0]
    obs, actions = torch.zeros(4, obs_dim), torch.zeros(4, action_dim)
    batch = Transitions(obs, actions, torch.full((4,), 3.0), torch.zeros(4), obs)
    assert agent._targets(batch).tolist() == [3.0] * 4  # the reward


def test_critic_target_subtracts_entropy_from_the_smaller_target_value():
    agent = make_agent("sac")
    obs_dim, action_dim = agent.observation_space.shape[0], agent.action_space.shape[0]
    for parameter in agent.target_critic.parameters():
        parameter.data.zero_()
    agent.target_critic.q1[-1].bias.data.fill_(7.0)
    agent.target_critic.q2[-1].bias.data.fill_(5.0)
    agent.actor.sample = lambda obs, _: (torch.zeros(len(obs), action_dim), torch.full((len(obs),), 2.0))
    agent.log_alpha.data.fill_(math.log(0.5))
    obs, actions = torch.zeros(4, obs_dim), torch.zeros(4, action_dim)
    batch = Transitions(obs, actions, torch.ones(4), torch.full((4,), 0.5), obs)
    # 1 + 0.5 (min(7, 5) - 0.5 × 2)
    assert agent._targets(batch).tolist() == pytest.approx([3.0] * 4)


def test_temperature_falls_when_the_policy_is_more_random_than_the_target():
    agent = make_agent("sac")
    before = agent.log_alpha.item()
    action_dim = agent.action_space.shape[0]
    batch = Transitions(
        torch.zeros(8, agent.observation_space.shape[0]),
        torch.zeros(8, action_dim),
        torch.zeros(8),
        torch.zeros(8),
        torch.zeros(8, agent.observation_space.shape[0]),
    )
    # the initial policy's entropy is near that of a uniform distribution, above -action_dim
    agent._learn(batch)
    assert agent.log_alpha.item() < before


def test_actor_moves_towards_actions_of_higher_value():
    agent = make_agent("sac", learning_rate=1e-2)
    agent.log_alpha.data.fill_(-20.0)  # no entropy bonus: value alone
    obs_dim, action_dim = agent.observation_space.shape[0], agent.action_space.shape[0]
    obs = torch.zeros(32, obs_dim)

    # the value of an action is its sum: ReLU(a) - ReLU(-a), through one hidden unit each
    for layers in (agent.critic.q1, agent.critic.q2):
        constant(layers, 0.0)
        for unit, sign in ((0, 1.0), (1, -1.0)):
            layers[0].weight.data[unit, obs_dim:] = sign
            layers[2].weight.data[unit, unit], layers[4].weight.data[0, unit] = 1.0, sign
    agent._learn_critic = lambda _: None
    batch = Transitions(obs, torch.zeros(32, action_dim), torch.zeros(32), torch.zeros(32), obs)
    before = agent.policy(obs).mean().item()
    for _ in range(20):
        agent._learn(batch)
    assert agent.policy(obs).mean().item() > before + 0.1
