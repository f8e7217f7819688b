"""The errors that this package raises on purpose.

HubError
├── UnknownNameError       a benchmark, agent, env_id, seed or setting does not exist
├── MissingArtifactError   an artifact exists by name but cannot be read: planned, or not downloadable
└── MissingExtraError      a package of an optional extra is not installed
"""

import difflib
from collections.abc import Iterable
from typing import Any


def printable(text: str) -> str:
    """Return a text with its control characters escaped, so that a terminal does not execute them.

    Line breaks and tabs are kept. Texts from a catalogue, a note or a server can contain any character.
    """
    return "".join(char if char in "\n\t" or char.isprintable() else ascii(char)[1:-1] for char in text)


class HubError(Exception):
    """Base class of all errors of this package; the message is one readable line."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))

    def __reduce__(self) -> tuple[Any, ...]:
        """Make all subclasses picklable for worker processes, whatever arguments their ``__init__`` takes."""
        return Exception.__new__, (type(self), *self.args), self.__dict__


class UnknownNameError(HubError):
    """A name does not exist; the message suggests names that do.

    Attributes:
        kind: The kind of name, such as ``"env_id"``.
        name: The name as the caller wrote it.
        known: The names that exist.
    """

    def __init__(
        self, kind: str, name: object, known: Iterable[object], where: str = "", hint: str = ""
    ) -> None:
        self.kind, self.name = kind, str(name)
        self.known = tuple(str(item) for item in known)
        hint = hint or self._hint()
        super().__init__(f"Unknown {kind} {self.name!r}{where and ' for ' + where}. {hint}")

    def _hint(self) -> str:
        by_lower = {item.lower(): item for item in self.known}
        if all(item.isdigit() for item in self.known):
            by_lower = {}  # do not suggest similar numbers
        near = difflib.get_close_matches(self.name.lower(), by_lower, n=1, cutoff=0.5)
        if near:
            return f"Did you mean {by_lower[near[0]]!r}?"
        # PongNoFrameskip-v4 and ALE/Pong-v5 mean Pong-v5
        name = self.name.lower().rpartition("/")[2]
        begins = [item for item in by_lower if name.startswith(item.rpartition("-v")[0] or item)]
        if begins:
            return f"Did you mean {by_lower[max(begins, key=len)]!r}?"
        if not self.known:
            return "None exist yet."
        shown = ", ".join(self.known[:8])
        return f"Known: {shown}{', …' if len(self.known) > 8 else ''}."


class MissingArtifactError(HubError):
    """An artifact exists by name, but its file cannot be read here.

    Attributes:
        path: The artifact's path in the repository, or the name of a planned cell.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


class MissingExtraError(HubError):
    """A package of an optional extra is not installed.

    Attributes:
        package: The missing package.
        extra: The extra of rllte-hub that installs the package.
    """

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f'{purpose} {package}. Install it with: pip install "rllte-hub[{extra}]"')
