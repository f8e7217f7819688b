"""Archives that could run code are refused before torch sees them."""

import io
import json
import zipfile

import pytest
import torch
from torch import nn

from rllte import torchscript, vetting
from rllte.errors import HubError
from tests.vetting_words import FILE, exported_words, policies


def archive_of(module):
    buffer = io.BytesIO()
    with torchscript._deprecation_silenced():
        torch.jit.save(torch.jit.script(module), buffer)
    return torchscript._canonical(buffer.getvalue())


def changed(data, change):
    """Return an archive whose records went through a function of name and content."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [(name, change(name, archive.read(name))) for name in archive.namelist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def good():
    return torchscript.dump(next(policies()).eval(), {"run": "a"})


class Saving(nn.Module):
    """Writes a file while it is loaded."""

    def __init__(self, path):
        super().__init__()
        self.path, self.weight = path, nn.Parameter(torch.zeros(1))

    def forward(self, obs):
        return obs

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path, self.weight, self.training = state
        torch.save(self.weight, self.path)


class Mapping(Saving):
    """Overwrites a file while it is loaded."""

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path, self.weight, self.training = state
        self.weight = torch.from_file(self.path, shared=True, size=4).fill_(1.0)


class Forward(nn.Module):
    """Writes a file when it is called."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, obs):
        torch.save(obs, self.path)
        return obs


@pytest.mark.parametrize("kind", [Saving, Mapping, Forward])
def test_a_model_that_touches_files_is_refused_unless_it_is_trusted(kind, tmp_path):
    path = tmp_path / "file"
    data = archive_of(kind(str(path)))
    path.write_bytes(bytes(16))
    with pytest.raises(HubError, match=r"model\.pt was not loaded: .*trust_repo=True"):
        torchscript.load(data, "model.pt")
    assert path.read_bytes() == bytes(16)
    torchscript.load(data, "model.pt", trust_repo=True)(torch.zeros(1))
    assert path.read_bytes() != bytes(16), "this is a real exploit"


def code(old, new):
    def change(name, content):
        return content.replace(old, new) if name.endswith("networks.py") else content

    return change


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"actor = self.actor", b'_1 = torch.save(obs, "x")', "torch.save"),
        (b"actor = self.actor", b"_1 = torch.save", "torch.save"),
        (b"actor = self.actor", b'_1 = getattr(torch, "save")', "attribute save"),
        (b"actor = self.actor", b'_1 = getattr(obs, "save")', "attribute save"),
        (b"actor = self.actor", b"_1 = getattr(obs, encoder)", "by a name that is not written"),
        (b"actor = self.actor", b'_1 = getattr(obs, "0")("x")', "neither a function nor a method"),
        (b"actor = self.actor", b'(obs).save("x")', "method save"),
        (b"actor = self.actor", b"torch = self.actor", "a variable 'torch'"),
        (b"actor = self.actor", b"_1 = ops.prim.load", "ops.prim.load"),
        (b"actor = self.actor", b"while True:\n      pass", "syntax"),
        (b"def forward(", b"def __setstate__(", "def __setstate__"),
        (b"(Module)", b"(__torch__.torch.classes.a.B)", "torch.classes"),
        (b"actor = self.actor", b"actor = self.actor # \r torch.save", "characters"),
        (b"actor = self.actor", b"actor = self.actor\\\n", "characters"),
        (b"actor = self.actor", b"actor = (((", "cannot be parsed"),
        (b"actor = self.actor", b"actor = " + b"-" * 100_000 + b"1", ""),
    ],
)
def test_code_that_exports_do_not_have_is_refused(good, old, new, named):
    data = changed(good, code(old, new))
    assert data != good
    with pytest.raises(HubError, match=f"was not loaded: .*{named}"):
        torchscript.load(data, "model.pt")


def pickle_change(old, new):
    def change(name, content):
        return content.replace(old, new, 1) if name.endswith("/data.pkl") else content

    return change


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"ccollections\nOrderedDict\n", b"cposix\nsystem\n", "class posix system"),
        (b"c__torch__.rllte.agent.networks\nDiscretePolicy\n", b"c__torch__.torch.classes.a\nB\n", "classes"),
        (b"storage", b"storagf", "not in its record"),
        (b"FloatStorage", b"QInt8Storage", "not in its record"),
        (b".", b"I1\n.", "pickle INT"),
    ],
)
def test_pickles_that_exports_do_not_have_are_refused(good, old, new, named):
    records = vetting.read_records(good)
    if old == b".":  # the last instruction
        data = changed(
            good, lambda name, content: content[:-1] + new if name.endswith("/data.pkl") else content
        )
    else:
        data = changed(good, pickle_change(old, new))
    assert vetting.read_records(data) != records
    with pytest.raises(HubError, match=f"was not loaded: .*{named}"):
        torchscript.load(data, "model.pt")


