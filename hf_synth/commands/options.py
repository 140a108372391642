"""From `--config file.yaml` and flags to checked settings; the command line wins."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from pydantic_core import PydanticUndefined

from ..config import Loader, checked, read_yaml
from ..errors import InputError, did_you_mean, unknown
from ..methods import get
from ..settings import BackendConfig, OutputConfig, StudentConfig, SynthConfig
from ..standing import filled

SHARED = (SynthConfig, BackendConfig, StudentConfig, OutputConfig)  # a recipe may hold their keys for another command


def parse(argv: Sequence[str], prog: str, *kinds: type, bare: str | None = None) -> dict[Any, Any]:
    """Read flags and the YAML file that `--config` names into settings.

    Args:
        argv: The command line after the command's name.
        prog: The command, for help.
        *kinds: Settings dataclasses; their keys are flat in the YAML file and flags on the command line. With
            `SynthConfig` come the settings of the method that it names, under the key `method`, whose defaults stand
            in for what is left out.
        bare: A key whose value may stand first, without its flag.

    Returns:
        Each dataclass -> its checked settings; `"method"` -> the method's; `"real_rows"` -> what a student learns
        beside, which a recipe may tell a verb that trains none.

    Raises:
        InputError: For an unknown key or a value that is not allowed.
    """
    if bare and argv and not argv[0].startswith("-"):
        argv = [f"--{bare}", *argv]
    file, rest = _config_file(argv)
    values = read_yaml(file) if file else {}
    generates = SynthConfig in kinds
    method = get((generates and _flag(rest, "method")) or values.get("method", SynthConfig.method))
    all_kinds = [*kinds, method.config] if generates else list(kinds)
    allowed = {f.name: kind for kind in all_kinds for f in dataclasses.fields(kind)}
    everything = {*allowed, *(f.name for kind in (*SHARED, method.config) for f in dataclasses.fields(kind))}
    for key in values:
        if key not in everything:
            raise InputError(f"{file}: {unknown('a key', key, sorted(everything))}")
    values |= _flags(rest, prog, all_kinds)
    if isinstance(values.get("output_dir"), str):  # no shell looks into YAML, or behind `--output_dir=`
        values["output_dir"] = os.path.expanduser(values["output_dir"])
    if generates:
        values = filled(method, values)
    where = file or "command line"
    # The method's first: of its `shots` are made `real_rows`, which nobody wrote.
    found: dict[Any, Any] = {
        kind: checked(kind, {k: v for k, v in values.items() if allowed.get(k) is kind}, where)
        for kind in reversed(all_kinds)
    }
    found["real_rows"] = values.get("real_rows")
    if generates:
        found["method"] = found.pop(method.config)
    return found


def _config_file(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    rest, file = list(argv), None
    for at, word in enumerate(rest):
        if word.startswith("--config="):
            file, rest[at : at + 1] = word.partition("=")[2], []
            break
        if word == "--config":
            if at + 1 == len(rest):
                raise InputError("`--config` needs the path of a YAML file")
            file, rest[at : at + 2] = rest[at + 1], []
            break
    if any(word.partition("=")[0] == "--config" for word in rest):
        raise InputError("`--config` names one YAML file; flags, and no second file, change what it says")
    return file, rest


def _flag(argv: Sequence[str], name: str) -> str | None:
    for at, word in enumerate(argv):
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
        if word == f"--{name}" and at + 1 < len(argv):
            return argv[at + 1]
    return None


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Raise `InputError` with the nearest flag."""
        unknown_flag = re.search(r"unrecognized arguments: (\S+)", message)
        flags = [flag for action in self._actions for flag in action.option_strings]
        hint = did_you_mean(unknown_flag[1].partition("=")[0], flags) if unknown_flag else ""
        raise InputError(f"{self.prog}: {message}.{hint} See `{self.prog} --help`.")


def _flags(argv: Sequence[str], prog: str, kinds: Sequence[type]) -> dict[str, Any]:
    """Return the flags that were given; values are read as YAML and checked by the dataclasses.

    TrlParser is not used: it needs its actions patched one by one for `bool | None`, mappings and pydantic's
    defaults, and what is left of it then is this function.
    """
    parser = _Parser(prog=prog, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of the keys below; flags win.")
    for kind in kinds:
        group = parser.add_argument_group(kind.__name__, (kind.__doc__ or "").splitlines()[0])
        help_of = documented(kind)
        fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
        for f in dataclasses.fields(kind):
            default = fields[f.name].default
            shown = "" if fields[f.name].is_required() or default in (None, PydanticUndefined) else f" [{default}]"
            switch: dict[str, Any] = {"nargs": "?", "const": True} if default is False else {}
            as_written = str if f.type in ("str", "str | None") else _yaml
            text = help_of[f.name].replace("%", "%%") + shown
            group.add_argument(f"--{f.name}", type=as_written, metavar="X", help=text, **switch)
    return vars(parser.parse_args(argv))


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(f"not valid YAML: {text!r}") from None


def documented(kind: type) -> dict[str, str]:
    """Read the field descriptions out of a dataclass's docstring and its bases': their only documentation."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        name = ""
        for line in (base.__doc__ or "").partition("Attributes:")[2].splitlines():
            words = line.strip()
            if line.startswith("        ") and not line.startswith("            ") and ": " in words:
                name, _, found[name] = words.partition(": ")
            elif name and words:
                found[name] += " " + words
    return found
