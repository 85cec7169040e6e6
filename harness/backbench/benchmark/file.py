"""The tables of a benchmark file: their shape, their problems, their JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError

from backbench.benchmark.matrix import MOST_CELLS, Filter, Matrix, Profile, Seeds, Table
from backbench.benchmark.protocols.card import protocol_ids
from backbench.errors import PluginError, Problem
from backbench.external.layouts import AUTO
from backbench.model import Axis, CellName, Origin
from backbench.options.base import MOST_SIDE
from backbench.plugin import ExecutorInfo, ObserverInfo, PluginInfo
from backbench.plugin.calling import is_finite, plugin_code
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import suggestion

#: Characters that are shown of a wrong value.
_SHOWN = 200

#: Highest whole number of an option; none counts what a machine cannot hold.
_MOST = 2**31 - 1

#: So many unknown names get a hint; to look for the nearest name is slow.
HINTED = 100


def _name_or_number(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not is_finite(value):
        raise ValueError("should be 'control', 'clean', FIELD=NAME or a number")
    return float(value)


_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Claim(Table):
    """A finding, as a relation of numbers: ``metric relation factor × against + margin``."""

    text: str = Field(min_length=1, description="the finding in words")
    subject: Filter = Field(description="the cells that it is about; it holds if it does for each")
    metric: str = Field(description="what is compared: 'asr', 'target_fp/triggered', …")
    relation: Literal[">", "<", ">=", "<="] = Field(description="how it compares")
    against: Annotated[float | str, BeforeValidator(_name_or_number)] = Field(
        description="'control'; 'clean': the same without attack; 'defense=none' and the like: the "
        "same but for what is named; or a number"
    )
    factor: float = Field(1.0, gt=0, strict=True, allow_inf_nan=False, description="of 'against'")
    margin: _Finite = Field(0.0, description="added to it")
    confidence: float = Field(
        0.95, ge=0.5, lt=1, strict=True, description="of the interval that decides"
    )


class Header(Table):
    """The benchmark itself."""

    name: str = Field("benchmark", min_length=1, description="name of the benchmark")
    description: str = Field("", description="what it measures")
    seeds: Seeds = Field((0,), description="one repetition of the whole matrix a seed")
    protocol: str | None = Field(
        None, description="card that fixes what makes numbers comparable: backbench protocol"
    )
    executor: str = Field(
        "local", min_length=1, description="who runs the stages: an executor, or a table of one"
    )
    stage_timeout_s: _Finite | None = Field(
        None, gt=0, description="seconds after which a stage is ended; none: never"
    )
    stage_memory_gib: _Finite | None = Field(
        None, gt=0, description="memory at which a stage is ended, GiB; none: no limit"
    )


class EncoderTable(Table):
    """An encoder that was trained elsewhere: a file of weights, and how it is read."""

    weights: Path = Field(description="file of weights; of our own encoders, their folder")
    control: Path | None = Field(
        None, description="an encoder that was trained alike on clean data, in the same layout"
    )
    layout: str = Field(AUTO, description="how the file is laid out; auto: as its keys say")
    prefix: str | None = Field(None, description="where the encoder begins in the file")
    arch: str | None = Field(
        None, description="'resnet18', …, 'timm/NAME'; left out: as the shapes say"
    )
    stem: Literal["auto", "imagenet", "cifar", "cifar-padded"] = Field(
        AUTO, description="first layers of a ResNet; auto: as the first kernel says"
    )
    image_size: int | None = Field(
        None,
        ge=1,
        le=MOST_SIDE,
        description="side in pixels at which images are evaluated; left out: the dataset's own, "
        "else 224",
    )
    normalize: str | None = Field(
        None,
        description="'imagenet', 'cifar10', 'cifar10-imagewise', … or means/deviations; "
        "left out: imagenet",
    )


class BenchmarkFile(Table):
    """The tables of a benchmark file."""

    benchmark: Header = Field(default_factory=Header, description="the benchmark itself")
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    attacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    defenses: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluators: dict[str, dict[str, Any]] = Field(default_factory=dict)
    encoders: dict[str, EncoderTable] = Field(
        default_factory=dict, description="encoders that were trained elsewhere"
    )
    observers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="who watches a run; in no key"
    )
    executors: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="who runs the stages; in no key"
    )
    matrix: tuple[Matrix, ...] = Field(min_length=1)
    profiles: dict[str, Profile] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = Field((), description="findings: backbench claims")
    _origins: Mapping[str, Origin] = PrivateAttr(default_factory=dict)

    def with_origins(self, origins: Mapping[str, Origin]) -> Self:
        """Return the file with the origins of its zoo's encoders, by name; see :meth:`cells`."""
        found = self.model_copy()
        found._origins = dict(origins)  # noqa: SLF001 - of the same class
        return found

    def cells_of(self, matrix: Matrix) -> Iterator[CellName]:
        """Yield the cells of one of its matrices; see :meth:`Matrix.cells`."""
        return matrix.cells(self.benchmark.seeds, self._origins)

    def size_problem(self) -> Problem | None:
        """Return a problem if the matrices name more cells than can be planned."""
        total = sum(matrix.size(self.benchmark.seeds) for matrix in self.matrix)
        if total <= MOST_CELLS:
            return None
        return Problem(
            "matrix",
            f"names {total:,} cells before any is excluded, and {MOST_CELLS:,} at most are "
            "planned: name fewer instances or seeds, or split the file",
        )

    def cells(self, profile: str | None = None, *, every: bool = False) -> tuple[CellName, ...]:
        """Return the cells of a profile, or of the whole file, each once.

        Args:
            profile: Name of a profile; the whole file if ``None``.
            every: Whether to count the matrices that belong to other profiles as well.
        """
        chosen = None if profile is None else self.profiles.get(profile)
        cells = (
            cell
            for matrix in self.matrix
            if every or matrix.profiles is None or profile in matrix.profiles
            for cell in self.cells_of(matrix)
            if chosen is None or chosen.holds(cell)
        )
        return tuple(dict.fromkeys(cells))


