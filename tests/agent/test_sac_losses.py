"""SAC's actor and what one gradient step moves."""

import math

import pytest
import torch

from rllte.agent.replay import Transitions
from rllte.agent.sac import SAC, Actor, squashed_log_prob
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


class StubActor(torch.nn.Module):
    """Draws the observation plus θ, with a log-probability of 3 θ."""

    def __init__(self, theta):
        super().__init__()
        self.theta, self.seen = torch.nn.Parameter(torch.tensor(theta)), []

    def sample(self, obs, _):
        self.seen.append(obs)
        return obs + self.theta, 3 * self.theta.expand(len(obs))


class StubCritic(torch.nn.Module):
    """Values w · (10 · obs + 2 · action) and w · (10 · obs + 5 · action)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, obs, actions):
        return tuple(self.weight * (10 * obs[:, 0] + slope * actions[:, 0]) for slope in (2, 5))


zeros = torch.zeros(4, 1)
BATCH = Transitions(zeros, zeros + 1, zeros[:, 0] + 3, zeros[:, 0] + 0.5, zeros + 2)


@pytest.fixture
def stubbed(agent):
    """An agent of stubs, whose optimizers take plain steps; α is ½."""
    agent.actor, agent.critic, agent.target_critic = StubActor(1.0), StubCritic(1.0), StubCritic(2.0)
    parameters = {
        "actor": agent.actor.parameters(),
        "critic": agent.critic.parameters(),
        "alpha": [agent.log_alpha],
    }
    agent.optimizers = {name: torch.optim.SGD(list(some), 1.0) for name, some in parameters.items()}
    agent.optimizers["critic"].param_groups[0]["lr"] = 0.0
    return agent


def test_critic_errors_are_between_what_was_done_and_what_follows(stubbed):
    loss = stubbed._critic_loss(BATCH)
    # next action 2 + 1: target values 2 (20 + 6) = 52 and 2 (20 + 15) = 70; its log-probability is 3;
    # 3 + ½ (52 - ½ · 3) = 28.25, where the critics say 2 and 5
    assert loss.item() == pytest.approx(26.25**2 + 23.25**2)
    assert torch.equal(stubbed.actor.seen[0], BATCH.next_obs)


def test_targets_get_no_gradients(stubbed):
    stubbed._critic_loss(BATCH).backward()
    assert stubbed.critic.weight.grad is not None
    assert stubbed.target_critic.weight.grad is stubbed.actor.theta.grad is stubbed.log_alpha.grad is None


def test_the_actor_gains_value_and_entropy(stubbed):
    stubbed._learn(BATCH)
    # loss α · 3 θ - min(2 θ, 5 θ) = 1.5 θ - 2 θ for θ > 0
    assert stubbed.actor.theta.item() == pytest.approx(1.5)
    assert torch.equal(stubbed.actor.seen[1], BATCH.obs)


def test_the_actors_loss_leaves_no_gradient_in_the_critic(stubbed):
    seen = []
    stubbed.optimizers["critic"].register_step_post_hook(
        lambda *_: seen.append(stubbed.critic.weight.grad.item())
    )
    stubbed._learn(BATCH)
    assert stubbed.critic.weight.grad.item() == seen[0]


def test_the_temperature_follows_the_entropy_gap(stubbed):
    assert stubbed.log_alpha.item() == pytest.approx(math.log(0.5))
    stubbed._learn(BATCH)
    # loss α (-3 + 1) with a target entropy of -1, so ∂ / ∂ log α = ½ · -2
    assert stubbed.log_alpha.item() == pytest.approx(math.log(0.5) + 1.0)


def test_the_target_entropy_is_minus_the_number_of_action_dimensions(stubbed):
    stubbed.actor.sample = lambda obs, _: (
        obs.expand(-1, 3) + stubbed.actor.theta,
        3 * stubbed.actor.theta.expand(4),
    )
    stubbed._learn(BATCH)
    assert stubbed.log_alpha.item() == pytest.approx(math.log(0.5))  # an entropy of -3 is the target of three


def test_a_resumed_agent_has_its_temperature_and_replay(agent, monkeypatch):
    agent.log_alpha.data.fill_(-3.0)
    agent.replay.add(BATCH)
    other = make(SAC, monkeypatch, action_space=ONE_NUMBER, **CONFIG)[0]
    other.load_state_dict(agent.state_dict())
    assert other.log_alpha.item() == -3.0
    assert other.log_alpha.requires_grad
    assert torch.equal(other.replay._table[:4], agent.replay._table[:4])
