"""Make dataclasses from the plain values of a YAML file, after checking keys and types."""

import dataclasses
import numbers
import reprlib
from typing import Any

from rllte.errors import HubError, UnknownNameError

_NUMBERS: dict[Any, Any] = {float: numbers.Real, int: numbers.Integral}
"""The types accepted for float and int: a float may be given as a whole number, and both by NumPy types."""


def checked(kind: type[Any], values: object, where: str) -> Any:
    """Make a dataclass from plain values.

    Args:
        kind: The dataclass. Its fields give the keys and their types; fields without a default are required.
        values: The values read from the file.
        where: The file and the key, for error messages.

    Raises:
        UnknownNameError: A key is not a field of the dataclass.
        HubError: A key is missing, or its value has another type, such as text where a number belongs.
    """
    if not isinstance(values, dict):
        raise HubError(f"{where} is {reprlib.repr(values)}; expected keys and values.")
    joint = ": " if where.endswith(".yaml") else "."
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    optional = {field.name for field in dataclasses.fields(kind) if has_default(field)}
    for name in values:
        if name not in fields:
            raise UnknownNameError("key", name, fields, where=where)
    for name, wanted in fields.items():
        if name in optional and name not in values:
            continue
        if name not in values:
            raise HubError(f"{where}{joint}{name} is missing.")
        _check_type(values[name], wanted, f"{where}{joint}{name}")
    return kind(
        **{name: _plain(value, fields[name], f"{where}{joint}{name}") for name, value in values.items()}
    )


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field of a dataclass has a default."""
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _plain(value: Any, wanted: Any, where: str) -> Any:
    """Convert a number to Python's int or float, as wanted; return any other value unchanged."""
    try:
        return wanted(value) if wanted in _NUMBERS else value
    except OverflowError:
        raise HubError(f"{where} is {reprlib.repr(value)}; no setting is so large.") from None


def _check_type(value: object, wanted: Any, where: str) -> None:
    plain = getattr(wanted, "__origin__", wanted)
    accepted = _NUMBERS.get(plain, plain)
    if isinstance(value, accepted) and (plain is bool or not isinstance(value, bool)):
        return
    if isinstance(value, str) and plain in (int, float):
        raise HubError(f"{where} is the text {value!r}; {_number_hint(value, plain)}")
    raise HubError(f"{where} is {reprlib.repr(value)}; expected {plain.__name__}.")


def _number_hint(text: str, wanted: type) -> str:
    try:
        number = float(text)
    except ValueError:
        return f"expected {wanted.__name__}."
    if wanted is int:
        return f"write {int(number)}."
    mantissa, _, exponent = text.lower().partition("e")
    return f"write {mantissa}.0e{exponent}." if exponent and "." not in mantissa else f"write {number}."
