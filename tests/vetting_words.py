"""Writes src/rllte/vetting.json: what the exports of this package's policies are made of.

Run it when a policy or an encoder changes: ``python -m tests.vetting_words``.
"""

import json
import pickletools
from pathlib import Path

from rllte import torchscript, vetting
from rllte.agent import AGENTS
from rllte.agent.drqv2 import DrQv2, PixelActor, PixelPolicy
from rllte.agent.encoders import PixelCNN
from rllte.names import Cell
from rllte.recipes.project import Project
from tests.agent.conftest import ROOT, SMALL, make_agent

FILE = Path(vetting.__file__).with_name("vetting.json")


def policies():
    """Yield a policy of each agent; between them they have each encoder."""
    for name in SMALL:
        if name != "drqv2":
            yield make_agent(name).policy
    config = (
        Project(ROOT).spec(Cell("dmc", "drqv2", "cartpole_balance")).hyperparameters
    )  # without a renderer
    assert isinstance(config, DrQv2.Config)
    encoder = PixelCNN((9, 84, 84), 4)
    yield PixelPolicy(encoder, PixelActor(encoder.feature_dim, config, 2))


def exported_words():
    """Return what exports are made of."""
    assert set(SMALL) == set(AGENTS)
    archives = [torchscript.dump(policy.eval(), {}) for policy in policies()]
    records = [vetting.read_records(archive) for archive in archives]
    codes = {
        f"pickle {code.name}"
        for one in records
        for name, content in one.items()
        if name.endswith(".pkl")
        for code, _, _ in pickletools.genops(content)
    }
    known, vetting._known = vetting._known, lambda: frozenset(codes)
    try:
        return codes.union(*map(vetting.words, records))
    finally:
        vetting._known = known


if __name__ == "__main__":
    FILE.write_text(json.dumps(sorted(exported_words()), indent=0) + "\n", encoding="utf-8")
