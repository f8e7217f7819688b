"""Write published policies as ONNX models, which run without PyTorch."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rllte import torchscript
from rllte.agent.base import Agent
from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.files import write_bytes
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import Source
from rllte.names import Run
from rllte.recipes.build import make_trained_agent, sample_observations
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""The version of ONNX's operators; onnxruntime 1.17 and later run it."""

TOLERANCE = 1e-5
"""Largest accepted difference of an output from the TorchScript model's, relative to it if it is above 1."""

METADATA = "rllte_hub"
"""The key of the metadata in an ONNX model."""


def write_onnx(source: Source, run: Run, path: Path) -> None:
    """Write the policy of a published run as an ONNX model.

    Raises:
        MissingArtifactError: The run is not available, or its files cannot be fetched.
        MissingExtraError: ONNX or onnxruntime is not installed.
        HubError: The file exists, the settings are not those of the run, or the outputs of the model are not
            those of the TorchScript model.
    """
    if os.path.lexists(path):
        raise HubError(f"{path} exists. Delete it, or choose another file.")
    spec = published_spec(source, run)
    write_bytes(path, checked_onnx(source, run, spec, load_agent(source, run, spec)))


def checked_onnx(source: Source, run: Run, spec: Spec, agent: Agent) -> bytes:
    """Return the policy of a published run as an ONNX model that was checked against its TorchScript model.

    Args:
        source: Where the run is published.
        run: The run.
        spec: The run's settings.
        agent: The agent with the run's weights.

    Raises:
        MissingArtifactError: The TorchScript model cannot be fetched.
        MissingExtraError: ONNX or onnxruntime is not installed.
        HubError: The outputs of the two models differ.
    """
    obs = sample_observations(spec, run.seed)
    weights = source.catalogue.artifact(run, "policy")
    facts = {"run": str(run), "spec": spec.hash, "policy_sha256": weights.sha256}
    data = to_onnx(agent.policy, obs, output_name(agent), facts)
    artifact = source.catalogue.artifact(run, "model")
    model = torchscript.load(fetch(source, artifact), artifact.path)
    with torch.no_grad():
        expected = model(obs)
    differences = (run_onnx(data, obs) - expected).abs() / expected.abs().clamp(min=1)
    difference = differences.max().item()
    if not difference <= TOLERANCE:
        raise HubError(f"{run}: the ONNX model's outputs differ from {artifact.path}'s by {difference:.2g}.")
    return data


def published_spec(source: Source, run: Run) -> Spec:
    """Return the settings that made a published run.

    Raises:
        MissingArtifactError: The cell is planned.
        UnknownNameError: The cell has no such seed.
        HubError: The settings of the source have changed since the run was published.
    """
    source.catalogue.artifact(run, "policy")
    spec, published = Project(source.root).spec(run.cell), source.catalogue.cells[str(run.cell)]["spec"]
    if spec.hash != published:
        raise HubError(
            f"The settings of {run.cell} have changed: their hash is {spec.hash}, but {published} made the "
            "published runs. Choose a revision where they agree with: rllte-hub --rev REV"
        )
    return spec


def load_agent(source: Source, run: Run, spec: Spec) -> Agent:
    """Return the agent of a published run, with the weights of its policy, in eval mode on the CPU.

    Raises:
        HubError: The weights do not fit the policy.
    """
    artifact = source.catalogue.artifact(run, "policy")
    return make_trained_agent(spec, run.seed, fetch(source, artifact), artifact.path)


def output_name(agent: Agent) -> str:
    """Return what a policy computes: ``"logits"`` of discrete actions, or the ``"actions"`` themselves."""
    return "logits" if hasattr(agent.action_space, "n") else "actions"


def to_onnx(policy: nn.Module, obs: torch.Tensor, output: str, metadata: Mapping[str, object]) -> bytes:
    """Return a policy as an ONNX model with the input ``obs``, whose batch may have any size.

    The bytes do not depend on the process or the folder in which they are made. Another version of PyTorch
    or onnxscript may write the same model in other operators.

    Args:
        policy: The policy in eval mode. A ScriptModule cannot be exported.
        obs: A batch of observations, ``(batch, *obs_shape)``.
        output: The name of the output.
        metadata: Values to store in the model, as JSON.

    Raises:
        MissingExtraError: ONNX or onnxscript is not installed.
    """
    with requires_extra("ONNX models need"):
        import onnx
        import onnxscript  # noqa: F401  # torch.onnx imports it
    with torch.no_grad():
        policy(obs)  # else the indices that ``speed.patch_index`` caches would be the exporter's placeholders
    with _exporter_silenced():
        program = torch.onnx.export(
            policy, (obs,), dynamo=True, opset_version=OPSET, verbose=False, optimize=True,
            input_names=["obs"], output_names=[output], dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    assert program is not None, "PyTorch returns None only if it writes a file"
    model = program.model_proto
    _forget_origin(model)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata, sort_keys=True)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _forget_origin(model: "onnx.ModelProto") -> None:
    """Remove what depends on the place and the process that made a model.

    These are traces with the paths of source files, versions, and attributes in the order of a set.
    """
    model.producer_name, model.producer_version = "rllte-hub", ""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    parts: list[Any] = [*graph.node, *graph.input, *graph.output, *graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        node.attribute.sort(key=lambda attribute: attribute.name)


def run_onnx(data: bytes, obs: torch.Tensor) -> torch.Tensor:
    """Return the output of an ONNX model, as onnxruntime computes it on the CPU.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    with requires_extra("ONNX models need"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"obs": obs.numpy()})[0])


@contextmanager
def _exporter_silenced() -> Iterator[None]:
    """Silence what PyTorch's exporter says about its own parts: deprecations, and torchvision's absence."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
