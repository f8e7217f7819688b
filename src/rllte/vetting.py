"""Check that a TorchScript archive is safe to load, without running it.

TorchScript is code: ``torch.jit.load`` runs the ``__setstate__`` of the archive's classes, and TorchScript's
operators can read and write files. An archive passes only if it contains nothing but the kinds of records,
pickle instructions, classes and calls that this package's own exports contain; ``vetting.json`` lists them.
The check creates no real objects from the pickles and compiles no code: it reads code with Python's parser.
The records of an archive that passes are written into a new archive, so that PyTorch reads exactly the
records that were checked.
"""

import ast
import functools
import importlib.resources
import io
import json
import math
import pickle
import pickletools
import re
import reprlib
import zipfile
from typing import Any, NamedTuple, NoReturn

from rllte.errors import HubError

MAX_CODE_BYTES = 2**20
MAX_PICKLE_BYTES = 2**24
_MAX_DIMS = 8
_RECORD = re.compile(
    r"archive/(version|byteorder|extra/metadata\.json|(data|constants)(\.pkl|/\d+)|code/__torch__/[\w/]+\.py)"
)
_MANGLED = re.compile(r"\.___torch_mangle_\d+")
_CODE_CHARACTERS = re.compile(
    r"[ !-&(-\[\]-~\n]*"
)  # printable ASCII without ' and \, so that every parser reads strings in the same way
_TEMPORARY = re.compile(r"_\d+")  # the exporter's variables, which may hold a function
_MODULES = {"torch", "__torch__", "ops", "CONSTANTS"}
_ITEM_BYTES = {"FloatStorage": 4}


class Refused(Exception):
    """An archive contains something that this package's own exports do not contain."""


def vetted(data: bytes, name: str) -> bytes:
    """Check an archive and return a new one with the same records.

    Args:
        data: The bytes of the archive.
        name: The name of the archive in error messages.

    Raises:
        HubError: The archive contains something that this package's own exports do not contain.
    """
    try:
        records = read_records(data)
    except Refused as error:
        raise HubError(f"{name} is not a TorchScript model of this package: {error}.") from None
    try:
        if unknown := sorted(words(records) - _known()):
            _refuse(f"it uses {', '.join(map(repr, unknown[:5]))}{', …' if unknown[5:] else ''}")
    except (Refused, RecursionError, MemoryError) as error:
        raise HubError(
            f"{name} was not loaded: {error or type(error).__name__}. This package's own models do not "
            "contain that, and a TorchScript archive can run code. If you trust its maker: trust_repo=True."
        ) from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for record, content in records.items():
            archive.writestr(zipfile.ZipInfo(record), content)
    return buffer.getvalue()


def read_records(data: bytes) -> dict[str, bytes]:
    """Return the contents of the records of an archive, by name.

    Raises:
        Refused: The bytes are not an uncompressed archive with only known kinds of records.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            if len(set(names)) < len(names):
                _refuse("two of its records have the same name")
            if sum(info.file_size for info in infos) > len(data):
                _refuse("its records overlap or are compressed")
            for info in infos:
                if not _RECORD.fullmatch(info.filename):
                    _refuse(f"it has a record {info.filename!r}")
                if info.compress_type != zipfile.ZIP_STORED:
                    _refuse(f"its record {info.filename!r} is compressed")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise Refused(f"it is not an archive ({error})") from None


def words(records: dict[str, bytes]) -> set[str]:
    """Return the pickle instructions, classes, calls and other code elements of an archive, each as a text.

    Raises:
        Refused: The code or a tensor has a form that no export of this package has.
    """
    found: set[str] = set()
    for name, content in records.items():
        if name.endswith(".pkl"):
            found |= _words_of_pickle(name, content, records)
        elif name.endswith(".py"):
            found |= _words_of_code(name, content)
    return found


@functools.cache
def _known() -> frozenset[str]:
    text = importlib.resources.files("rllte").joinpath("vetting.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text))


def _refuse(text: str) -> NoReturn:
    raise Refused(text)


def _words_of_pickle(name: str, content: bytes, records: dict[str, bytes]) -> set[str]:
    if len(content) > MAX_PICKLE_BYTES:
        _refuse(f"{name} has {len(content):,} bytes")
    try:
        codes, shares = _instructions(content)
    except ValueError as error:
        raise Refused(f"{name} is not a pickle ({error})") from None
    if shares:
        _refuse(f"{name} uses a value twice")
    if unknown := codes - _known():  # before the pickle is interpreted
        return unknown
    reader = _StandIns(content, name.removesuffix(".pkl"), records)
    try:
        reader.load()
    except Refused:
        raise
    except Exception as error:  # a malformed pickle can raise any error
        raise Refused(f"{name} cannot be read ({type(error).__name__})") from None
    return codes | reader.found


def _instructions(content: bytes) -> tuple[set[str], bool]:
    """Return the instructions of a pickle, and whether it uses a value twice that is no text and no class.

    A few tuples that hold each other twice stand for billions of values, which hashing one of them visits.
    """
    codes, last, memo, shares = set[str](), "", dict[Any, str](), False
    for code, argument, _ in pickletools.genops(content):
        codes.add(f"pickle {code.name}")
        if code.name.endswith("PUT"):
            memo[argument] = last
        elif code.name.endswith("GET"):
            shares |= memo.get(argument) not in ("BINUNICODE", "GLOBAL")
        else:
            last = code.name
    return codes, shares


class _Storage(NamedTuple):
    numel: int


class _StandIns(pickle.Unpickler):
    """Reads a pickle with a stand-in for each class, and checks that each tensor lies within its record."""

    def __init__(self, content: bytes, folder: str, records: dict[str, bytes]) -> None:
        super().__init__(io.BytesIO(content))
        self._folder, self._records, self.found = folder, records, set[str]()

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in, so that no real class is instantiated."""
        full = _MANGLED.sub("", f"{module} {name}")
        self.found.add(f"class {full}")
        if full == "torch._utils _rebuild_tensor_v2":
            return _TensorCheck()
        if full.startswith("torch ") and name in _ITEM_BYTES:
            return name
        return type("StandIn", (), {"__init__": lambda self, *_: None, "__setstate__": lambda self, _: None})

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage after checking that its record has the size that the pickle states."""
        match pid:
            case ("storage", str(kind), str(key), "cpu", int(numel)) if kind in _ITEM_BYTES:
                record = self._records.get(f"{self._folder}/{key}", b"")
                if numel >= 0 and len(record) == numel * _ITEM_BYTES[kind]:
                    return _Storage(numel)
        _refuse(f"the tensor {reprlib.repr(pid)} is not in its record")


class _TensorCheck:
    """Stands for the function that makes a tensor; without attributes, which a pickle could set."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: int, size: Any, stride: Any, *_: object) -> None:
        """Check that a tensor lies within its storage."""
        if not isinstance(storage, _Storage) or type(size) is not tuple or type(stride) is not tuple:
            _refuse("a tensor has no storage, size or stride")
        numbers = (offset, *size, *stride)
        if len(size) > _MAX_DIMS or not all(type(n) is int and n >= 0 for n in numbers):
            _refuse("a tensor has no size or stride of whole numbers")
        if len(size) != len(stride) or math.prod(size) > storage.numel:
            _refuse("a tensor is larger than its storage")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= storage.numel:
            _refuse("a tensor ends after its storage")


