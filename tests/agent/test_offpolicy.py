"""What off-policy agents remember, and when they learn."""

import pytest
import torch

from rllte.agent import ddpg
from rllte.agent.ddpg import DDPG, critic_loss, noisy
from rllte.agent.offpolicy import move_target
from rllte.agent.replay import StateReplay, Transitions
from rllte.agent.sac import SAC
from tests.agent.scripted import OFF_POLICY, ONE_NUMBER, constant, make

DDPG_CONFIG = {**OFF_POLICY, "exploration_noise": 0.5}
SAC_CONFIG = {
    **OFF_POLICY, "target_update_interval": 2, "initial_temperature": 0.1, "log_std_min": -5.0,
    "log_std_max": 2.0,
}  # fmt: skip


def make_ddpg(monkeypatch, ends=(), **config):
    agent, _ = make(DDPG, monkeypatch, ends=ends, action_space=ONE_NUMBER, **{**DDPG_CONFIG, **config})
    return agent, agent.make_envs(agent.config.num_envs, [0, 1], True)


def play(agent, envs, num_updates):
    obs = envs.reset()[0]
    for agent.num_updates in range(num_updates):
        obs = agent.update(envs, obs)
    return obs


def remembered(agent, env):
    """Return obs, reward, discount and next obs of each step of an environment."""
    obs, _, *rest = agent.replay._table[: agent.replay.size].split(agent.replay._widths, dim=1)
    rows = torch.cat([obs, *rest], dim=1)[env :: agent.config.num_envs]
    return [tuple(row) for row in rows.tolist()]


def test_transitions_of_episodes_that_end(monkeypatch):
    ends = {(1, 0): "truncated", (2, 0): "terminated", (2, 1): "truncated", (3, 1): "both"}
    agent, envs = make_ddpg(monkeypatch, ends, learning_starts=100)
    obs = play(agent, envs, 4)
    # a truncated episode goes on from its own last observation; a terminated one has no future
    assert remembered(agent, 0) == [(0, 1, 0.5, 1), (0, 1, 0, 1), (0, 1, 0.5, 1), (1, 2, 0.5, 2)]
    assert remembered(agent, 1) == [
        (100, 1, 0.5, 101),
        (101, 2, 0.5, 102),
        (100, 1, 0, 101),
        (100, 1, 0.5, 101),
    ]
    assert obs[:, 0].tolist() == [2, 101]
    assert agent._ended == [[1, 1], [1, 1], [3, 2], [1, 1]]


def test_an_agent_is_told_which_environments_ended(monkeypatch):
    ends = {(1, 0): "truncated", (2, 1): "terminated", (3, 0): "both"}
    agent, envs = make_ddpg(monkeypatch, ends, learning_starts=100)
    told = []
    monkeypatch.setattr(agent.replay, "add", lambda _, ended: told.append(ended.tolist()))
    play(agent, envs, 4)
    assert told == [[True, False], [False, True], [True, False], [False, False]]


def test_actions_are_uniform_before_learning_and_the_replay_keeps_them(monkeypatch):
    agent, envs = make_ddpg(monkeypatch, learning_starts=1000, buffer_size=1000)
    play(agent, envs, 500)
    actions = torch.stack(envs.actions).flatten()
    assert -1 <= actions.min() < -0.99
    assert 0.99 < actions.max() <= 1
    assert actions.mean().abs() < 0.1
    assert torch.equal(agent.replay._table[:1000, 1], actions)


@pytest.mark.parametrize(
    ("learning_starts", "expected"), [(4, [4, 5, 6, 7]), (3, [4, 5, 6, 7]), (0, list(range(8)))]
)
def test_as_many_gradient_steps_as_env_steps_follow_the_first_ones(monkeypatch, learning_starts, expected):
    agent, envs = make_ddpg(monkeypatch, learning_starts=learning_starts)
    steps, sizes = [], []
    monkeypatch.setattr(agent, "learn", lambda step: steps.append(step) or sizes.append(agent.replay.size))
    play(agent, envs, 4)
    assert steps == expected
    assert sizes[0] == learning_starts + learning_starts % 2 + 2, "the newest steps are there already"


def test_noise_is_added_to_actions_in_training_and_not_to_those_of_the_policy(monkeypatch):
    agent, _ = make_ddpg(monkeypatch)
    constant(agent.actor, 0.0)
    actions = agent.explore(torch.zeros(5000, 1))
    assert actions.std().item() == pytest.approx(0.475, abs=0.02)  # of a normal of ½, cut at ±1
    assert agent.policy(torch.zeros(1, 1)).item() == 0.0


def test_noise_has_its_deviation_and_is_clipped_on_both_sides():
    zeros = torch.zeros(10_000, 1)
    noise = noisy(zeros, 0.1, torch.Generator().manual_seed(0))
    assert noise.std().item() == pytest.approx(0.1, rel=0.05)
    noise = noisy(zeros, 1.0, torch.Generator().manual_seed(0), clip=0.3)
    assert (noise.min().item(), noise.max().item()) == (pytest.approx(-0.3), pytest.approx(0.3))
    assert noisy(zeros - 0.99, 1.0, torch.Generator().manual_seed(0)).min().item() == -1.0


