"""PPG's phases."""

import pytest
import torch

from rllte.agent import ppg
from rllte.agent.ppg import PPG, _gather
from rllte.agent.rollout import Batch
from rllte.errors import HubError
from tests.agent.scripted import ON_POLICY, PlainEncoder, constant, make

CONFIG = {
    **ON_POLICY, "clip_range": 0.2, "policy_updates": 2, "aux_epochs": 2, "aux_batch_size": 4,
    "aux_learning_rate": 7e-4, "beta_clone": 3.0, "vf_coef": 0.5, "ent_coef": 0.1, "n_epochs": 2,
}  # fmt: skip


@pytest.fixture
def agent(monkeypatch):
    return make(PPG, monkeypatch, **CONFIG)[0]


def run(agent, num_updates):
    envs = agent.make_envs(2, [0, 1], True)
    obs = envs.reset()[0]
    for agent.num_updates in range(num_updates):
        obs = agent.update(envs, obs)


def test_policy_phase_minimises_policy_value_and_entropy_losses(agent):
    constant(agent.network, 0.0)
    agent.network.critic.critic[-1].bias.data.fill_(1.0)
    log_half = torch.tensor(0.5).log()
    batch = Batch(
        obs=torch.zeros(2, 1),
        actions=torch.tensor([0, 1]),
        log_probs=torch.stack([log_half - 0.1, log_half]),
        values=torch.zeros(2),
        advantages=torch.tensor([2.0, 4.0]),
        returns=torch.tensor([4.0, 2.0]),
    )
    # ratios e^0.1 and 1; errors of the value 3 and 1, not clipped near old values; two equal probabilities
    expected = -(2 * torch.tensor(0.1).exp() + 4) / 2 + 0.5 * (9 + 1) / 2 + 0.1 * log_half
    assert agent.loss(batch).item() == pytest.approx(expected.item())


def test_the_auxiliary_phase_follows_the_last_update_of_a_policy_phase(agent, monkeypatch):
    phases = []
    monkeypatch.setattr(
        agent, "_auxiliary_phase", lambda: phases.append((agent.num_updates, len(agent.memory)))
    )
    run(agent, 5)
    assert phases == [(1, 2), (3, 2)]
    assert len(agent.memory) == 1


def auxiliary_steps(agent, monkeypatch, loss=None):
    """Return what each gradient step of an auxiliary phase gets: outputs, old logits, returns, weight."""
    steps, original = [], ppg.auxiliary_loss

    def watched(output, *rest):
        steps.append((output, *rest))
        return (loss or original)(output, *rest)

    monkeypatch.setattr(ppg, "auxiliary_loss", watched)
    run(agent, 2)
    return steps


def test_the_auxiliary_phase_sees_every_sample_of_its_policy_phase_once_an_epoch(agent, monkeypatch):
    seen, gather = [], ppg._gather
    monkeypatch.setattr(ppg, "_gather", lambda *args: seen.append(gather(*args)) or seen[-1])
    steps = auxiliary_steps(agent, monkeypatch)
    assert [len(returns) for _, _, returns, _ in steps] == [4] * 6  # 2 epochs of 12 samples
    everything = sorted([*range(6), *range(100, 106)])
    epochs = [torch.cat(seen[k : k + 3])[:, 0].tolist() for k in (0, 3)]
    assert [sorted(epoch) for epoch in epochs] == [everything] * 2
    assert epochs[0] != epochs[1]


def test_samples_of_the_auxiliary_phase_keep_their_returns_and_old_logits(agent, monkeypatch):
    constant(agent.network, 0.0)
    agent.policy.actor[0].weight.data.copy_(torch.tensor([[0.0], [0.01]]))
    old = agent.policy.actor[0].weight.data.clone()
    for opt in agent.optimizers.values():
        opt.param_groups[0]["lr"] = 0.0
    agent.optimizers["auxiliary"].param_groups[0]["lr"] = 0.1
    seen, gather = [], ppg._gather
    monkeypatch.setattr(ppg, "_gather", lambda *args: seen.append(gather(*args)) or seen[-1])
    steps = auxiliary_steps(agent, monkeypatch)
    # values are 0, λ = 1 and γ = ½: returns of age a are those of the rollout it is in, up to its end
    sums = {0: 2.75, 1: 3.5, 2: 3.0, 3: 4 + 5 / 2 + 6 / 4, 4: 5 + 6 / 2, 5: 6.0}
    for obs, (_, old_logits, returns, beta) in zip(seen, steps, strict=True):
        assert returns.tolist() == pytest.approx([sums[int(number) % 100] for number in obs[:, 0]])
        torch.testing.assert_close(old_logits, obs @ old.T)
        assert beta == 3.0
    assert not torch.equal(agent.policy.actor[0].weight.data, old), "the phase moved the policy"


def test_the_auxiliary_phase_has_an_optimizer_of_its_own_and_forgets_gradients(agent, monkeypatch):
    bias = agent.network.aux_critic[-1].bias
    agent.optimizers["auxiliary"] = torch.optim.SGD([bias], 1.0)
    bias.data.zero_()
    auxiliary_steps(agent, monkeypatch, loss=lambda *_: bias.sum())
    assert bias.item() == -6.0  # six gradient steps of one each


def test_pieces_of_the_auxiliary_phase_weigh_by_their_samples(agent, monkeypatch):
    monkeypatch.setattr(PlainEncoder, "piece_size", 3)
    bias = agent.network.aux_critic[-1].bias
    agent.optimizers["auxiliary"] = torch.optim.SGD([bias], 1.0)
    bias.data.zero_()
    steps = auxiliary_steps(agent, monkeypatch, loss=lambda _, __, returns, ___: bias.sum() * len(returns))
    assert [len(returns) for _, _, returns, _ in steps] == [3, 1] * 6
    assert bias.item() == -6 * (3 * 3 + 1 * 1) / 4


def test_auxiliary_values_shape_the_features_of_the_policy(agent):
    obs = torch.ones(2, 1, requires_grad=True)
    agent.network.auxiliary(obs)[1].sum().backward()
    assert obs.grad.abs().min() > 0


def test_rows_of_several_rollouts_are_gathered_by_number():
    rollouts = [torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]])]
    assert _gather(rollouts, torch.tensor([4, 0, 2]), 3)[:, 0].tolist() == [4, 0, 2]


def test_a_minibatch_larger_than_a_rollout_is_refused(monkeypatch):
    with pytest.raises(HubError, match=r"aux_batch_size is 7; write num_steps × num_envs \(3 × 2\) or less"):
        make(PPG, monkeypatch, **{**CONFIG, "aux_batch_size": 7})
