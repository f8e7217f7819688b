"""ONNX models: the outputs of TorchScript, and the same bytes everywhere."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from rllte import torchscript
from rllte.agent import speed
from rllte.agent.drqv2 import PixelPolicy
from rllte.errors import HubError, MissingExtraError
from rllte.files import md5
from rllte.hub import onnx_export
from rllte.hub.onnx_export import METADATA, OPSET, TOLERANCE, run_onnx, to_onnx, write_onnx
from rllte.hub.store.source import make_source
from tests.agent.conftest import ROOT, make_agent
from tests.conftest import CELL, RUNS, edit_yaml
from tests.vetting_words import policies

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow

KINDS = {
    "ppo": "MiniGridCNN",
    "impala": "NatureCNN",
    "ppg": "ImpalaCNN",
    "drqv2": "PixelCNN",
    "sac": "",
    "ddpg": "",
}
"""An agent for each encoder, and both agents without one."""


def policy_and_obs(name):
    """Return a policy whose outputs are not near 0 as those of a new one, and observations."""
    if name == "drqv2":  # a renderer may be absent
        policy = next(one for one in policies() if isinstance(one, PixelPolicy))
        obs = torch.randint(256, (5, 9, 84, 84), generator=torch.manual_seed(0)).byte()
    else:
        agent = make_agent(name)
        policy, envs = agent.policy, agent.make_envs(5, range(5), False)
        obs, _ = envs.reset()
        envs.close()
    generator = torch.Generator().manual_seed(1)
    for value in policy.parameters():
        fan_in = value[0].numel() if value.dim() > 1 else 100
        value.data.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
    if name in ("ppo", "impala", "ppg"):  # logits of about 1; actions are within [-1, 1]
        with torch.no_grad():
            scale = 1 / policy(obs).std()
        for value in list(policy.parameters())[-2:]:
            value.data.mul_(scale)
    return policy.eval(), obs


@pytest.mark.parametrize("name", KINDS)
def test_an_onnx_model_gives_the_outputs_of_torchscript_for_any_batch(name):
    policy, obs = policy_and_obs(name)
    assert type(getattr(policy, "encoder", "")).__name__ == (KINDS[name] or "str")
    data = to_onnx(policy, obs, "output", {"run": "a"})
    model = torchscript.load(torchscript.dump(policy, {}), "model.pt")
    for batch in (obs[:1], obs, obs.repeat(7, *[1] * (obs.dim() - 1))):
        with torch.no_grad():
            expected = model(batch)
        assert expected.abs().max() > 0.01, "outputs that tell policies apart"
        assert (run_onnx(data, batch) - expected).abs().max() <= TOLERANCE
    proto = onnx.load_from_string(data)
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", OPSET)]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [one.name for one in (*proto.graph.input, *proto.graph.output)] == ["obs", "output"]


def test_an_onnx_model_has_the_same_bytes_in_another_process_and_no_path_inside(tmp_path):
    program = (
        "from tests.hub.test_onnx_export import *\n"
        "for name in ('sac', 'ppo'):\n"
        "    policy, obs = policy_and_obs(name)\n"
        "    print(md5(to_onnx(policy, obs[:3], 'output', {'b': 1, 'a': 2})))"
    )
    environment = {"PYTHONHASHSEED": "5", "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "2"}
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    here = {name: to_onnx(*policy_and_obs(name), "output", {"a": 2, "b": 1}) for name in ("ppo", "sac")}
    assert other.stdout.split() == [md5(here["sac"]), md5(here["ppo"])], other.stderr
    for data in here.values():
        for path in (str(ROOT), sys.prefix, "site-packages", ".py"):
            assert path.encode() not in data
        assert torch.__version__.encode() not in data


def test_an_export_leaves_the_policy_as_it_was():
    policy, obs = policy_and_obs("ppo")
    before = policy(obs)
    speed.patch_index.cache_clear()
    to_onnx(policy, obs, "logits", {})
    assert torch.equal(policy(obs), before)


def test_a_run_is_written_with_its_names_and_an_existing_file_is_kept(published_hub, tmp_path):
    path = tmp_path / "new" / "model.onnx"
    write_onnx(make_source(published_hub), RUNS[1], path)
    proto = onnx.load_from_string(path.read_bytes())
    assert [one.name for one in proto.graph.output] == ["logits"]
    (facts,) = [json.loads(one.value) for one in proto.metadata_props if one.key == METADATA]
    assert facts["run"] == str(RUNS[1])
    with pytest.raises(HubError, match=r"model\.onnx exists\. Delete it, or choose another"):
        write_onnx(make_source(published_hub), RUNS[0], path)
    assert onnx.load_from_string(path.read_bytes()) == proto


def test_a_model_whose_outputs_differ_from_torchscript_is_not_written(published_hub, tmp_path, monkeypatch):
    weights = published_hub / RUNS[0].path("policy")
    other = (published_hub / RUNS[1].path("policy")).read_bytes()
    read = onnx_export.fetch
    monkeypatch.setattr(
        onnx_export,
        "fetch",
        lambda source, one: other if one.path.endswith(weights.name) else read(source, one),
    )
    with pytest.raises(
        HubError, match=r"seed-0: the ONNX model's outputs differ from models/.*model\.pt's by"
    ):
        write_onnx(make_source(published_hub), RUNS[0], tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx*"))


def test_weights_of_another_policy_are_an_error(published_hub, tmp_path, monkeypatch):
    source = make_source(published_hub)
    for data, reason in ((b"junk", "HeaderTooSmall|header"), (weights_of_a_line(), "Missing key")):
        monkeypatch.setattr(onnx_export, "fetch", lambda *_, data=data: data)
        with pytest.raises(HubError, match="does not fit the policy of ppo: ") as caught:
            write_onnx(source, RUNS[0], tmp_path / "model.onnx")
        assert caught.value.args[0].count("\n") == 0, reason


def weights_of_a_line():
    import safetensors.torch

    return safetensors.torch.save({"weight": torch.zeros(2)})


def test_settings_that_did_not_make_the_run_are_refused(hub, tmp_path):
    path = hub / "pipelines/minigrid/ppo/params.yaml"
    edit_yaml(path, lambda params: params["hyperparameters"].update({"gamma": 0.5}))
    with pytest.raises(HubError, match=f"The settings of {CELL} have changed: .* rllte-hub --rev REV"):
        write_onnx(make_source(), RUNS[0], tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf'{package}\. Install it with: pip install "rllte-hub\[onnx\]"'
    ):
        run_onnx(
            to_onnx(torch.nn.Linear(2, 1), torch.zeros(1, 2), "output", {}),
            torch.from_numpy(np.zeros((1, 2))),
        )
