"""How on-policy agents collect samples and pass over them."""

import pytest
import torch

from rllte.agent.a2c import A2C
from rllte.agent.daac import DAAC
from rllte.agent.impala import IMPALA
from rllte.agent.onpolicy import standardize
from rllte.agent.ppg import PPG
from rllte.agent.ppo import PPO
from rllte.agent.rollout import Batch
from tests.agent.scripted import ON_POLICY, PlainEncoder, constant, make

CLIPS = {"clip_range": 0.2, "clip_range_vf": 0.3}
CONFIGS = {
    A2C: ON_POLICY,
    PPO: {**ON_POLICY, **CLIPS},
    DAAC: {**ON_POLICY, **CLIPS, "value_epochs": 3, "value_freq": 2, "adv_coef": 0.1},
    PPG: {
        **ON_POLICY, "clip_range": 0.2, "policy_updates": 2, "aux_epochs": 2, "aux_batch_size": 4,
        "aux_learning_rate": 7e-4, "beta_clone": 3.0,
    },
}  # fmt: skip


def make_ppo(monkeypatch, **config):
    agent, made = make(PPO, monkeypatch, **{**ON_POLICY, **CLIPS, **config})
    constant(agent.network.critic, 0.0)  # values are 0: with λ = 1, advantages are discounted sums of rewards
    return agent, made


def collected(agent, ends=()):
    envs = agent.make_envs(2, [0, 1], True)
    envs.ends = dict(ends)
    return agent.collect(agent.network, envs, envs.reset()[0])[0]


def test_samples_have_the_discounted_sums_of_their_own_episodes(monkeypatch):
    agent, _ = make_ppo(monkeypatch)
    samples = collected(agent, {(2, 1): "truncated"})
    # 1 + ½·2 + ¼·3 = 2.75 and 2 + ½·3 = 3.5; environment 1 begins anew after two steps
    assert samples.returns.tolist() == [2.75, 2.0, 3.5, 2.0, 3.0, 1.0]


def test_lambda_decides_how_far_errors_are_summed(monkeypatch):
    agent, _ = make_ppo(monkeypatch, gae_lambda=0.25)
    # γ λ = ⅛: 1 + ⅛ (2 + ⅛·3)
    assert collected(agent).advantages[0].item() == pytest.approx(1 + (2 + 3 / 8) / 8)


def test_rewards_are_scaled_before_advantages_and_sums_end_with_an_episode(monkeypatch):
    agent, _ = make_ppo(monkeypatch, normalize_reward=True)
    seen = []

    def double(rewards, ended):
        seen.append(ended.clone())
        rewards.mul_(2)

    monkeypatch.setattr(agent.reward_scaler, "scale_", double)
    samples = collected(agent, {(1, 0): "truncated", (2, 1): "terminated"})
    assert samples.returns.tolist() == [2.0, 4.0, 4.0, 4.0, 4.0, 2.0]
    assert seen[0].tolist() == [[True, False], [False, True], [False, False]]


def test_sums_of_rewards_begin_anew_with_the_environments(monkeypatch):
    agent, _ = make_ppo(monkeypatch, normalize_reward=True)
    collected(agent)
    assert agent.reward_scaler._sums.tolist() == pytest.approx([3 + 0.99 * (2 + 0.99)] * 2)
    agent.start_segment()
    assert agent.reward_scaler._sums.tolist() == [0.0, 0.0]


def minibatches_of(agent, samples):
    """Return what each gradient step sees."""
    seen = []

    def loss(batch):
        seen.append(batch)
        return agent.network(batch.obs)[1].sum()

    agent.minimize(loss, samples, agent.config.n_epochs, "network")
    return seen


@pytest.mark.parametrize("piece_size", [None, 4])
def test_a_minibatch_in_pieces_has_the_gradient_of_the_whole(monkeypatch, piece_size):
    monkeypatch.setattr(PlainEncoder, "piece_size", piece_size)
    agent, _ = make_ppo(monkeypatch, batch_size=6)
    weight = torch.nn.Linear(1, 1, bias=False)
    weight.weight.data.zero_()
    agent.modules["network"], agent.optimizers["network"] = weight, torch.optim.SGD(weight.parameters(), 1.0)
    sizes = []

    def loss(batch):
        sizes.append(len(batch.actions))
        return (weight.weight * batch.returns).mean()

    agent.minimize(loss, collected(agent), 1, "network")
    assert sizes == ([4, 2] if piece_size else [6])
    mean = (2.75 + 2.75 + 3.5 + 3.5 + 3.0 + 3.0) / 6
    assert weight.weight.item() == pytest.approx(-mean)


def test_a_gpu_computes_a_minibatch_at_once(monkeypatch):
    monkeypatch.setattr(PlainEncoder, "piece_size", 4)
    agent, _ = make_ppo(monkeypatch)
    assert agent.piece_size == 4
    agent.device = torch.device("cuda")
    assert agent.piece_size == 6  # the whole rollout, and so every minibatch of it


def test_advantages_are_normalised_over_a_minibatch_not_its_pieces(monkeypatch):
    monkeypatch.setattr(PlainEncoder, "piece_size", 1)
    agent, _ = make_ppo(monkeypatch, normalize_advantage="minibatch", batch_size=6)
    pieces = minibatches_of(agent, collected(agent))
    returns, advantages = (
        torch.cat([getattr(piece, key) for piece in pieces]) for key in ("returns", "advantages")
    )
    torch.testing.assert_close(advantages, standardize(returns))


