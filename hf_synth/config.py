"""Settings: checked by pydantic, filled from flat YAML and the command line, refused in one sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import yaml
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from .errors import InputError, did_you_mean, unknown

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)
Share = Annotated[float, Field(gt=0)]


def checked(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass `kind` from `values`; an error names the key, the value and what is allowed.

    Args:
        kind: A pydantic dataclass.
        values: Keys and values as the user wrote them.
        where: Where they were written, for the message.

    A class may say in `read_by` under which values of another setting alone one is read, name -> (other, values); no
    values stand for any at all.

    Raises:
        InputError: For an unknown key, a missing one, a value of the wrong type, or one that nothing would read: an
            ablation that changes nothing must not pass for one.
    """
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise InputError(f"{where}: {unknown('a key', key, names)}")
    try:
        found = kind(**values)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None
    for name, (other, readers) in (rule for base in kind.__mro__ for rule in vars(base).get("read_by", {}).items()):
        given, chosen = getattr(found, name), getattr(found, other)
        default = kind.__pydantic_fields__[name].get_default(call_default_factory=True)  # type: ignore[attr-defined]
        read = chosen in readers if readers else bool(chosen)
        if name in values and given != default and not read:
            wanted = " or ".join(yaml_word(value) for value in readers)
            needs = f"`{other}: {wanted}`; got {yaml_word(chosen)}" if readers else f"`{other}`"
            raise InputError(f"{where}: `{name}: {yaml_word(given)}` needs {needs}")
    return found


def yaml_word(value: Any) -> str:
    """Return a setting as YAML writes it, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else "settings"
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "missing":
        return f"`{key}` is missing"
    if cause is not None:  # our own check inside a dataclass speaks for itself
        return str(cause)
    given = first["input"]
    hint = ""
    if first["type"] == "literal_error":
        hint = did_you_mean(given, [w.strip("'") for w in first["ctx"]["expected"].replace(" or ", ", ").split(", ")])
    message = first["msg"][0].lower() + first["msg"][1:].replace("tuple", "list").replace("dictionary", "mapping")
    return f"`{key}`: {message}; got {given!r}.{hint}"


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without what would change a setting in silence.

    A key that stands twice is an error, where the last one would win; `12:30` and `02134` are texts, not the numbers
    750 and 1116 that YAML 1.1 makes of them; `1e-4` is a number, as in YAML 1.2.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that stands twice."""
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                told = f"{key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(problem=told, problem_mark=key.start_mark)
            seen.add(name)
        return node


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), [*"-+0123456789"])
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    [*"-+.0123456789"],
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: If the file is missing, is not YAML, or holds no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.load(text, Loader=Loader)  # noqa: S506 (a safe loader)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter of a 13th month, or of other than UTF-8
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        twice = f": {error.problem}" if isinstance(error, yaml.constructor.ConstructorError) else ""
        raise InputError(f"{str(path)!r} is not valid YAML{line}{twice}") from None
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} must hold `key: value` lines; got {type(values).__name__}")
    return values


@dataclass_transform(frozen_default=True)
def strict(kind: type[T]) -> type[T]:
    """Class decorator: a frozen pydantic dataclass that refuses unknown keys."""
    return dataclass(frozen=True, config=STRICT)(kind)  # type: ignore[return-value]


def part(kind: type[T], settings: Any) -> T:
    """Return the settings of a kind that others hold among theirs."""
    return kind(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(kind)})  # type: ignore[arg-type]
