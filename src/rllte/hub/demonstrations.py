"""Demonstrations: whole episodes of observations, actions and rewards, read one episode at a time."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from rllte import tables
from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.parquet_pages import check_pages

if TYPE_CHECKING:
    import torch

METADATA = "rllte_hub"
"""The key of the file's metadata, one JSON object."""

_DTYPES = ("uint8", "float32")
_MAX_FRAME_BYTES = 2**22
_MAX_STACK = 64
_MAX_ROWS = 1_000_000  # of one episode
_MAX_EPISODE_BYTES = 2**31  # of its stacked observations
_MAX_ACTION_DIM = 64
_COLUMNS = ("episode", "step", "observation", "action", "reward", "terminated", "truncated")


def transitions_schema(frame_bytes: int, *, discrete: bool) -> pa.Schema:
    """Return the columns of a file of demonstrations.

    Args:
        frame_bytes: The number of bytes of one frame.
        discrete: Whether an action is one integer; otherwise it is a list of numbers.
    """
    action = pa.int32() if discrete else pa.list_(pa.field("element", pa.float32()))
    kinds = (pa.int32(), pa.int32(), pa.binary(frame_bytes), action, pa.float32(), pa.bool_(), pa.bool_())
    return pa.schema(list(zip(_COLUMNS, kinds, strict=True)))


