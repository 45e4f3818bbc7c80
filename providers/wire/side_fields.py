"""Convert an untyped answer to its documented shape, where what is odd and not needed counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

Shape = TypeVar("Shape", bound=Struct)

MAX_SHAPES = 1024
"""Types of answers whose fields are remembered: looking them up costs far more than reading an answer by them."""


def convert(answer: Mapping[str, Any], shape: type[Shape]) -> Shape:
    """The answer as a Struct. A required field must fit; another that does not, or a part of it, is left out.

    Raises ValueError.
    """
    known: dict[str, Any] = {}
    for field in _fields(shape):
        if field.encode_name not in answer:
            if field.required:
                raise ValueError(f"missing required field `{field.encode_name}`")
            continue
        try:
            known[field.name] = _part(answer[field.encode_name], field.type)
        except ValueError:
            if field.required:
                raise
    return shape(**known)


@lru_cache(maxsize=MAX_SHAPES)
def _fields(shape: type[Struct]) -> tuple[FieldInfo, ...]:
    return fields(shape)


def _part(value: Any, kind: Any) -> Any:
    struct = _struct_of(kind)
    if struct is not None and isinstance(value, Mapping):
        return convert(value, struct)
    # Not strict: some servers count in floats (12.0), or in quotes.
    part = msgspec.convert(value, kind, strict=False)
    if isinstance(part, float) and not isfinite(part):
        raise ValueError("not a finite number")
    if isinstance(part, str):
        part.encode()  # Half a surrogate pair could not be passed on. Its error is a ValueError.
    return part


def _struct_of(kind: Any) -> type[Struct] | None:
    """The Struct that is a field's type, or one of its types."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((each for each in kinds if isinstance(each, type) and issubclass(each, Struct)), None)