def _words_of_code(name: str, content: bytes) -> set[str]:
    if len(content) > MAX_CODE_BYTES:
        _refuse(f"{name} has {len(content):,} bytes")
    text = content.decode("latin-1")
    if not _CODE_CHARACTERS.fullmatch(text) or "#" in text or '"""' in text:
        _refuse(f"{name} has characters that code of this package's exports does not have")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{name} cannot be parsed ({error})") from None
    reader = _Words()
    reader.visit(tree)
    return reader.found


class _Words(ast.NodeVisitor):
    """Collects the kinds of syntax in the code, and every name that is not a local variable."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._variables: set[str] = set()

    def generic_visit(self, node: ast.AST) -> None:
        """Record the kind of syntax."""
        self.found.add(f"syntax {type(node).__name__}")
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Record the name of a function, and find its local variables before visiting its body."""
        self.found.add(f"def {node.name}")
        stores = (part for part in ast.walk(node) if isinstance(part, ast.Name))
        self._variables = {part.id for part in stores if isinstance(part.ctx, ast.Store)}
        self._variables |= {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
        if reserved := self._variables & _MODULES:
            _refuse(f"it has a variable {min(reserved)!r}")
        self.generic_visit(node)
        self._variables = set()

    def visit_Call(self, node: ast.Call) -> None:
        """Record what is called: a method by its name, a function by its full name."""
        self.found.add("syntax Call")
        if isinstance(node.func, ast.Attribute) and _dotted(node.func) is None:
            self.found.add(f"method {node.func.attr}")
            self.visit(node.func.value)
        elif isinstance(node.func, ast.Attribute):
            self.visit(node.func)
        elif not isinstance(node.func, ast.Name):
            _refuse("it calls something that is neither a function nor a method")
        elif not (node.func.id in self._variables and _TEMPORARY.fullmatch(node.func.id)):
            self.found.add(f"call {node.func.id}")
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            match node.args:
                case [_, ast.Constant(value=str(name))] if not name.isdigit():
                    self.found.add(f"attribute {name}")
                case [_, ast.Constant(value=str())]:
                    pass  # a layer of a Sequential, named by its number
                case _:
                    _refuse("it looks up an attribute by a name that is not written in the code")
        for part in (*node.args, *node.keywords):
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Record a function or class of a module by its full name, any other attribute by its own name."""
        dotted = _dotted(node)
        self.found.add(f"name {dotted}" if dotted else f"attribute {node.attr}")
        if not dotted:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        """Record a name that is not a local variable of the function."""
        if isinstance(node.ctx, ast.Load) and node.id not in self._variables:
            self.found.add(f"name {node.id}")


def _dotted(node: ast.AST) -> str | None:
    """Return the full name, such as ``torch.conv2d``, of an attribute of a module; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in _MODULES:
        return None
    return _MANGLED.sub("", ".".join([node.id, *reversed(parts)]))