class Demonstrations(Mapping[str, dict[str, npt.NDArray[Any]]]):
    """Demonstrations as a mapping: ``episode_0``, ``episode_1`` and so on, each read when it is asked for.

    An episode is a dict of arrays, where num_steps is its length in agent steps:

    * ``observations``: ``(num_steps + 1, *obs_shape)``; the last row is the true last observation.
    * ``actions``: ``(num_steps,)`` int64, or ``(num_steps, action_dim)`` float32 in [-1, 1].
    * ``rewards``: ``(num_steps,)`` float32, those of the environment, neither clipped nor scaled.
    * ``terminateds``, ``truncateds``: ``(num_steps,)`` bool.

    An episode can also be asked for by its position, ``demonstrations[0]``. A slice gives the demonstrations
    of those episodes.

    Attributes:
        metadata: How the demonstrations were made, see ``docs/reference/formats.md``.
    """

    def __init__(
        self, data: bytes, name: str, *, num_episodes: int | None = None, stack: bool = True
    ) -> None:
        """Open a file of demonstrations.

        Args:
            data: The bytes of the file.
            name: The name of the file in error messages.
            num_episodes: The number of episodes, from the first on; all by default.
            stack: Whether observations are stacks of frames, as policies see them. Otherwise they are
                single frames. Where environments do not stack frames, this changes nothing.

        Raises:
            HubError: The file does not hold demonstrations, or has fewer episodes.
        """
        self._name, self._stack, self._data = name, stack, data
        with tables.readable(name):
            self._file = tables.open_parquet(data)
            self.metadata: dict[str, Any] = _metadata(self._file, name)
            total = _checked_episodes(self._file, name, self.metadata)
        if num_episodes is None:
            num_episodes = total
        if not isinstance(num_episodes, (int, np.integer)) or isinstance(num_episodes, bool):
            raise HubError(f"num_episodes is {num_episodes!r}; expected a whole number from 1 to {total}.")
        if num_episodes < 1:
            raise HubError(f"num_episodes is {num_episodes}; {name} has {total}. Write 1 to {total}.")
        if num_episodes > total:
            raise HubError(
                f"num_episodes is {num_episodes}; {name} has {total}. Make more with: rllte-hub demonstrate "
                f"{self.metadata.get('cell')} --level {self.metadata.get('level')} -n {num_episodes}"
            )
        self._episodes = range(num_episodes)

    def __repr__(self) -> str:
        mean = f", mean return {self.returns.mean():.4g}" if len(self) else ""
        return f"Demonstrations({self._name}: {len(self)} episodes{mean})"

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[str]:
        return (f"episode_{number}" for number in self._episodes)

    @overload
    def __getitem__(self, key: str | int) -> dict[str, npt.NDArray[Any]]: ...
    @overload
    def __getitem__(self, key: slice) -> "Demonstrations": ...
    def __getitem__(self, key: str | int | slice) -> "dict[str, npt.NDArray[Any]] | Demonstrations":
        """Return one episode, by its name or its position, or the demonstrations of a slice of them.

        Raises:
            KeyError: There is no episode of this name.
            IndexError: There is no episode at this position.
            HubError: The file is damaged.
        """
        if isinstance(key, slice):
            part = object.__new__(Demonstrations)
            part.__dict__.update(self.__dict__, _episodes=self._episodes[key])
            return part
        if isinstance(key, str):
            prefix, _, number = key.partition("_")
            if prefix != "episode" or not number.isdecimal() or int(number) not in self._episodes:
                raise KeyError(f"{key!r}; {self._name} has {', '.join(list(self)[:3])}, …")
            return self._read(int(number))
        return self._read(self._episodes[key])

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """The undiscounted return of each episode, ``(num_episodes,)`` float64."""
        return np.array([self.metadata["returns"][number] for number in self._episodes], np.float64)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The length of each episode in agent steps, ``(num_episodes,)`` int64."""
        return np.array([self.metadata["lengths"][number] for number in self._episodes], np.int64)

    def to_torch(self, device: "str | torch.device" = "cpu") -> "dict[str, torch.Tensor]":
        """Return all transitions of all episodes as tensors, one row for each.

        Args:
            device: The PyTorch device of the tensors.

        Returns:
            Tensors by name, with the dtypes of the arrays; num_steps is the sum of ``lengths``:

            * ``observations`` and ``next_observations``: ``(num_steps, *obs_shape)``.
            * ``actions``: ``(num_steps,)`` or ``(num_steps, action_dim)``.
            * ``rewards``, ``terminateds`` and ``truncateds``: ``(num_steps,)``.

        Raises:
            MissingExtraError: PyTorch is not installed.
            HubError: There are no episodes, or the file is damaged.
        """
        if not len(self):
            raise HubError(f"{self._name}: this slice has no episodes.")
        with requires_extra("Tensors need"):
            import torch

        episodes = list(self.values())
        parts = {
            "observations": [episode["observations"][:-1] for episode in episodes],
            "next_observations": [episode["observations"][1:] for episode in episodes],
        }
        for key in ("actions", "rewards", "terminateds", "truncateds"):
            parts[key] = [episode[key] for episode in episodes]
        return {key: torch.from_numpy(np.concatenate(part)).to(device) for key, part in parts.items()}

    def _read(self, number: int) -> dict[str, npt.NDArray[Any]]:
        rows = self._file.metadata.row_group(number).num_rows
        row_bytes = self._file.schema_arrow.field("observation").type.byte_width + 4 * _MAX_ACTION_DIM
        with tables.readable(self._name):
            # an honest column without repetitions is stored plainly, and a dictionary at most doubles it
            check_pages(
                self._data, self._file.metadata, [number], 2 * rows * row_bytes, rows * _MAX_ACTION_DIM
            )
            table = self._file.read_row_group(number, use_threads=False)
        num_steps = len(table) - 1
        steps, episodes = (self._values(table, name, number) for name in ("step", "episode"))
        if num_steps < 1 or (episodes != number).any() or (steps != np.arange(num_steps + 1)).any():
            raise HubError(f"{self._name}: the rows of episode {number} are not in order.")
        frames, then = self._values(table, "observation", number), table.slice(0, num_steps)
        actions = self._values(then, "action", number)
        return {
            "observations": self._stacked(frames),
            "actions": actions.astype(np.int64) if actions.ndim == 1 else actions,
            "rewards": self._values(then, "reward", number),
            "terminateds": self._values(then, "terminated", number),
            "truncateds": self._values(then, "truncated", number),
        }

    def _values(self, table: pa.Table, name: str, number: int) -> npt.NDArray[Any]:
        """Return a column without missing values as an array of its own."""
        values = table.column(name).combine_chunks()
        inner = values.flatten() if pa.types.is_list(values.type) else values
        sound = not values.null_count and not inner.null_count
        if sound and inner is not values:  # lists of one length
            sound = len(set(values.value_lengths().to_pylist())) == 1
        if not sound:
            raise HubError(f"{self._name}: episode {number} lacks values of {name}.")
        if pa.types.is_fixed_size_binary(values.type):
            width, data = values.type.byte_width, values.buffers()[1]
            raw = np.frombuffer(data, np.uint8, len(values) * width, values.offset * width)
            dtype, shape = self.metadata["dtype"], self.metadata["frame_shape"]
            return raw.view(dtype).reshape(len(values), *shape).copy()
        if pa.types.is_boolean(values.type):
            return tables.column(values.cast(pa.uint8())).astype(np.bool_)
        return tables.column(inner).reshape(len(values), *([-1] if inner is not values else [])).copy()

    def _stacked(self, frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
        stack_size = self.metadata["stack_size"]
        if stack_size == 1 or not self._stack:
            return frames
        # row t has the frames t - stack_size + 1 to t; the first frame stands for those before it
        rows = np.arange(len(frames))[:, None] + np.arange(1 - stack_size, 1)
        return frames[rows.clip(0)].reshape(len(frames), -1, *frames.shape[2:])


def read_demonstrations(
    path: str | Path, *, num_episodes: int | None = None, stack: bool = True
) -> Demonstrations:
    """Read a file that ``rllte-hub demonstrate`` wrote.

    Args:
        path: The file.
        num_episodes: The number of episodes, from the first on; all by default.
        stack: Whether observations are stacks of frames, as policies see them, or single frames.

    Raises:
        HubError: The file does not hold demonstrations, or has fewer episodes.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise HubError(f"{path} cannot be read: {error.strerror}.") from None
    return Demonstrations(data, str(path), num_episodes=num_episodes, stack=stack)


