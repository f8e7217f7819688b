"""What IMPALA records, and when it learns from what."""

import pytest
import torch

from rllte.agent import impala
from rllte.agent.impala import IMPALA
from tests.agent.scripted import constant, make

CONFIG = {
    "num_envs": 2, "num_steps": 3, "batch_size": 1, "learning_rate": 1e-3, "rmsprop_alpha": 0.99,
    "rmsprop_eps": 0.01, "gamma": 0.5, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 1e6,
    "encoder": "plain", "feature_dim": 1, "hidden_dim": 0,
}  # fmt: skip


@pytest.fixture
def start(monkeypatch):
    """Return an agent and its environments after so many updates, with what it learned from in each."""

    def begin(num_updates=0, ends=(), **config):
        agent, _ = make(IMPALA, monkeypatch, ends=ends, **{**CONFIG, **config})
        envs, learned = agent.make_envs(agent.config.num_envs, [0] * agent.config.num_envs, True), []
        loss = impala.impala_loss

        def watched(output, unrolls, config):
            envs.calls.append("learn")
            learned[-1].append(unrolls)
            return loss(output, unrolls, config)

        monkeypatch.setattr(impala, "impala_loss", watched)
        obs = envs.reset()[0]
        for agent.num_updates in range(num_updates):
            learned.append([])
            obs = agent.update(envs, obs)
        return agent, envs, learned

    return begin


def test_unrolls_hold_what_was_seen_and_done_with_one_more_observation(start):
    agent, envs, _ = start(1)
    unrolls = agent._learning
    assert unrolls.obs[:, :, 0].tolist() == [[0, 100], [1, 101], [2, 102], [3, 103]]
    assert torch.equal(unrolls.actions, torch.stack(envs.actions))
    assert unrolls.rewards.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert unrolls.discounts.tolist() == [[0.5, 0.5]] * 3


def test_logits_are_those_of_the_policy_that_acted(start):
    agent, envs, _ = start()
    agent.policy.actor[0].weight.data = torch.tensor([[0.0], [0.01]])
    agent.update(envs, envs.reset()[0])
    expected = [[[0.0, 0.01 * obs] for obs in row] for row in ([0, 100], [1, 101], [2, 102])]
    torch.testing.assert_close(agent._learning.logits, torch.tensor(expected))


def test_an_end_has_no_future_but_a_truncated_one_has_the_value_of_its_last_observation(start):
    ends = {(1, 0): "truncated", (2, 0): "terminated", (3, 0): "both", (2, 1): "truncated"}
    agent, envs, _ = start(ends=ends)
    constant(agent.network, 0.0)
    agent.network.critic[-1].weight.data.fill_(10.0)  # the value of an observation is ten times itself
    agent.update(envs, envs.reset()[0])
    # environment 0: 1 + ½·10 (its last observation was 1), then episodes of one step each that terminate
    assert agent._learning.rewards[:, 0].tolist() == [6, 1, 1]
    assert agent._learning.discounts[:, 0].tolist() == [0, 0, 0]
    # environment 1: its last observation was 102
    assert agent._learning.rewards[:, 1].tolist() == [1, 2 + 510, 1]
    assert agent._learning.discounts[:, 1].tolist() == [0.5, 0, 0.5]
    assert agent._learning.obs[:, 1, 0].tolist() == [100, 101, 100, 101]
    assert not agent._learning.rewards.requires_grad


def test_the_environments_rewards_stay_as_they_were(start):
    agent, _, _ = start()
    rewards, cut = torch.ones(2), torch.tensor([True, False])
    agent._record(0, rewards, ~cut & False, cut, {"final_obs": torch.ones(2, 1)})
    assert rewards.tolist() == [1, 1]


def test_ended_episodes_are_reported(start):
    agent, _, _ = start(1, ends={(2, 1): "truncated"})
    assert agent._ended == [[3.0, 2.0]]


def test_the_first_update_learns_nothing_and_later_ones_from_the_unrolls_before(start):
    _, _, learned = start(3)
    assert learned[0] == []
    # each of the two environments once, in whatever order
    for update, first in ((1, 0), (2, 3)):
        seen = sorted(int(unrolls.obs[0, 0, 0]) for unrolls in learned[update])
        assert seen == [first, 100 + first]


def test_parts_of_an_unroll_stay_together(start):
    agent, _, learned = start(2, num_envs=4, batch_size=2)
    before = agent._filling  # what was learned from
    for unrolls in learned[1]:
        envs = (unrolls.obs[0, :, 0] / 100).long()
        for part, whole in zip(unrolls, before, strict=True):
            assert part.shape[:2] == (len(whole), 2)
        assert torch.equal(unrolls.actions, before.actions[:, envs])
        assert torch.equal(unrolls.logits, before.logits[:, envs])


def test_it_learns_while_the_environments_move(start):
    _, envs, _ = start(2)
    # two minibatches in three steps: at the first and at the second
    moves, busy = ["step_async", "step_wait"], ["step_async", "learn", "step_wait"]
    assert envs.calls == [*moves * 3, *busy * 2, *moves]


def test_few_gradient_steps_are_spread_over_the_unroll(start):
    _, envs, _ = start(2, num_steps=4)
    moves, busy = ["step_async", "step_wait"], ["step_async", "learn", "step_wait"]
    assert envs.calls[8:] == [*busy, *moves] * 2


def test_gradient_steps_that_do_not_fit_into_an_unroll_come_after_it(start):
    _, envs, learned = start(2, num_envs=5, num_steps=3)
    assert len(learned[1]) == 5
    assert envs.calls[6:] == [*["step_async", "learn", "step_wait"] * 3, "learn", "learn"]


@pytest.mark.parametrize(("max_grad_norm", "moved"), [(100.0, -10.0), (0.5, -1.0)])
def test_gradients_are_those_of_one_minibatch_clipped_to_a_norm(start, monkeypatch, max_grad_norm, moved):
    agent, envs, _ = start(1, max_grad_norm=max_grad_norm)
    bias = agent.network.critic[-1].bias
    bias.data.zero_()
    agent.optimizers["network"] = torch.optim.SGD(agent.network.parameters(), 1.0)
    monkeypatch.setattr(impala, "impala_loss", lambda *_: 5 * bias.sum())
    agent.num_updates = 1
    agent.update(envs, envs.reset()[0])
    assert bias.item() == pytest.approx(moved)  # two gradient steps


def test_minibatches_are_drawn_anew_in_each_update_and_hold_every_environment_once(start):
    _, _, learned = start(num_updates=7, num_envs=6)
    # environment i shows 100 i + the age of its episode
    orders = [[int(unrolls.obs[0, 0, 0]) // 100 for unrolls in update] for update in learned[1:]]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1, "in a fixed order neighbours always learn together"
