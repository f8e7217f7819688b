import dataclasses
import math

import pytest
import torch

from rllte.agent.a2c import a2c_loss
from rllte.agent.daac import DAACConfig, daac_policy_loss
from rllte.agent.impala import IMPALAConfig, Unrolls, impala_loss
from rllte.agent.losses import log_probs_and_entropy
from rllte.agent.onpolicy import OnPolicyConfig
from rllte.agent.ppg import auxiliary_loss
from rllte.agent.rollout import Batch

ON_POLICY = {
    "num_envs": 1, "num_steps": 1, "batch_size": 1, "n_epochs": 1, "learning_rate": 1e-3, "adam_eps": 1e-8,
    "gamma": 0.99, "gae_lambda": 0.95, "normalize_advantage": "none", "ent_coef": 0.0, "vf_coef": 0.0,
    "max_grad_norm": 1.0, "encoder": "minigrid_cnn", "feature_dim": 1, "hidden_dim": 1,
}  # fmt: skip
EVEN = torch.zeros(1, 2)
LOG_HALF = math.log(0.5)


def sample(advantage=0.0, target=0.0, old=0.5):
    return Batch(
        obs=torch.zeros(1),
        actions=torch.tensor([0]),
        log_probs=torch.tensor([math.log(old)]),
        values=torch.zeros(1),
        advantages=torch.tensor([advantage]),
        returns=torch.tensor([target]),
    )


