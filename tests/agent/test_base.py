"""The training loop on scripted environments: points, segments, and which episodes count."""

import dataclasses
import math

import gymnasium as gym
import pytest
import torch

from rllte.agent.base import Agent
from rllte.errors import HubError
from rllte.seeding import env_seeds
from tests.agent.scripted import SETTINGS, make


@dataclasses.dataclass(frozen=True)
class Config:
    num_envs: int


class Walker(Agent):
    """Steps every environment once an update and learns nothing."""

    Config = Config

    def build(self):
        self.policy = torch.nn.Linear(1, 2)
        self.modules, self.optimizers, self.starts, self.seen = {"policy": self.policy}, {}, 0, []

    @property
    def steps_per_update(self):
        return self.config.num_envs

    def start_segment(self):
        self.starts += 1

    def update(self, envs, obs):
        self.seen.append(obs[:, 0].tolist())
        obs, _, _, _, infos = envs.step(torch.zeros(len(obs)))
        self.record_episodes(infos)
        return obs


def walk(monkeypatch, num_train_steps, ends, **settings):
    settings = dataclasses.replace(SETTINGS, num_eval_episodes=2, num_eval_envs=2, **settings)
    agent, made = make(Walker, monkeypatch, settings, ends, num_envs=2)
    agent.num_train_steps = num_train_steps
    rows = agent.train(num_train_steps).to_pylist()
    keys = ("env_step", "episode_return", "episode_length", "num_episodes")
    train, evaluation = ([tuple(row[key] for key in keys) for row in rows if row["split"] == split]
                         for split in ("train", "eval"))  # fmt: skip
    return agent, made, train, evaluation


ENDS = {(1, 1): "terminated", (3, 0): "truncated", (4, 1): "both"}
"""In training, and in each evaluation: environment 0 has 3 steps (return 6), environment 1 has 1, then 3."""


def test_a_points_training_row_is_the_mean_of_the_episodes_since_the_point_before(monkeypatch):
    _, _, train, evaluation = walk(monkeypatch, 12, ENDS, num_points=3)
    # one episode by step 2 · 2, two more by 2 · 4, and none by 2 · 6, where the row before is repeated
    assert train == [(4, 1.0, 1.0, 1), (8, 6.0, 3.0, 2), (12, 6.0, 3.0, 0)]
    assert evaluation == [(step, 3.5, 2.0, 2) for step in (4, 8, 12)]


def test_a_row_without_any_episode_yet_has_no_number(monkeypatch):
    _, _, train, _ = walk(monkeypatch, 4, {(1, 0): "terminated", (1, 1): "terminated"}, num_points=2)
    assert train == [(2, 1.0, 1.0, 2), (4, 1.0, 1.0, 0)]
    ends = {(3, 0): "truncated", (3, 1): "truncated"}
    _, _, train, _ = walk(monkeypatch, 4, ends, num_points=2)
    assert [math.isnan(row[1]) for row in train] == [True, True]


def test_each_segment_begins_anew_with_seeds_of_its_own(monkeypatch):
    agent, made, _, _ = walk(monkeypatch, 10, ENDS, num_points=1, checkpoint_steps=4)
    training = [envs for envs in made[1:] if envs.training]
    assert [envs.seeds for envs in training] == [env_seeds(0, "train", segment, 2) for segment in range(3)]
    assert agent.starts == 3
    assert agent.seen == [[0, 100], [1, 100]] * 2 + [[0, 100]]


def test_training_that_is_extended_plays_on_with_other_seeds(monkeypatch):
    agent, made = make(Walker, monkeypatch, SETTINGS, ENDS, num_envs=2)
    segment = SETTINGS.checkpoint_steps
    agent.train(segment + 2)
    agent.train(2 * segment)
    seeds = [envs.seeds for envs in made[1:] if envs.training]
    updates = segment // 2 + 1
    assert seeds == [env_seeds(0, *what, 2) for what in (("train", 0), ("train", 1), ("extend", updates))]


def test_evaluations_have_seeds_of_their_own_and_the_environments_of_evaluation(monkeypatch):
    _, made, _, _ = walk(monkeypatch, 8, ENDS, num_points=2)
    evaluations = [envs for envs in made[1:] if not envs.training]
    assert [envs.seeds for envs in evaluations] == [env_seeds(0, "curve", point, 2) for point in range(2)]


