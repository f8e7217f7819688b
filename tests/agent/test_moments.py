import numpy as np
import pytest
import torch

from rllte.agent.moments import Moments, RewardScaler


def test_moments_of_batches_are_those_of_all_numbers():
    moments, numbers = Moments(), [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 8.0])]
    for batch in numbers:
        moments.update(batch)
    everything = torch.cat(numbers).numpy()
    # 18 / 5 and the mean of squared deviations; the first pseudo-count of 1e-4 moves them a little
    assert moments.mean == pytest.approx(3.6, rel=1e-3)
    assert moments.var == pytest.approx(np.var(everything), rel=1e-3)


def test_rewards_are_divided_by_the_deviation_of_their_discounted_sums():
    scaler, rewards = RewardScaler(2), torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    scaler.scale_(rewards, torch.zeros(2, 2, dtype=torch.bool))
    # sums are (1, -1), then (1.99, 0.01): variance 1 after the first step, that of all four after the second
    deviation = np.std([1.0, -1.0, 1.99, 0.01])
    assert rewards[0].tolist() == pytest.approx([1.0, -1.0], rel=1e-3)
    assert rewards[1].tolist() == pytest.approx([1 / deviation] * 2, rel=1e-3)


def test_sums_begin_anew_after_an_episode():
    ended = torch.tensor([[True], [False]])
    going_on, over = (RewardScaler(1) for _ in range(2))
    going_on.scale_(torch.ones(2, 1), ~ended & False)
    over.scale_(torch.ones(2, 1), ended)
    assert going_on._sums.tolist() == pytest.approx([1.99])
    assert over._sums.tolist() == [1.0]


def test_sums_of_all_environments_begin_anew_when_told():
    scaler = RewardScaler(2)
    scaler.scale_(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    scaler.begin()
    assert scaler._sums.tolist() == [0.0, 0.0]
    assert scaler.moments.count == pytest.approx(2.0001), "what was seen stays"


def test_sums_begin_anew_in_the_environments_whose_episode_ended():
    scaler = RewardScaler(2)
    scaler.scale_(torch.ones(2, 2), torch.tensor([[True, False], [False, False]]))
    assert scaler._sums.tolist() == pytest.approx([1.0, 1.99])


def test_scaled_rewards_are_clipped_at_ten():
    scaler = RewardScaler(1)
    scaler.scale_(torch.zeros(10_000, 1), torch.ones(10_000, 1, dtype=torch.bool))
    rewards = torch.tensor([[5.0], [-5.0]])
    scaler.scale_(rewards, torch.tensor([[True], [True]]))
    assert rewards.tolist() == [[10.0], [-10.0]]


def test_a_scaler_goes_on_from_its_state():
    scaler, other = RewardScaler(1), RewardScaler(1)
    flags = torch.zeros(3, 1, dtype=torch.bool)
    scaler.scale_(torch.tensor([[1.0], [2.0], [3.0]]), flags)
    other.load_state_dict(scaler.state_dict())
    results = []
    for one in (scaler, other):
        rewards = torch.tensor([[4.0], [5.0], [6.0]])
        one.scale_(rewards, flags)
        results.append(rewards)
    assert torch.equal(*results)