def test_log_probabilities_and_entropy_of_two_equal_actions():
    log_probs, entropy = log_probs_and_entropy(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    assert log_probs.tolist() == pytest.approx([LOG_HALF] * 3)
    assert entropy.item() == pytest.approx(math.log(2))


def test_a2c_loss_is_minus_log_probability_times_advantage_plus_squared_error_minus_entropy():
    config = OnPolicyConfig(**{**ON_POLICY, "vf_coef": 0.5, "ent_coef": 0.1})
    got = a2c_loss((EVEN, torch.tensor([1.0])), sample(advantage=2.0, target=4.0), config)
    assert got.item() == pytest.approx(-LOG_HALF * 2.0 + 0.5 * 9.0 - 0.1 * math.log(2))


def test_a2c_loss_is_a_mean_over_the_batch():
    two = Batch(*(torch.cat(parts) for parts in zip(sample(2.0, 4.0), sample(4.0, 2.0), strict=True)))
    config = OnPolicyConfig(**{**ON_POLICY, "vf_coef": 0.5, "ent_coef": 0.1})
    got = a2c_loss((torch.zeros(2, 2), torch.tensor([1.0, 1.0])), two, config)
    assert got.item() == pytest.approx(-LOG_HALF * 3.0 + 0.5 * (9.0 + 1.0) / 2 - 0.1 * math.log(2))


def test_a2c_gradient_raises_the_probability_of_a_good_action():
    logits = EVEN.clone().requires_grad_()
    a2c_loss((logits, torch.zeros(1)), sample(advantage=1.0), OnPolicyConfig(**ON_POLICY)).backward()
    assert logits.grad.tolist() == [[-0.5, 0.5]]


def daac_config(**settings):
    own = {"value_epochs": 1, "value_freq": 1, "adv_coef": 0.0, "clip_range": 0.2, "clip_range_vf": 0.2}
    return DAACConfig(**{**ON_POLICY, **own, **settings})


def test_daac_loss_adds_the_squared_error_of_the_predicted_advantage():
    # the ratio 0.5 / 0.25 = 2 is clipped to 1.2; the head says 5 where the advantage is 2
    got = daac_policy_loss((EVEN, torch.tensor([5.0])), sample(2.0, old=0.25), daac_config(adv_coef=0.1))
    assert got.item() == pytest.approx(-1.2 * 2.0 + 0.1 * 9.0)


def test_entropy_lowers_the_loss_of_daac():
    got = daac_policy_loss((EVEN, torch.tensor([0.0])), sample(), daac_config(ent_coef=0.1))
    assert got.item() == pytest.approx(-0.1 * math.log(2))


def test_auxiliary_loss_is_a_divergence_from_the_old_policy_plus_two_half_squared_errors():
    # KL((¾, ¼) ‖ (½, ½)) = ¾ log 1.5 + ¼ log 0.5
    old_logits = torch.log(torch.tensor([[0.75, 0.25]]))
    output = (EVEN, torch.tensor([1.0]), torch.tensor([4.0]))
    got = auxiliary_loss(output, old_logits, torch.tensor([2.0]), beta_clone=3.0)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert got.item() == pytest.approx(3.0 * divergence + 0.5 * 1.0 + 0.5 * 4.0)


def test_auxiliary_loss_is_a_mean_over_the_batch():
    old_logits = torch.log(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    output = (torch.zeros(2, 2), torch.tensor([1.0, 2.0]), torch.tensor([4.0, 2.0]))
    got = auxiliary_loss(output, old_logits, torch.tensor([2.0, 2.0]), beta_clone=1.0)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert got.item() == pytest.approx(divergence / 2 + 0.5 * 1.0 / 2 + 0.5 * 4.0 / 2)


IMPALA = IMPALAConfig(
    num_envs=1, num_steps=1, batch_size=1, learning_rate=1e-3, rmsprop_alpha=0.99, rmsprop_eps=0.01,
    gamma=0.5, ent_coef=0.0, vf_coef=0.0, max_grad_norm=1.0, encoder="nature_cnn", feature_dim=1,
    hidden_dim=0,
)  # fmt: skip


def one_step(old_logits, reward=1.0, discount=0.5):
    return Unrolls(
        obs=torch.zeros(2, 1),
        actions=torch.zeros(1, 1, dtype=torch.int64),
        logits=old_logits[None],
        rewards=torch.tensor([[reward]]),
        discounts=torch.tensor([[discount]]),
    )


@pytest.mark.parametrize(("old", "rho"), [(0.5, 1.0), (0.8, 0.625), (0.25, 1.0)])
def test_impala_weighs_by_the_clipped_ratio_of_policies(old, rho):
    # V = 2, then 4: the advantage is ρ (1 + ½·4 - 2) = ρ, the target 2 + ρ
    logits, values = torch.zeros(2, 1, 2), torch.tensor([[2.0], [4.0]])
    old_logits = torch.log(torch.tensor([[old, 1 - old]]))
    config = dataclasses.replace(IMPALA, vf_coef=1.0, ent_coef=0.1)
    got = impala_loss((logits, values), one_step(old_logits), config).item()
    assert got == pytest.approx(-LOG_HALF * rho + 0.5 * rho**2 - 0.1 * math.log(2), rel=1e-5)


def test_impala_gradients_flow_through_probabilities_and_values_alone():
    logits = torch.zeros(2, 1, 2, requires_grad=True)
    values = torch.tensor([[2.0], [4.0]], requires_grad=True)
    config = dataclasses.replace(IMPALA, vf_coef=1.0)
    impala_loss((logits, values), one_step(EVEN), config).backward()
    # -∇ log π(0) = (-½, ½) times an advantage of 1; -(target - V) = -1, and none to the last value
    assert logits.grad[:, 0].tolist() == [[-0.5, 0.5], [0.0, 0.0]]
    assert values.grad[:, 0].tolist() == [-1.0, 0.0]


def test_impala_sums_over_steps_and_environments():
    # ρ = 1, V = 0 everywhere and no future: each of six advantages and targets is its reward, 2
    unrolls = Unrolls(
        obs=torch.zeros(3, 3, 1),
        actions=torch.zeros(2, 3, dtype=torch.int64),
        logits=torch.zeros(2, 3, 2),
        rewards=torch.full((2, 3), 2.0),
        discounts=torch.zeros(2, 3),
    )
    config = dataclasses.replace(IMPALA, vf_coef=0.5, ent_coef=0.1)
    got = impala_loss((torch.zeros(3, 3, 2), torch.zeros(3, 3)), unrolls, config).item()
    assert got == pytest.approx(6 * (-LOG_HALF * 2.0 + 0.5 * 0.5 * 4.0 - 0.1 * math.log(2)), rel=1e-5)


def test_impala_takes_the_probabilities_of_the_steps_acted_on():
    # the last logits are those of an observation that was not acted on
    logits = torch.tensor([[[0.0, 0.0]], [[9.0, -9.0]]])
    got = impala_loss((logits, torch.tensor([[2.0], [4.0]])), one_step(EVEN), IMPALA).item()
    assert got == pytest.approx(-LOG_HALF)
