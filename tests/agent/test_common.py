"""What every agent in the registry must do."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from rllte import torchscript
from rllte.agent import AGENTS
from rllte.env.dmc_pixels import renderer_problem
from rllte.errors import HubError
from rllte.files import md5
from rllte.recipes.project import Project
from rllte.tables import to_parquet
from rllte.torch_setup import torch_device as make_device
from tests.agent.conftest import ROOT, SMALL, STEPS, make_agent

pytestmark = pytest.mark.slow

FINGERPRINTS = {
    "a2c": (2, 0.745459, -0.8111, 0.01),
    "daac": (2, 0.570101, 1.2920, 0.01),
    "ddpg": (1, 0.554571, 0.3276, 0.01),
    "drqv2": (1, 0.653958, -0.4920, 0.05),
    "impala": (1, 0.324557, -1.0971, 0.0015),
    "ppg": (2, 0.449302, 1.4896, 0.08),
    "ppo": (2, 0.172967, -0.6951, 0.01),
    "rndddpg": (1, 0.957478, -0.6273, 0.02),
    "rndppo": (1, 0.562537, 0.9416, 0.02),
    "sac": (1, 0.861071, 0.5334, 0.01),
}
"""The version of each agent's recipe; how far its training moved the weights, and in which direction, as
``fingerprint`` gives them; and how far the direction may be off on another processor: other kernels of MKL,
oneDNN and ATen moved it by 0.0001, PPG's by 0.033."""
PROBLEM = renderer_problem()
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(name == "drqv2" and bool(PROBLEM), reason=PROBLEM))
    for name in AGENTS
]


def policy_weights(agent):
    return torch.cat([value.detach().flatten() for value in agent.policy.state_dict().values()])


def test_every_agent_has_a_small_world():
    assert set(SMALL) == set(AGENTS)


@pytest.fixture(scope="module", params=NAMES)
def trained(request):
    agent = make_agent(request.param)
    agent.train(STEPS[request.param])
    return request.param, agent


def test_another_seed_gives_other_initial_weights(trained):
    name, _ = trained
    assert not torch.equal(policy_weights(make_agent(name)), policy_weights(make_agent(name, seed=1)))


def test_curves_have_the_asked_points_at_increasing_steps(trained):
    name, agent = trained
    table = agent.curves().to_pydict()
    for split in ("train", "eval"):
        steps = [step for step, kind in zip(table["env_step"], table["split"], strict=True) if kind == split]
        assert len(steps) == 2
        assert steps == sorted(set(steps))
        assert steps[-1] == agent.env_step == STEPS[name]
    counts = [n for n, kind in zip(table["num_episodes"], table["split"], strict=True) if kind == "eval"]
    assert counts == [agent.settings.num_eval_episodes] * 2
    evaluated = [r for r, kind in zip(table["episode_return"], table["split"], strict=True) if kind == "eval"]
    assert all(math.isfinite(value) for value in evaluated)


def test_trainings_in_threads_give_the_bytes_of_one_after_the_other():
    def train(seed):
        agent = make_agent("ppo", seed)
        agent.train(STEPS["ppo"])
        return agent

    seeds = (0, 1, 0)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(train, seeds))
    for agent, other in zip(together, map(train, seeds), strict=True):
        assert torch.equal(policy_weights(agent), policy_weights(other))
        assert to_parquet(agent.curves()) == to_parquet(other.curves())


def test_same_seed_gives_the_same_bytes_also_after_a_stop_and_training_leaves_global_state_alone(
    trained, tmp_path
):
    name, straight = trained
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.set_num_threads(2)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    stopped, resumed = make_agent(name), make_agent(name)
    update = stopped.update

    def interrupted_update(envs, obs):
        if stopped.env_step >= 0.75 * STEPS[name]:
            raise KeyboardInterrupt
        return update(envs, obs)

    stopped.update = interrupted_update
    with pytest.raises(KeyboardInterrupt):
        stopped.train(STEPS[name], resume=tmp_path / "resume.pt")
    resumed.train(STEPS[name], resume=tmp_path / "resume.pt")
    assert 0 < resumed.resumed_at < STEPS[name]
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002
    assert torch.get_num_threads() == 2
    assert torch.equal(policy_weights(straight), policy_weights(resumed))
    assert to_parquet(straight.curves()) == to_parquet(resumed.curves())


def test_exported_model_gives_the_outputs_of_the_policy(trained):
    _, agent = trained
    envs = agent.make_envs(3, [0, 1, 2], False)
    obs, _ = envs.reset()
    agent.policy.eval()
    model = torchscript.load(torchscript.dump(agent.policy, {"mean_score": 1.0}), "model.pt")
    for part in (obs, obs[:1]):
        for _ in range(4):  # TorchScript rewrites a model after its first calls
            torch.testing.assert_close(model(part), agent.policy(part))


def test_exported_bytes_do_not_tell_where_they_were_made(trained):
    _, agent = trained
    data = torchscript.dump(agent.policy, {})
    assert data == torchscript.dump(agent.policy, {})
    assert str(ROOT).encode() not in data


EXPORTED = ("ppo", "sac", "drqv2")  # logits, actions, and actions from pixels


