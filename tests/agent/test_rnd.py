"""Intrinsic rewards: what is new is rewarded, and nothing else."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from rllte import torchscript
from rllte.agent.evaluation import acting
from rllte.agent.onpolicy import OnPolicyAgent
from rllte.agent.returns import generalized_advantages
from rllte.agent.rnd import RND
from rllte.env.minigrid import _make_package_env
from rllte.names import Cell, Run
from tests.agent.conftest import STEPS, make_agent
from tests.agent.test_common import policy_weights
from tests.test_repository import stored


def test_observations_are_normalised_by_the_moments_of_all_that_were_seen():
    rnd = RND((2,), 8, 4)
    rnd.observe(torch.tensor([[0.0, 10.0], [2.0, 10.0]]))
    rnd.observe(torch.tensor([[4.0, 10.0], [6.0, 30.0]]))
    torch.testing.assert_close(rnd.mean, torch.tensor([3.0, 15.0]).double(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(rnd.var, torch.tensor([5.0, 75.0]).double(), rtol=1e-3, atol=1e-2)
    seen = []
    rnd.target.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    rnd(torch.tensor([[3.0, 15.0 + 75**0.5], [3.0, 1e6]]))
    torch.testing.assert_close(seen[0], torch.tensor([[0.0, 1.0], [0.0, 5.0]]), rtol=1e-3, atol=1e-3)


def test_the_reward_falls_for_what_was_learned_and_stays_for_what_was_not():
    torch.manual_seed(0)
    rnd = RND((4,), 32, 8)
    known, new = torch.randn(64, 4), torch.randn(64, 4) + 4
    rnd.observe(torch.cat([known, new]))
    optimizer = torch.optim.Adam(rnd.predictor.parameters(), 1e-3)
    target = [weights.clone() for weights in rnd.target.parameters()]
    before = rnd(known).mean().item(), rnd(new).mean().item()
    for _ in range(300):
        optimizer.zero_grad()
        rnd(known).mean().backward()
        optimizer.step()
    assert rnd(known).mean() < 0.05 * before[0]
    assert rnd(new).mean() > 0.3 * before[1]
    assert all(map(torch.equal, target, rnd.target.parameters()))


@pytest.mark.parametrize("shape", [(4, 84, 84), (3, 64, 64), (7, 7, 3), (5,)])
def test_each_observation_has_its_own_reward_whatever_its_shape(shape):
    rnd = RND(shape, 8, 4)
    obs = torch.randint(0, 255, (3, *shape), dtype=torch.uint8)
    rnd.observe(obs)
    rewards = rnd(obs)
    assert rewards.shape == (3,)
    torch.testing.assert_close(rewards[1:], rnd(obs[1:]))


@pytest.mark.parametrize("name", ["rndddpg", "rndppo"])
def test_training_reads_no_reward_of_the_environment(name):
    agent, other = make_agent(name), make_agent(name)
    make_envs = other.make_envs

    def make_envs_with_other_rewards(*args):
        envs = make_envs(*args)
        step = envs.step

        def step_with_other_rewards(actions):
            obs, rewards, *rest = step(actions)
            return obs, 1 - 100 * rewards, *rest

        envs.step = step_with_other_rewards
        return envs

    other.make_envs = make_envs_with_other_rewards
    for one in (agent, other):
        one.train(STEPS[name], evaluate=False)
    assert torch.equal(policy_weights(agent), policy_weights(other))


def test_intrinsic_returns_go_on_across_the_ends_of_episodes(monkeypatch):
    agent = make_agent("rndppo", num_steps=128, batch_size=1024)
    ends = []
    act = OnPolicyAgent.act

    def watched(self, network, envs, obs):
        next_obs = act(self, network, envs, obs)
        ends.append(self.rollout.ended.sum().item())
        return next_obs

    monkeypatch.setattr(OnPolicyAgent, "act", watched)
    envs = agent.make_envs(8, range(8), True)
    obs, _ = envs.reset()
    samples, next_obs = agent.collect(agent.network, envs, obs)
    assert ends[0] > 0
    values = agent.network(torch.cat([samples.obs, next_obs]))[1].detach().view(129, 8)
    rollout, never = agent.rollout, torch.zeros(128, 8, dtype=torch.bool).numpy()
    arrays = (part.numpy() for part in (rollout.rewards, values[:-1], values[1:]))
    expected = generalized_advantages(*arrays, never, never, 0.8, 0.95)
    torch.testing.assert_close(samples.advantages.view(128, 8), torch.from_numpy(expected))


def test_a_step_is_rewarded_for_the_observation_that_it_leads_to():
    agent = make_agent("rndppo", normalize_reward=False)
    envs = agent.make_envs(8, range(8), True)
    obs, _ = envs.reset()
    samples, next_obs = agent.collect(agent.network, envs, obs)
    with torch.no_grad():
        errors = agent.rnd(torch.cat([samples.obs, next_obs])).view(17, 8)
    torch.testing.assert_close(agent.rollout.rewards, errors[1:])


def coverage(act):
    """Return, for each of 40 episodes, the number of distinct places and directions per step."""
    env, shares = _make_package_env("MiniGrid-FourRooms-v0", None), []
    for seed in range(40):
        obs, _ = env.reset(seed=seed)
        places, ended = [], False
        while not ended:
            places.append((*env.unwrapped.agent_pos, env.unwrapped.agent_dir))
            obs, _, terminated, truncated, _ = env.step(int(act(torch.from_numpy(obs)[None])))
            ended = terminated or truncated
        shares.append(len(set(places)) / len(places))
    return np.array(shares)


def test_the_published_policy_visits_more_of_four_rooms_than_random_actions():
    path = Run(Cell("minigrid", "rndppo", "FourRooms-v0"), 0).path("model")
    generator = torch.Generator().manual_seed(0)
    policy = acting(torchscript.load(stored(path), path), gym.spaces.Discrete(7), False, generator)
    explored = coverage(policy)
    at_random = coverage(lambda obs: torch.randint(7, (1,), generator=generator))
    assert mannwhitneyu(explored, at_random, alternative="greater").pvalue < 0.01