def pydantic_problems(
    error: ValidationError, model: type[BaseModel], prefix: str
) -> Iterator[Problem]:
    """Turn a validation error into problems, with the nearest right name of an unknown key."""
    errors = error.errors(include_url=False)
    around = {item["loc"][:end] for item in errors for end in range(len(item["loc"]))}
    for number, item in enumerate(errors):
        kind, path = item["type"], item["loc"]
        if kind == "too_short" and path in around:
            continue  # its items are wrong, and are named
        if kind == "default_factory_not_called":
            continue  # follows from another problem
        # The last part of an unknown key is what the user has written.
        last = path[-1:] if kind == "extra_forbidden" else ()
        location = [*(part for part in path[: len(path) - len(last)] if _is_key(part)), *last]
        full = ".".join(str(part) for part in (prefix, *location) if part != "")
        if kind == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            hint = suggestion(str(location[-1]), known) if number < HINTED else ""
            sentence = f"unknown key{hint}"
        elif kind == "missing":
            sentence = "is missing"
        elif kind == "path_type":
            sentence = f"should be a path (given: {item['input']!r})"
        else:
            given = item["input"]
            plain = isinstance(given, str | int | float | bool)
            shown = f" (given: {repr(given)[:_SHOWN]})" if plain else ""
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            sentence = f"{message}{shown}"
        yield Problem(full, sentence)


def _is_key(part: int | str) -> bool:
    """Return whether a part of an error's location is the file's, not a name of pydantic's."""
    pydantic = isinstance(part, str) and (
        "[" in part or part in {"tuple", "nullable", "constrained-int"}
    )
    return not pydantic


def retyped(given: Any, value: Any, path: str) -> Iterator[Problem]:
    """Yield what pydantic has taken for a number that is none: ``"80"``, ``true``, ``3.0``.

    Its strict mode would not do: behind a validator that runs before a model, as many plugins have,
    it refuses a list where a tuple is wanted.
    """
    if isinstance(given, Mapping):
        for name, part in given.items():
            inner = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            yield from retyped(part, inner, f"{path}.{name}")
    elif isinstance(given, list | tuple) and isinstance(value, list | tuple):
        for index, (part, inner) in enumerate(zip(given, value, strict=False)):
            yield from retyped(part, inner, f"{path}.{index}")
    else:
        types, wanted = _NUMBERS.get(type(value), ((), ""))
        if types and type(given) not in types:
            yield Problem(path, f"should be {wanted} (given: {given!r})")
        elif type(value) is int and value > _MOST:
            yield Problem(path, f"should be at most {_MOST:,} (given: {repr(given)[:_SHOWN]})")


#: TOML types that may be written for a type, and the type in words.
_NUMBERS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}


def _fields_at(model: type[BaseModel], location: Iterable[Any]) -> list[str]:
    """Return the field names of the (nested) model at a location of an error."""
    current: Any = model
    named = False  # whether the next part is a name that the user gave to a table
    for part in location:
        if named:
            named = False
        elif isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            found = current.model_fields.get(part)
            current = _inner_model(found.annotation) if found else None
            named = found is not None and get_origin(found.annotation) is dict
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    return []


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = map(_inner_model, getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)


def json_schema(registry: Registry, left_out: list[PluginError]) -> dict[str, Any]:
    """Return the JSON Schema of a benchmark file, with the installed plugins' options.

    ``left_out`` gets an error for each plugin whose options have none.
    """
    schema = BenchmarkFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "backbench benchmark file"
    definitions = schema.setdefault("$defs", {})
    protocol = definitions["Header"]["properties"]["protocol"]
    protocol["anyOf"] = [{"enum": protocol_ids()}, {"type": "null"}]
    schema["properties"]["encoders"]["properties"] = {
        "zoo": {
            "anyOf": [{"type": "string"}, {"$ref": "#/$defs/EncoderTable"}],
            "description": "folder of a zoo; 'zoo' in methods: all its encoders",
        }
    }
    kinds = {axis.plural: axis.kind for axis in Axis.with_tables()}
    kinds |= {"observers": ObserverInfo.kind, "executors": ExecutorInfo.kind}
    for plural, kind in kinds.items():
        variants = []
        for name in registry.names(kind):
            try:
                registered = registry.find(kind, name)
                with plugin_code(f"the JSON Schema of {registered}"):
                    variants.append(_instance_schema(registered.info, definitions))
            except PluginError as error:
                left_out.append(error)
        schema["properties"][plural] = {
            "type": "object",
            "description": f"named instances of {kind} plugins",
            "additionalProperties": {"anyOf": variants},
        }
    return schema


def _instance_schema(info: PluginInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{info.kind}.{info.name}."
    options = info.options.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    inner = options.pop("$defs", {})
    definitions.update({prefix + name: definition for name, definition in inner.items()})
    options |= {"title": info.name, "description": info.summary}
    properties = options.setdefault("properties", {})
    properties["plugin"] = {"const": info.name, "description": "name of the plugin"}
    properties["sweep"] = {
        "type": "object",
        "description": "options and their values: an instance for each",
        "additionalProperties": {"type": "array", "minItems": 1},
    }
    if info.presets:
        properties["preset"] = {"enum": sorted(info.presets), "description": "named values"}
    return options
