import numpy as np
import pytest
import torch

from rllte.agent.ddpg import actor_loss, critic_loss, noisy
from rllte.agent.drqv2 import random_shift
from rllte.agent.frame_replay import FrameReplay
from rllte.agent.replay import Transitions

GAMMA = 0.5


def stack(*frames):
    """Return an observation of three frames, each of one number."""
    return torch.tensor(frames, dtype=torch.uint8).repeat_interleave(3).reshape(1, 9, 1, 1)


def add_episode(replay, first, length, terminates=False, ends=True):
    """Add an episode whose frames are first, first + 1, …, with the frame's number as reward and action."""
    for t in range(length):
        numbers = [max(first, first + t - k) for k in (2, 1, 0)]
        over = ends and t == length - 1
        replay.add(
            Transitions(
                stack(*numbers),
                torch.tensor([[float(first + t)]]),
                torch.tensor([float(first + t)]),
                torch.tensor([0.0 if over and terminates else GAMMA]),
                stack(*(max(first, n + 1) for n in numbers)),
            ),
            torch.tensor([over]),
        )


def all_transitions(replay, count=2000):
    """Return what a replay can draw, by action: (frames, reward, discount, next frames)."""
    batch = replay.sample(count, torch.Generator().manual_seed(0))
    found = {}
    for i in range(count):
        frames, following = (part[i, ::3, 0, 0].tolist() for part in (batch.obs, batch.next_obs))
        found[int(batch.actions[i])] = (frames, batch.rewards[i].item(), batch.discounts[i].item(), following)
    return found


def make_replay(capacity=100):
    return FrameReplay(capacity, (9, 1, 1), action_dim=1, n_steps=3, device=torch.device("cpu"))


def test_transitions_sum_three_discounted_rewards_and_stop_at_the_end_of_an_episode():
    replay = make_replay()
    add_episode(replay, first=10, length=5)
    add_episode(replay, first=50, length=4)
    found = all_transitions(replay)
    assert sorted(found) == [10, 11, 12, 13, 14, 50, 51, 52, 53]
    assert found[10] == ([10, 10, 10], 10 + 11 / 2 + 12 / 4, 1 / 8, [11, 12, 13])
    assert found[12] == ([10, 11, 12], 12 + 13 / 2 + 14 / 4, 1 / 8, [13, 14, 15])
    assert found[13] == ([11, 12, 13], 13 + 14 / 2, 1 / 4, [13, 14, 15])  # two steps to the end
    assert found[14] == ([12, 13, 14], 14, 1 / 2, [13, 14, 15])
    assert found[50][0] == [50, 50, 50], "the frames before an episode are its first"


def test_a_terminated_episode_has_no_future():
    replay = make_replay()
    add_episode(replay, first=10, length=3, terminates=True)
    assert [discount for _, _, discount, _ in all_transitions(replay).values()] == [0.0, 0.0, 0.0]


def test_steps_whose_successors_are_not_there_yet_are_not_drawn():
    replay = make_replay()
    add_episode(replay, first=10, length=6, ends=False)
    assert sorted(all_transitions(replay)) == [10, 11, 12]


def test_the_oldest_steps_make_room_and_broken_stacks_are_not_drawn():
    replay = make_replay(capacity=8)
    add_episode(replay, first=10, length=12, ends=False)
    # slots hold 14 to 21: 14 and 15 have lost the frames before them, 19 to 21 wait for what follows
    found = all_transitions(replay)
    assert sorted(found) == [16, 17, 18]
    # the frame after the one of 17 is in the first slot
    assert found[17] == ([15, 16, 17], 17 + 18 / 2 + 19 / 4, 1 / 8, [18, 19, 20])


def test_environments_that_begin_anew_cut_an_episode():
    replay = make_replay()
    add_episode(replay, first=10, length=4, ends=False)
    replay.begin()
    add_episode(replay, first=50, length=4, ends=False)
    found = all_transitions(replay)
    # what followed 13 is unknown, so it ends what came before it
    assert sorted(found) == [10, 11, 12, 50]
    assert found[12] == ([10, 11, 12], 12, 1 / 2, [11, 12, 13])
    assert found[50][0] == [50, 50, 50]


def test_a_replay_goes_on_from_its_state():
    replay, other = make_replay(8), make_replay(8)
    add_episode(replay, first=10, length=5, ends=False)
    other.load_state_dict(replay.state_dict())
    for memory in (replay, other):
        add_episode(memory, first=60, length=7)
    assert all_transitions(replay) == all_transitions(other)


def test_random_shift_moves_by_at_most_the_pad_and_repeats_the_border():
    image = torch.arange(36, dtype=torch.uint8).reshape(1, 1, 6, 6)
    padded = np.pad(image[0, 0].numpy(), 2, mode="edge")
    crops = {padded[i : i + 6, j : j + 6].tobytes() for i in range(5) for j in range(5)}
    shifted = random_shift(image.expand(500, 1, 6, 6), 2, torch.Generator().manual_seed(0))
    assert (shifted.shape, shifted.dtype) == ((500, 1, 6, 6), torch.uint8)
    assert {one[0].numpy().tobytes() for one in shifted} == crops


def test_random_shift_moves_the_frames_of_a_stack_together():
    stacked = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4).expand(8, 3, 4, 4)
    shifted = random_shift(stacked, 2, torch.Generator().manual_seed(0))
    assert torch.equal(shifted[:, 0], shifted[:, 1])
    assert torch.equal(shifted[:, 0], shifted[:, 2])


def test_noise_is_clipped_and_actions_stay_in_their_range_without_stopping_gradients():
    actions = torch.tensor([[0.0], [0.99]]).expand(2, 1000).reshape(2, 1000).clone().requires_grad_()
    moved = noisy(actions, 1.0, torch.Generator().manual_seed(0), clip=0.3)
    assert moved[0].abs().max().item() == pytest.approx(0.3)
    assert moved[1].max().item() == 1.0
    assert moved[1].min().item() == pytest.approx(0.69)
    moved.sum().backward()
    assert (actions.grad == 1).all()


class Constant(torch.nn.Module):
    """Two critics that say the same everywhere."""

    def __init__(self, q1, q2):
        super().__init__()
        self.values = q1, q2

    def forward(self, obs, actions):
        return tuple(torch.full((len(obs),), value) for value in self.values)


def test_critic_target_is_the_reward_and_the_smaller_value_of_what_follows():
    zeros = torch.zeros(4, 1)
    batch = Transitions(zeros, zeros, torch.ones(4), torch.full((4,), 0.5), zeros)
    # 1 + ½ min(8, 4) = 3, so the errors are (1 - 3)² and (2 - 3)²
    assert critic_loss(Constant(1.0, 2.0), Constant(8.0, 4.0), batch, zeros).item() == pytest.approx(5.0)


def test_actor_loss_is_minus_the_smaller_value():
    assert actor_loss(torch.zeros(2, 1), torch.zeros(2, 1), Constant(7.0, 3.0)).item() == -3.0