def _metadata(file: pa.parquet.ParquetFile, name: str) -> dict[str, Any]:
    try:
        metadata = json.loads((file.metadata.metadata or {})[METADATA.encode()])
        shape, stack_size = metadata["frame_shape"], metadata["stack_size"]
        lengths, seeds, returns = (metadata[key] for key in ("lengths", "env_seeds", "returns"))
        whole = [*shape, *lengths, *seeds, stack_size]
        if not all(type(value) is int and 0 <= value < 2**31 for value in whole):
            raise ValueError("frame_shape, lengths, env_seeds and stack_size must be whole numbers")
        if not all(type(value) in (int, float) and abs(value) < 1e30 for value in returns):
            raise ValueError("returns must be finite numbers")
        dtype, found = metadata["dtype"], file.schema_arrow
        frame_bytes = math.prod(shape) * np.dtype(dtype if dtype in _DTYPES else None).itemsize
        discrete = pa.types.is_integer(found.field("action").type)
        fits = found.equals(transitions_schema(frame_bytes, discrete=discrete), check_metadata=False)
        sound = min(shape) > 0 and frame_bytes <= _MAX_FRAME_BYTES and 1 <= stack_size <= _MAX_STACK
        counts = {len(returns), len(lengths), len(seeds)}
        if not (fits and sound and dtype in _DTYPES and counts == {file.num_row_groups}):
            raise ValueError(f"columns {found.names} and their types do not fit the metadata")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise HubError(f"{name} is not a file of demonstrations ({problem}).") from None
    return dict(metadata)


def _checked_episodes(file: pa.parquet.ParquetFile, name: str, metadata: dict[str, Any]) -> int:
    """Return the number of episodes, after checking that each has rows, and not too many."""
    if not file.num_row_groups:
        raise HubError(f"{name} has no episodes.")
    itemsize = np.dtype(metadata["dtype"]).itemsize
    row_bytes = math.prod(metadata["frame_shape"]) * itemsize * metadata["stack_size"]
    limit = min(_MAX_ROWS, _MAX_EPISODE_BYTES // row_bytes)
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if not 2 <= rows <= limit:
            raise HubError(f"{name}: episode {number} has {rows:,} rows; expected 2 to {limit:,}.")
    return int(file.num_row_groups)