@pytest.fixture(scope="module")
def exported_alone():
    """The md5 of models that were each the first that their process exported, by the agent's name."""
    program = (
        "import os, torch; from rllte import torchscript; from rllte.env import dmc, minigrid\n"
        "from rllte.files import md5; from tests.agent.conftest import make_agent\n"
        f"for name in {EXPORTED}:\n"
        "    if os.fork() == 0:  # a process that has exported nothing, but need not import again\n"
        "        print(name, md5(torchscript.dump(make_agent(name).policy.eval(), {})), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    alone = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    return dict(line.split() for line in alone.stdout.splitlines())


@pytest.mark.parametrize("name", EXPORTED)
def test_an_export_has_the_same_bytes_whatever_the_process_has_exported_before(name, exported_alone):
    torchscript.dump(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 5)), {})
    assert md5(torchscript.dump(make_agent(name).policy.eval(), {})) == exported_alone[name]


def test_an_exported_model_holds_its_own_weights_alone(trained):
    _, agent = trained
    assert len(torchscript.dump(agent.policy, {})) < 4 * policy_weights(agent).numel() + 50_000


def fingerprint(name, agent):
    """Return the norm of how far training moved the weights, and the projection of its direction.

    The direction is projected on numbers drawn from a normal distribution, so it is such a number itself.
    """
    moved = policy_weights(agent) - policy_weights(make_agent(name))
    numbers = torch.randn(len(moved), generator=torch.Generator().manual_seed(0))
    return moved.norm().item(), (moved @ numbers / moved.norm()).item()


def test_version_is_raised_when_results_change(trained):
    """Change a fingerprint only together with ``version`` in the agent's params.yaml, and retrain."""
    name, agent = trained
    cell, _ = SMALL[name]
    version, distance, projection, tolerance = FINGERPRINTS[name]
    assert Project(ROOT).spec(cell).version == version
    expected = pytest.approx(distance, rel=0.005), pytest.approx(projection, abs=tolerance)
    assert fingerprint(name, agent) == expected


@pytest.mark.parametrize("name", ["num_envs", "num_steps", "batch_size", "n_epochs", "num_points"])
@pytest.mark.parametrize("number", [0, -3])
def test_a_count_below_one_is_refused(name, number):
    with pytest.raises(HubError, match=f"{name} is {number}; write a number from 1 to "):
        make_agent("ppo", **{name: number})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ppo", {"batch_size": 256}, "it must divide num_steps × num_envs"),
        ("impala", {"batch_size": 8}, "it must divide num_envs"),
        ("sac", {"buffer_size": 16}, "write batch_size .32. or more"),
        ("ppo", {"encoder": "minigrid"}, "Did you mean 'minigrid_cnn'"),
        ("ppo", {"normalize_advantage": "minibatches"}, "Did you mean 'minibatch'"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(name, settings, message):
    with pytest.raises(HubError, match=message):
        make_agent(name, **settings)


@pytest.mark.parametrize("number", [0, -1, 0.5])
def test_a_budget_that_is_no_positive_whole_number_is_refused(number):
    with pytest.raises(HubError, match=f"num_train_steps is {number}"):
        make_agent("ppo").train(number)


def test_a_budget_may_be_written_as_a_float():
    agent = make_agent("ppo")
    agent.train(2.56e2)
    assert agent.env_step == 256


def test_a_log_is_written_at_each_point(tmp_path):
    agent = make_agent("ppo")
    agent.train(256, log=tmp_path / "curves.csv")
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0].replace('"', "").startswith("seed,split,env_step,episode_return")
    assert len(lines) == 1 + len(agent.curves())


def test_diverged_weights_are_an_error_and_not_a_result():
    agent = make_agent("ppo")
    next(agent.policy.parameters()).data.fill_(math.nan)
    with pytest.raises(HubError, match="PPO diverged: infinite or NaN weights"):
        agent.train(256)


def test_a_missing_device_is_refused():
    with pytest.raises(HubError, match="device is 'cuda:7', but PyTorch sees"):
        make_device("cuda:7")
    with pytest.raises(HubError, match="Did you mean 'cuda'"):
        make_device("cudda")


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_do_not_depend_on_the_number_of_threads(name):
    before, weights = torch.get_num_threads(), []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        weights.append(policy_weights(make_agent(name, **({"hidden_dim": 256} if name == "sac" else {}))))
    torch.set_num_threads(before)
    assert torch.equal(*weights)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign"])
def test_a_damaged_checkpoint_is_put_aside_and_training_begins_again(damage, tmp_path, caplog):
    path, whole = tmp_path / "resume.pt", tmp_path / "whole.pt"
    make_agent("ppo").train(256, resume=whole)
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = {
        "empty": b"", "truncated": whole.read_bytes()[:-100], "flipped": bytes(data), "foreign": b"PK\x03\n",
    }  # fmt: skip
    path.write_bytes(damaged[damage])
    agent = make_agent("ppo")
    agent.train(256, resume=path)
    assert "resume.pt is damaged; it is now resume.pt.damaged, and training begins again" in caplog.text
    assert (tmp_path / "resume.pt.damaged").read_bytes() == damaged[damage]
    assert path.read_bytes() == whole.read_bytes()


def test_a_state_of_another_seed_is_refused(tmp_path):
    make_agent("ppo", seed=1).train(256, resume=tmp_path / "resume.pt")
    with pytest.raises(HubError, match=r"it has PPO in .* with seed 1; this agent has PPO in .* with seed 0"):
        make_agent("ppo").train(256, resume=tmp_path / "resume.pt")
