"""One value against one annotation, refused in one sentence; the same from the command line and from Python."""

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from diffect.config.types import Part, Phrase

C = TypeVar("C", bound=type)

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    Path: "a path",
    Part: "a choice of its group: GROUP@KEY=NAME",
}


def check_value(key: str, value: Any, annotation: Any) -> None:
    """ValueError unless an annotation allows a value.

    Args:
        key: of the config, for the error.
        value: in Python's own types or OmegaConf's.
        annotation: a type, such as those of `config.types`.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)  # OmegaConf's lists are no lists to pydantic
    try:
        _adapter(annotation).validate_python(value)
    except ValidationError:
        shown = "null" if value is None else repr(value)
        allowed = phrase(annotation).replace("KEY", key).replace("GROUP", key.rpartition(".")[2])
        raise ValueError(f"{key} is {shown}; it must be {allowed}") from None


def checked(cls: C) -> C:
    """Class decorator: the constructor's arguments are checked against their annotations, in one sentence each."""
    plain = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(plain)
    annotated = cls if "__dataclass_fields__" in vars(cls) else plain  # fields may be annotated in another module

    @functools.wraps(plain)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        for name, value in signature.bind(self, *args, **kwargs).arguments.items():
            if (annotation := _simple_hints(annotated).get(name)) is not None:
                check_value(f"{type(self).__name__}.{name}", value, annotation)
        plain(self, *args, **kwargs)

    cls.__init__ = constructor  # type: ignore[misc]
    return cls


def phrase(annotation: Any) -> str:
    """What an annotation allows, in words: "a whole number, 0 or more"."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        for item in metadata:
            if isinstance(item, Phrase):
                return item.text
        return phrase(base) + _bounds(metadata)
    if get_origin(annotation) in (Union, types.UnionType):
        items = [item for item in get_args(annotation) if item is not int or float not in get_args(annotation)]
        return " or ".join(dict.fromkeys(map(phrase, items)))
    if get_origin(annotation) is Literal:
        *first, last = map(str, get_args(annotation))
        return f"{', '.join(first)} or {last}" if first else last
    if _is_list(annotation):
        return f"a list, each item {phrase(get_args(annotation)[0])}"
    return _NAMES.get(annotation, str(annotation))


def is_simple(annotation: Any) -> bool:
    """Whether an annotation is of plain values and lists of them, which can be checked without any other import."""
    if get_origin(annotation) is Annotated:
        return is_simple(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType) or _is_list(annotation):
        return all(map(is_simple, get_args(annotation)))
    return (annotation in _NAMES and annotation is not Part) or get_origin(annotation) is Literal


def takes_part(annotation: Any) -> bool:
    """Whether a part of the config is among what an annotation allows."""
    return annotation is Part or any(map(takes_part, get_args(annotation)))


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, tuple)


def _bounds(metadata: Sequence[Any]) -> str:
    """In words: ", 1 or more", " above 0", " from 0 to 1"."""
    flat = [item for one in metadata for item in (one if isinstance(one, GroupedMetadata) else (one,))]
    low = next((item for item in flat if isinstance(item, Ge | Gt)), None)
    high = next((item for item in flat if isinstance(item, Le | Lt)), None)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f" from {low.ge:g} to {high.le:g}"  # type: ignore[str-format]
    words = []
    if low is not None:
        words.append(f"{low.ge:g} or more" if isinstance(low, Ge) else f"above {low.gt:g}")  # type: ignore[str-format]
    if high is not None:
        words.append(f"{high.le:g} or less" if isinstance(high, Le) else f"below {high.lt:g}")  # type: ignore[str-format]
    return f", {' and '.join(words)}" if words else ""


@functools.cache
def _simple_hints(annotated: Callable[..., None]) -> Mapping[str, Any]:
    hints = get_type_hints(annotated, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return" and is_simple(hint)}


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=_STRICT)