def test_a_tensor_larger_than_its_record_is_refused(good):
    data = changed(good, lambda name, content: content[:-4] if name == "archive/data/0" else content)
    with pytest.raises(HubError, match="not in its record"):
        torchscript.load(data, "model.pt")
    storage = vetting._Storage(6)
    check = vetting._TensorCheck()
    check(storage, 0, (2, 3), (3, 1), False)
    for offset, size, stride in [(1, (2, 3), (3, 1)), (0, (7,), (0,)), (0, (2, 3), (4, 1)), (-1, (1,), (1,)),
                                 (0, (1,) * 10**5, (1,) * 10**5), (0, "6", "1"), (0, [6], [1])]:  # fmt: skip
        with pytest.raises(vetting.Refused):
            check(storage, offset, size, stride, False)


def shared_tuples(depth):
    """Return the pickle of a tuple that holds a tuple twice, which holds another twice, and so on."""
    pairs = [b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth)]
    return b")q\x00" + b"".join(pairs)


@pytest.mark.parametrize("end", [b"Q.", b"0}h\x3cK\x01s.", b"."], ids=["storage", "key", "value"])
def test_tuples_within_tuples_are_refused_before_they_are_built(good, end):
    content = b"\x80\x02" + shared_tuples(60) + end
    data = changed(good, lambda name, old: content if name.endswith("/data.pkl") else old)
    with pytest.raises(HubError, match="uses a value twice"):
        torchscript.load(data, "model.pt")


def test_a_pickle_cannot_change_the_check(good):
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    content = b"\x80\x02" + rebuild + b"}X\x0c\x00\x00\x00__defaults__)sb."
    data = changed(good, lambda name, old: content if name.endswith("/data.pkl") else old)
    with pytest.raises(HubError, match="was not loaded"):
        torchscript.load(data, "model.pt")
    assert not hasattr(vetting._TensorCheck(), "__dict__")
    torchscript.load(good, "model.pt")


def test_what_torch_cannot_read_is_a_hub_error(good):
    data = changed(good, lambda name, old: b"9" * 30 if name == "archive/version" else old)
    with pytest.raises(HubError, match="is not a TorchScript model"):
        torchscript.load(data, "model.pt")


def test_records_within_records_are_refused(good):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data/1"), bytes(1000))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        content = inner.getvalue()[: inner.getvalue().index(b"PK\x01\x02")]
        archive.writestr(zipfile.ZipInfo("archive/data/0"), content)
        info = zipfile.ZipFile(inner).infolist()[0]
        info.header_offset = outer.getvalue().index(content)
        archive.filelist.append(info)
    assert zipfile.ZipFile(outer).read("archive/data/1") == bytes(1000)
    with pytest.raises(HubError, match="overlap"):
        torchscript.load(outer.getvalue(), "model.pt")


@pytest.mark.parametrize("name", ["archive/code/a.so", "archive/../x", "archive/extra/run.sh"])
def test_records_that_exports_do_not_have_are_refused(good, name):
    buffer = io.BytesIO(good)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, "import os")
    with pytest.raises(HubError, match="is not a TorchScript model of this package: it has a record"):
        torchscript.load(buffer.getvalue(), "model.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_records_of_one_name_and_compressed_ones_are_refused(good):
    buffer = io.BytesIO(good)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/version", "3\n")
    with pytest.raises(HubError, match=r"is not a TorchScript model .*same name"):
        torchscript.load(buffer.getvalue(), "model.pt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**6))
    with pytest.raises(HubError, match="compressed"):
        torchscript.load(buffer.getvalue(), "model.pt")


def test_every_policy_of_this_package_passes_and_no_word_is_spare():
    assert json.loads(FILE.read_text()) == sorted(exported_words()), "run: python -m tests.vetting_words"
    for policy in policies():
        torchscript.load(torchscript.dump(policy.eval(), {}), "model.pt")