@pytest.mark.parametrize(("agent_class", "config"), [(DDPG, DDPG_CONFIG), (SAC, SAC_CONFIG)])
def test_target_networks_start_as_copies_and_get_no_gradients(monkeypatch, agent_class, config):
    agent, _ = make(agent_class, monkeypatch, action_space=ONE_NUMBER, **config)
    pairs = list(zip(agent.critic.parameters(), agent.target_critic.parameters(), strict=True))
    assert all(torch.equal(*pair) and pair[0] is not pair[1] for pair in pairs)
    assert all(one.requires_grad and not target.requires_grad for one, target in pairs)


@pytest.mark.parametrize(("agent_class", "config"), [(DDPG, DDPG_CONFIG), (SAC, SAC_CONFIG)])
def test_optimizers_have_the_learning_rate_and_epsilon_of_the_settings(monkeypatch, agent_class, config):
    settings = {**config, "learning_rate": 2e-3, "adam_eps": 1e-4}
    agent, _ = make(agent_class, monkeypatch, action_space=ONE_NUMBER, **settings)
    learned = [p for opt in agent.optimizers.values() for group in opt.param_groups for p in group["params"]]
    expected = [*agent.actor.parameters(), *agent.critic.parameters()]
    expected += [agent.log_alpha] if agent_class is SAC else []
    assert set(map(id, learned)) == set(map(id, expected))
    assert all((opt.defaults["lr"], opt.defaults["eps"]) == (2e-3, 1e-4) for opt in agent.optimizers.values())


class Sum(torch.nn.Module):
    """Values obs + 10 · action and twice that, times a weight."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, obs, actions):
        value = self.weight * (obs[:, 0] + 10 * actions[:, 0])
        return value, 2 * value


def test_critic_errors_are_between_what_was_done_and_what_follows():
    batch = Transitions(
        obs=torch.tensor([[1.0], [0.0]]),
        actions=torch.tensor([[2.0], [0.0]]),
        rewards=torch.tensor([5.0, 0.0]),
        discounts=torch.tensor([0.5, 0.0]),
        next_obs=torch.tensor([[3.0], [3.0]]),
    )
    critic, target = Sum(), Sum(2.0)
    loss = critic_loss(critic, target, batch, next_actions=torch.tensor([[4.0], [4.0]]))
    # values 21 and 42; target 5 + ½ · 2 · (3 + 40) = 48; nothing where an episode terminated
    assert loss.item() == pytest.approx((27**2 + 6**2) / 2)
    loss.backward()
    assert critic.weight.grad.item() == pytest.approx(-27 * 21 - 6 * 42)
    assert target.weight.grad is None


def test_ddpg_learns_from_the_next_action_of_its_actor_and_the_target_critic(monkeypatch):
    agent, envs = make_ddpg(monkeypatch)
    play(agent, envs, 2)
    seen, original = [], ddpg.critic_loss
    before = agent.actor(torch.arange(200.0)[:, None]).detach()

    def watched(critic, target_critic, batch, next_actions):
        seen.append((critic, target_critic, batch, next_actions))
        return original(critic, target_critic, batch, next_actions)

    monkeypatch.setattr(ddpg, "critic_loss", watched)
    agent.learn(0)
    critic, target_critic, batch, next_actions = seen[0]
    assert (critic, target_critic) == (agent.critic, agent.target_critic)
    torch.testing.assert_close(next_actions, before[batch.next_obs[:, 0].long()])
    assert not next_actions.requires_grad


def test_ddpg_moves_the_actor_up_its_critic_and_the_target_by_tau(monkeypatch):
    agent, envs = make_ddpg(monkeypatch)
    play(agent, envs, 2)
    agent.critic, agent.target_critic = Sum(1.0), Sum(-1.0)
    bias = agent.actor.layers[-1].bias
    constant(agent.actor, 0.0)
    agent.optimizers["critic"] = torch.optim.SGD(agent.critic.parameters(), 0.0)
    agent.optimizers["actor"] = torch.optim.SGD([bias], 0.01)
    critic_gradients = []
    agent.optimizers["critic"].register_step_post_hook(
        lambda *_: critic_gradients.append(agent.critic.weight.grad.item())
    )
    monkeypatch.setattr(agent.replay, "sample", lambda *_: TEN)
    agent.learn(0)
    # the smaller value is 1 + 10 a, and a = tanh(bias) has slope 1 at 0
    assert bias.item() == pytest.approx(0.1)
    assert agent.critic.weight.grad.item() == critic_gradients[0], "the actor's loss is not the critic's"
    assert agent.target_critic.weight.item() == pytest.approx(-0.5)  # a quarter of the way from -1 to 1


ones = torch.ones(3, 1)
TEN = Transitions(ones, 0 * ones, ones[:, 0], 0.5 * ones[:, 0], ones)


def test_a_replay_draws_only_rows_that_were_filled_and_goes_around():
    replay = StateReplay(capacity=4, obs_dim=1, action_dim=1, device=torch.device("cpu"))
    replay._table.fill_(-1.0)
    seen = []
    for number in range(6):
        row = torch.full((1, 1), float(number))
        replay.add(Transitions(row, row, row[0], row[0], row), torch.tensor([False]))
        seen.append(sorted(set(replay.sample(200, torch.Generator().manual_seed(0)).obs[:, 0].tolist())))
    assert seen[:2] == [[0], [0, 1]]
    assert seen[3:] == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]


def test_a_target_stays_where_it_is_when_tau_is_zero_and_jumps_when_it_is_one():
    for tau, expected in ((0.0, 1.0), (1.0, 5.0)):
        target, source = Sum(1.0), Sum(5.0)
        move_target(target, source, tau)
        assert (target.weight.item(), source.weight.item()) == (expected, 5.0)