@pytest.mark.parametrize(
    ("agent_class", "names"),
    [(A2C, ["loss"]), (PPO, ["loss"]), (PPG, ["loss"]), (DAAC, ["loss", "_value_loss"])],
)
def test_a_loss_is_the_mean_over_its_samples(monkeypatch, agent_class, names):
    agent, _ = make(agent_class, monkeypatch, **CONFIGS[agent_class])
    samples = Batch(
        obs=torch.tensor([[1.0], [-2.0], [3.0]]),
        actions=torch.tensor([0, 1, 1]),
        log_probs=torch.tensor([-0.5, -0.7, -1.0]),
        values=torch.tensor([0.5, -1.0, 2.0]),
        advantages=torch.tensor([1.0, -2.0, 0.5]),
        returns=torch.tensor([2.0, 1.0, -3.0]),
    )
    for name in names:
        loss = getattr(agent, name)
        one, two = (loss(Batch(*(part[rows] for part in samples))) for rows in (slice(1), slice(1, 3)))
        assert loss(samples).item() == pytest.approx((one + 2 * two).item() / 3)


@pytest.mark.parametrize("scope", ["rollout", "minibatch", "none"])
def test_advantages_are_normalised_over_what_the_setting_says_and_returns_never(monkeypatch, scope):
    agent, _ = make_ppo(monkeypatch, normalize_advantage=scope, batch_size=3)
    plain = torch.tensor([2.75, 2.75, 3.5, 3.5, 3.0, 3.0])
    samples = collected(agent)
    torch.testing.assert_close(samples.advantages, standardize(plain) if scope == "rollout" else plain)
    assert torch.equal(samples.returns, plain)
    for batch in minibatches_of(agent, samples):
        same = batch.returns if scope != "rollout" else (batch.returns - plain.mean()) / plain.std()
        expected = standardize(batch.returns) if scope == "minibatch" else same
        torch.testing.assert_close(batch.advantages, expected, rtol=1e-4, atol=1e-4)


def test_standardize_gives_zeros_where_all_values_are_equal():
    assert standardize(torch.full((3,), 7.0)).tolist() == [0.0, 0.0, 0.0]


def test_each_epoch_sees_every_sample_once_in_another_order(monkeypatch):
    agent, _ = make_ppo(monkeypatch, n_epochs=3)
    numbers = torch.arange(6.0)
    samples = Batch(numbers[:, None], numbers.long() % 2, *(numbers + i for i in range(4)))
    seen = minibatches_of(agent, samples)
    assert [len(batch.actions) for batch in seen] == [2] * 9
    orders = [torch.cat([batch.log_probs for batch in seen[k : k + 3]]).tolist() for k in (0, 3, 6)]
    assert all(sorted(order) == numbers.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert all(torch.equal(batch.obs[:, 0] + 3, batch.returns) for batch in seen), "rows stay together"


def test_an_update_passes_n_epochs_times_over_its_rollout(monkeypatch):
    agent, made = make_ppo(monkeypatch, n_epochs=4)
    passes = []
    loss = agent.loss
    monkeypatch.setattr(agent, "loss", lambda batch: passes.append(len(batch.actions)) or loss(batch))
    agent.update(made[0], made[0].reset()[0])
    assert passes == [2] * 12


@pytest.mark.parametrize(
    ("slope", "max_grad_norm", "moved"),
    [
        (
            (3.0, 4.0),
            100.0,
            (-9.0, -12.0),
        ),  # three steps of the plain gradient: none is left over from before
        ((3.0, 4.0), 0.5, (-0.9, -1.2)),  # a gradient of length 5 keeps its direction and gets length ½
    ],
)
def test_gradients_are_those_of_one_minibatch_clipped_to_a_norm(monkeypatch, slope, max_grad_norm, moved):
    agent, _ = make_ppo(monkeypatch, max_grad_norm=max_grad_norm)
    weight = torch.nn.Linear(2, 1, bias=False)
    weight.weight.data.zero_()
    agent.modules["network"], agent.optimizers["network"] = weight, torch.optim.SGD(weight.parameters(), 1.0)
    samples = collected(agent)
    agent.minimize(lambda _: (weight.weight * torch.tensor(slope)).sum(), samples, 1, "network")
    assert weight.weight[0].tolist() == pytest.approx(moved)


@pytest.mark.parametrize(
    ("agent_class", "expected"),
    [
        (A2C, {"network": (1e-3, 1e-5)}),
        (PPO, {"network": (1e-3, 1e-5)}),
        (DAAC, {"actor": (1e-3, 1e-5), "critic": (1e-3, 1e-5)}),
        (PPG, {"network": (1e-3, 1e-5), "auxiliary": (7e-4, 1e-5)}),
    ],
)
def test_optimizers_have_the_learning_rate_and_epsilon_of_the_settings(monkeypatch, agent_class, expected):
    agent, _ = make(agent_class, monkeypatch, **CONFIGS[agent_class])
    found = {name: (opt.defaults["lr"], opt.defaults["eps"]) for name, opt in agent.optimizers.items()}
    assert found == expected


def test_impala_has_the_rmsprop_of_its_settings(monkeypatch):
    config = {
        "num_envs": 2, "num_steps": 3, "batch_size": 1, "learning_rate": 1e-3, "rmsprop_alpha": 0.9,
        "rmsprop_eps": 0.02, "gamma": 0.5, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 1.0,
        "encoder": "plain", "feature_dim": 1, "hidden_dim": 0,
    }  # fmt: skip
    agent, _ = make(IMPALA, monkeypatch, **config)
    defaults = agent.optimizers["network"].defaults
    assert [defaults[key] for key in ("lr", "alpha", "eps", "momentum", "centered")] == [
        1e-3,
        0.9,
        0.02,
        0,
        False,
    ]
