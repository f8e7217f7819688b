import numpy as np
import pytest
import torch

from rllte.agent.returns import generalized_advantages, vtrace
from rllte.agent.rollout import Rollout
from rllte.agent.speed import take_rows

GAMMA, LAMBDA = 0.5, 0.5


def column(*values):
    return np.array(values, np.float32)[:, None]


def advantages(rewards, values, next_values, terminated, ended):
    flags = (np.array(flag, bool)[:, None] for flag in (terminated, ended))
    return generalized_advantages(
        column(*rewards), column(*values), column(*next_values), *flags, GAMMA, LAMBDA
    )[:, 0].tolist()


def test_running_episode_sums_discounted_errors():
    # δ = r + γ v' - v = [1 + 2 - 2, 1 + 4 - 4] = [1, 1]; A₁ = 1, A₀ = 1 + γλ·1 = 1.25
    assert advantages([1, 1], [2, 4], [4, 8], [0, 0], [0, 0]) == [1.25, 1.0]


def test_terminated_step_has_no_future():
    # the terminated step: δ₀ = 1 - 2 = -1, and nothing flows back over the end
    assert advantages([1, 1], [2, 4], [100, 8], [1, 0], [1, 0]) == [-1.0, 1.0]


def test_truncated_step_bootstraps_from_its_own_last_observation():
    # the truncated step: δ₀ = 1 + γ·6 - 2 = 2 with the final observation's value 6, and no flow back
    assert advantages([1, 1], [2, 4], [6, 8], [0, 0], [1, 0]) == [2.0, 1.0]


class Countdown:
    """Observations count 0, 1, 2 …; each episode is truncated, or terminates, after three steps."""

    num_envs = 1

    def __init__(self, terminates):
        self.terminates, self.t = terminates, 0

    def step(self, _):
        self.t += 1
        ended = self.t == 3
        infos = {}
        if ended:
            infos = {"final_obs": torch.tensor([[3.0]]), "_episode": np.array([True])}
            self.t = 0
        flag, no = torch.tensor([ended]), torch.tensor([False])
        terminated, truncated = (flag, no) if self.terminates else (no, flag)
        return torch.tensor([[float(self.t)]]), torch.tensor([1.0]), terminated, truncated, infos


@pytest.mark.parametrize(
    ("terminates", "expected"),
    # the value of an observation o is 10 o: next values are those of 1, 2, then 3 (the final one), 1, 2
    [(False, [10, 20, 30, 10, 20]), (True, [10, 20, None, 10, 20])],
)
def test_rollout_values_the_final_observation_of_a_truncated_episode(terminates, expected):
    import gymnasium as gym

    space = gym.spaces.Box(0, 3, (1,), np.float32)
    rollout = Rollout(5, 1, space, 2, torch.device("cpu"))
    recorded = []

    def network(obs):
        return torch.zeros(len(obs), 2), 10 * obs[:, 0]

    rollout.collect(network, Countdown(terminates), torch.zeros(1, 1), torch.Generator(), recorded.append)
    for t, value in enumerate(expected):
        if value is not None:
            assert rollout.next_values[t, 0] == value
    assert rollout.obs[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert rollout.ended[:, 0].tolist() == [False, False, True, False, False]
    assert rollout.terminated[2, 0] == terminates
    assert len(recorded) == 1


def vtrace_by_definition(rhos, discounts, rewards, values, last_value):
    """Transcribe equation 1 of Espeholt et al., 2018, and section 4.2's advantage, for one environment."""
    num_steps, following = len(rewards), [*values[1:], last_value]
    clipped = [min(1.0, rho) for rho in rhos]
    targets = []
    for s in range(num_steps):
        target = values[s]
        for t in range(s, num_steps):
            weight = 1.0
            for i in range(s, t):
                weight *= discounts[i] * clipped[i]
            target += weight * clipped[t] * (rewards[t] + discounts[t] * following[t] - values[t])
        targets.append(target)
    next_targets = [*targets[1:], last_value]
    advantages = [
        clipped[s] * (rewards[s] + discounts[s] * next_targets[s] - values[s]) for s in range(num_steps)
    ]
    return targets, advantages


def test_vtrace_equals_its_definition():
    generator = np.random.default_rng(0)
    rhos = generator.uniform(0.2, 2.0, (6, 2))
    discounts = np.where(generator.random((6, 2)) < 0.3, 0.0, 0.9)
    rewards, values = generator.normal(size=(2, 6, 2))
    last_values = generator.normal(size=2)
    targets, advantages = vtrace(
        *(torch.from_numpy(array) for array in (np.log(rhos), discounts, rewards, values, last_values))
    )
    for env in range(2):
        expected = vtrace_by_definition(
            *(array[:, env].tolist() for array in (rhos, discounts, rewards, values)), last_values[env]
        )
        assert targets[:, env].tolist() == pytest.approx(expected[0])
        assert advantages[:, env].tolist() == pytest.approx(expected[1])


def test_vtrace_of_its_own_policy_is_the_n_step_return():
    # ρ = 1: v₁ = 1 + ½·8 = 5, v₀ = 1 + ½·5 = 3.5; advantages are v minus V = (2, 4)
    column = torch.ones(2, 1)
    targets, advantages = vtrace(
        0 * column, 0.5 * column, column, torch.tensor([[2.0], [4.0]]), torch.tensor([8.0])
    )
    assert targets[:, 0].tolist() == [3.5, 5.0]
    assert advantages[:, 0].tolist() == [1.5, 1.0]


@pytest.mark.parametrize("shape", [(9, 4, 6, 6), (9, 7, 7, 3), (9, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rows_are_taken_as_by_an_index_and_keep_their_layout(shape, dtype):
    part = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    index = torch.tensor([8, 0, 3, 3])
    assert torch.equal(take_rows(part, index), part[index])
    if len(shape) == 4:
        part = part.contiguous(memory_format=torch.channels_last)
        taken = take_rows(part, index)
        assert torch.equal(taken, part[index])
        assert taken.is_contiguous(memory_format=torch.channels_last)
