"""When DrQ-v2 learns, with how much noise, and from which images."""

import copy
import math

import pytest
import torch

from rllte.agent import drqv2
from rllte.agent.drqv2 import DrQv2, Trunk
from rllte.errors import HubError
from tests.agent.scripted import OFF_POLICY, ONE_NUMBER, make

CONFIG = {
    **OFF_POLICY, "num_envs": 1, "learning_starts": 6, "update_interval": 2, "n_steps": 3, "width": 2,
    "feature_dim": 4, "std_start": 1.0, "std_end": 0.2, "std_steps": 40, "std_clip": 0.3, "pad": 1,
}  # fmt: skip
IMAGES = ((9, 15, 15), "uint8")


@pytest.fixture
def start(monkeypatch):
    """Return an agent and its environment after so many steps."""

    def begin(num_updates=0, ends=(), **config):
        settings = {**CONFIG, **config}
        agent, _ = make(DrQv2, monkeypatch, ends=ends, action_space=ONE_NUMBER, space=IMAGES, **settings)
        envs = agent.make_envs(1, [0], True)
        obs = envs.reset()[0]
        for agent.num_updates in range(num_updates):
            obs = agent.update(envs, obs)
        return agent, envs

    return begin


@pytest.mark.parametrize(("env_step", "std"), [(0, 1.0), (10, 0.8), (40, 0.2), (1000, 0.2)])
def test_noise_falls_linearly_and_stays(start, env_step, std):
    agent, _ = start()
    agent.num_updates = env_step
    assert agent.noise == pytest.approx(std)


def test_a_gradient_step_is_taken_at_every_second_env_step(start):
    agent, envs = start(6)
    moved = []
    obs = envs.reset()[0]
    for agent.num_updates in range(6, 10):
        before = [parameter.clone() for parameter in agent.critic.parameters()]
        obs = agent.update(envs, obs)
        moved.append(not all(map(torch.equal, before, agent.critic.parameters())))
    assert moved == [True, False, True, False]


def test_the_target_starts_as_a_copy_and_moves_by_tau(start):
    agent, _ = start(6)
    old = [parameter.clone() for parameter in agent.target_critic.parameters()]
    assert all(map(torch.equal, old, agent.critic.parameters()))
    assert not any(parameter.requires_grad for parameter in agent.target_critic.parameters())
    agent.learn(0)
    for before, after, source in zip(
        old, agent.target_critic.parameters(), agent.critic.parameters(), strict=True
    ):
        torch.testing.assert_close(after, 0.75 * before + 0.25 * source)


def test_the_critics_loss_trains_the_encoder_and_the_actors_does_not(start):
    agent, _ = start()
    groups = {
        name: {id(parameter) for group in opt.param_groups for parameter in group["params"]}
        for name, opt in agent.optimizers.items()
    }
    modules = {"encoder": agent.encoder, "actor": agent.actor, "critic": agent.critic}
    parts = {name: {id(parameter) for parameter in module.parameters()} for name, module in modules.items()}
    assert groups == {"actor": parts["actor"], "critic": parts["encoder"] | parts["critic"]}


@pytest.fixture
def watched(start, monkeypatch):
    """Take one gradient step at env step 10; return the agent, and what its functions got and gave."""
    agent, _ = start(6)
    calls = {name: [] for name in ("random_shift", "noisy", "critic_loss", "actor_loss", "sample")}

    def watch(place, name):
        original = getattr(place, name)

        def call(*args):
            calls[name].append((args, original(*args)))
            return calls[name][-1][1]

        monkeypatch.setattr(place, name, call)

    for name in ("random_shift", "noisy", "critic_loss", "actor_loss"):
        watch(drqv2, name)
    watch(agent.replay, "sample")
    calls["encoder"] = copy.deepcopy(agent.encoder)
    agent.num_updates = 10
    agent.learn(10)
    return agent, calls


def test_both_images_of_a_transition_are_shifted_and_encoded(watched):
    _, calls = watched
    ((_, batch),) = calls["sample"]
    ((images, pad, _), obs), ((next_images, next_pad, _), next_obs) = calls["random_shift"]
    assert images is batch.obs
    assert next_images is batch.next_obs
    assert pad == next_pad == 1
    encoded = calls["critic_loss"][0][0][2]
    torch.testing.assert_close(calls["encoder"](obs), encoded.obs)
    torch.testing.assert_close(calls["encoder"](next_obs), encoded.next_obs)
    assert torch.equal(encoded.rewards, batch.rewards)
    assert torch.equal(encoded.discounts, batch.discounts)


def test_actions_in_losses_have_the_clipped_noise_of_the_env_step(watched):
    _, calls = watched
    assert [(std, clip) for (_, std, _, clip), _ in calls["noisy"]] == [(pytest.approx(0.8), 0.3)] * 2
    assert calls["critic_loss"][0][0][3] is calls["noisy"][0][1]
    assert calls["actor_loss"][0][0][0] is calls["noisy"][1][1]


def test_the_critics_loss_alone_reaches_the_encoder(watched):
    agent, calls = watched
    critic, target_critic, encoded, next_actions = calls["critic_loss"][0][0]
    assert (critic, target_critic) == (agent.critic, agent.target_critic)
    assert encoded.obs.requires_grad
    assert not encoded.next_obs.requires_grad
    assert not next_actions.requires_grad
    actions, features, critic = calls["actor_loss"][0][0]
    assert critic is agent.critic
    assert actions.requires_grad
    assert not features.requires_grad
    assert torch.equal(features, encoded.obs)


def test_noise_in_training_is_not_clipped(start):
    agent, _ = start()
    obs = torch.zeros((500, *IMAGES[0]), dtype=torch.uint8)
    moved = agent.explore(obs) - agent.policy(obs)
    assert moved.abs().max() > 0.6


def test_the_replay_knows_where_episodes_end_and_where_environments_begin_anew(start):
    agent, envs = start(3, ends={(2, 0): "truncated"})
    # two steps and the frame after them, then one more step
    assert agent.replay._slots["is_end"][:4].tolist() == [False, False, True, False]
    agent.start_segment()
    assert agent.replay._slots["is_end"][:4].tolist() == [False, False, True, True]
    agent.num_updates = 3
    agent.update(envs, envs.reset()[0])
    assert agent.replay._slots["age"][:5].tolist() == [0, 1, 2, 0, 0]


def test_features_are_normalised_and_squashed():
    trunk = Trunk(3, 2)
    trunk[0].weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    # two features (0, 100) have mean 50 and deviation 50, so they become (-1, 1) before the tanh
    features = trunk(torch.tensor([[0.0, 100.0, 7.0]]))[0].tolist()
    assert features == pytest.approx([-math.tanh(1), math.tanh(1)], abs=1e-4)


@pytest.mark.parametrize("config", [{"learning_starts": 0}, {"buffer_size": 4}])
def test_a_replay_without_any_whole_transition_is_an_error_and_not_a_standstill(start, config):
    with pytest.raises(HubError, match="Raise learning_starts or buffer_size"):
        start(9, **config)