def test_training_adds_in_a_fixed_order_on_a_gpu_and_leaves_the_users_choice(monkeypatch):
    seen = []

    def start_segment(agent):
        agent.starts += 1
        seen.append(torch.backends.cudnn.deterministic)

    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(Walker, "start_segment", start_segment)
    walk(monkeypatch, 4, ENDS, num_points=1)
    assert seen == [True]
    assert torch.backends.cudnn.deterministic is False


def test_a_shorter_training_has_proportionally_fewer_points_and_at_least_one(monkeypatch):
    settings = dataclasses.replace(SETTINGS, num_points=6)
    for budget, steps in ((2, [2]), (6, [4, 6]), (7, [2, 6, 8]), (24, [4, 8, 12, 16, 20, 24])):
        agent, _ = make(Walker, monkeypatch, settings, ENDS, num_envs=2)
        agent.num_train_steps = 20
        rows = agent.train(budget).to_pylist()
        assert [row["env_step"] for row in rows if row["split"] == "eval"] == steps


def test_training_without_evaluation_plays_none_and_has_all_points_of_training(monkeypatch):
    settings = dataclasses.replace(SETTINGS, num_points=3)
    agent, made = make(Walker, monkeypatch, settings, ENDS, num_envs=2)
    rows = agent.train(12, evaluate=False).to_pylist()
    assert [(row["split"], row["env_step"]) for row in rows] == [("train", step) for step in (4, 8, 12)]
    assert all(envs.training for envs in made)


def test_a_budget_is_rounded_up_to_whole_updates(monkeypatch):
    agent, *_ = walk(monkeypatch, 5, ENDS, num_points=1)
    assert (agent.num_updates, agent.env_step) == (3, 6)


def test_a_resumed_agent_goes_on_with_its_rows_and_episodes(monkeypatch):
    agent, *_ = walk(monkeypatch, 4, {**ENDS, (2, 1): "truncated"}, num_points=1)
    agent._ended = [[6.0, 3.0]]
    other, _ = make(Walker, monkeypatch, agent.settings, ENDS, num_envs=2)
    other.load_state_dict(agent.state_dict())
    assert (other.num_updates, other._rows, other._ended) == (2, agent._rows, [[6.0, 3.0]])
    assert torch.equal(other.generator.get_state(), agent.generator.get_state())
    assert torch.equal(other.policy.weight, agent.policy.weight)


def test_a_state_of_another_environment_is_refused(monkeypatch):
    agent, other = (make(Walker, monkeypatch, num_envs=2)[0] for _ in range(2))
    agent.env_name, other.env_name = "minigrid/Empty-5x5-v0 {}", "minigrid/Empty-8x8-v0 {}"
    with pytest.raises(HubError, match=r"has Walker in .*Empty-5x5.*; this agent has Walker in .*Empty-8x8"):
        other.load_state_dict(agent.state_dict())


@pytest.mark.parametrize("seed", [0, 1])
def test_networks_are_drawn_from_the_seed_alone(monkeypatch, seed):
    torch.manual_seed(100 + seed)
    agent, _ = make(Walker, monkeypatch, num_envs=2)
    torch.manual_seed(0)
    assert torch.equal(agent.policy.weight, torch.nn.Linear(1, 2).weight)


@pytest.mark.parametrize("deterministic", [True, False])
def test_evaluations_of_the_curves_act_as_the_settings_say(monkeypatch, deterministic):
    settings = dataclasses.replace(
        SETTINGS, num_eval_episodes=2, num_eval_envs=2, deterministic=deterministic
    )
    agent, made = make(
        Walker, monkeypatch, settings, {(40, 0): "truncated", (40, 1): "truncated"}, num_envs=2
    )
    agent.action_space = gym.spaces.Discrete(2)
    agent.policy.weight.data.zero_()
    agent.policy.bias.data = torch.tensor([0.0, 0.1])
    agent.evaluate([1, 2])
    actions = torch.stack([torch.as_tensor(action) for action in made[-1].actions])
    assert len(actions) == 40
    assert (actions == 1).all() if deterministic else 20 < (actions == 1).sum() < 70
