"""The resource models seen as shapes to walk a tree by: which keys, what kind of value, which of a union is meant.

Derived from the models, so that the language has one definition. Pydantic decides what is valid; shapes tell where a
text is kept as written, where a short form may stand, and to which field an error belongs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo

from resources import scalars
from resources.meta import Model

_SPECIAL = {
    scalars.parse_text: "text",
    scalars.parse_size: "size",
    scalars.parse_duration: "duration",
    scalars.parse_cpus: "cpus",
    scalars.parse_mode: "mode",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    kind: str
    """string, integer, boolean, words, or one of the language's own: text, size, duration, cpus, mode."""
    validate: Callable[[Any], Any] | None = None
    """Raises: pydantic.ValidationError. None where the kind says it all."""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Many:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class Table:
    """A map with free keys."""

    key: Leaf
    value: "Shape"


@dataclass(frozen=True, slots=True)
class Either:
    """A map of the one form, or a scalar of the other."""

    form: "Form"
    scalar: Leaf


@dataclass(frozen=True, slots=True)
class Form:
    """A model: a map with fixed keys."""

    model: type[Model]
    fields: Mapping[str, "Field"]

    def __hash__(self) -> int:
        return hash(self.model)


@dataclass(frozen=True, slots=True)
class Field:
    shape: "Shape"
    required: bool
    name: str
    """In Python."""


Shape: TypeAlias = Leaf | Many | Table | Either | Form


@cache
def form(model: type[Model]) -> Form:
    return Form(model, {info.alias or name: _field(name, info) for name, info in model.model_fields.items()})


def _field(name: str, info: FieldInfo) -> Field:
    annotation: Any = info.annotation
    for mark in info.metadata:
        annotation = Annotated[annotation, mark]
    return Field(_shape(annotation), info.is_required(), name)


def _shape(annotation: Any) -> Shape:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _union([arg for arg in args if arg is not NoneType])
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return form(annotation)
    if origin is tuple:
        return Many(_shape(args[0]))
    if origin is dict:
        key = _shape(args[0])
        if not isinstance(key, Leaf):
            raise TypeError(f"the keys of a map are scalars, not {args[0]}")
        return Table(key, _shape(args[1]))
    if origin is Annotated and isinstance(args[0], type) and issubclass(args[0], Model):
        return form(args[0])
    return _leaf(annotation)


def _union(options: list[Any]) -> Shape:
    if len(options) == 1:
        return _shape(options[0])
    shapes = [_shape(option) for option in options]
    forms = [shape for shape in shapes if isinstance(shape, Form)]
    leaves = [shape for shape in shapes if isinstance(shape, Leaf)]
    if len(shapes) != 2 or len(forms) != 1 or len(leaves) != 1:
        raise TypeError(f"a union is of one model and one scalar, not {options}")
    return Either(forms[0], leaves[0])


def _leaf(annotation: Any) -> Leaf:
    core, marks = annotation, []
    while get_origin(core) is Annotated:
        core, *more = get_args(core)
        marks += more
    special = [_SPECIAL.get(mark.func) for mark in marks if isinstance(mark, BeforeValidator)]  # type: ignore[arg-type]
    if special and special[0]:
        return Leaf(special[0], _validator(annotation))
    if get_origin(core) is Literal:
        return Leaf("words", None, get_args(core))
    kind = {bool: "boolean", int: "integer", str: "string"}[core]
    plain = kind == "boolean" or not marks
    return Leaf(kind, None if plain else _validator(annotation))


def _validator(annotation: Any) -> Callable[[Any], Any]:
    try:
        return _cached_validator(annotation)
    except TypeError:  # a mark that cannot be hashed
        return _new_validator(annotation)


def _new_validator(annotation: Any) -> Callable[[Any], Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True, hide_input_in_errors=True))
    return adapter.validate_python


_cached_validator = cache(_new_validator)
