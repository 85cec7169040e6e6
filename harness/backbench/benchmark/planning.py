"""From a benchmark to a graph of stages in which nothing is done twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from backbench.benchmark.config import Benchmark
from backbench.data.fingerprint import FileHashes
from backbench.model import (
    CHAIN,
    NONE,
    TRIGGERS_ALONE,
    Axis,
    Cell,
    CellName,
    Detection,
    Origin,
    Plan,
    PluginUse,
    Stage,
    StageKind,
)
from backbench.plugin import Attack, AttackInfo, DefenseInfo, EvaluatorInfo
from backbench.plugin.calling import plugin_code
from backbench.plugin.infos import DEFENSE_SHAPES, DefenseShape
from backbench.plugin.recipes import SET
from backbench.store.store import Store


def plan_of(benchmark: Benchmark, store: Store, *, keep_hashes: bool) -> Plan:
    """Fingerprint the datasets of a benchmark and plan it."""
    return make_plan(benchmark, fingerprints_of(benchmark, store, keep_hashes=keep_hashes))


def fingerprints_of(
    benchmark: Benchmark, store: Store, *, keep_hashes: bool, only: str | None = None
) -> dict[str, str]:
    """Return the content fingerprint of each dataset, by instance name."""
    hashes = FileHashes(store.files_cache)
    attacked = {name for cell in benchmark.cells for name in (cell.dataset, cell.evaluated)}
    names = [one for one in benchmark.datasets if only in {None, one} or one not in attacked]
    found = {}
    for name in names:
        with plugin_code(benchmark.instances["datasets"][name].registered):
            found[name] = benchmark.datasets[name].fingerprint(hashes)
            if not isinstance(found[name], str) or not found[name]:
                raise TypeError(f"fingerprint() gave {found[name]!r}, and must give a text")
    if keep_hashes:
        hashes.save()
    return found


#: Roles of what has a trigger.
_TRIGGERED = frozenset({"triggered", "poison"})

#: The axis whose plugin does a stage.
_PLUGINS = {
    StageKind.FIT_TRIGGER: Axis.ATTACK,
    StageKind.POISON: Axis.ATTACK,
    StageKind.IMPLANT: Axis.ATTACK,
    StageKind.PRETRAIN: Axis.METHOD,
    StageKind.SANITIZE: Axis.DEFENSE,
    StageKind.INSPECT: Axis.DEFENSE,
    StageKind.REPAIR: Axis.DEFENSE,
    StageKind.FIT_DETECTOR: Axis.DEFENSE,
    StageKind.DETECT: Axis.DEFENSE,
    StageKind.FIT: Axis.EVALUATOR,
    StageKind.PREDICT: Axis.EVALUATOR,
}

_NOTHING: Mapping[str, Any] = {}


class Shown(NamedTuple):
    """The part that all evaluators of an encoder share under one trigger.

    Args:
        who: The names of the encoder, for labels.
        inputs: Keys of what an evaluator is shown, by role.
        path: Keys of the stages that lead there.
        detections: Keys of the stages that detect on the encoder.
    """

    who: str
    inputs: Mapping[str, str]
    path: tuple[str, ...]
    detections: tuple[str, ...]


class MadeEncoder(NamedTuple):
    """Key of an encoder, of the stages that lead to it, and of those that inspect it."""

    encoder: str
    path: tuple[str, ...]
    inspections: tuple[str, ...]


def make_plan(benchmark: Benchmark, fingerprints: Mapping[str, str]) -> Plan:
    """Plan a benchmark.

    Every cell is a path through a graph of stages; equal stages are shared. Each cell with an
    attack brings its control along, requested or not: the same trigger, shown to the encoder
    that went through the same method, defense and seed on clean data.
    """
    return Planner(benchmark, fingerprints).plan(benchmark.cells)


class Planner:
    """Collects stages, each once, while cells are requested.

    Most cells need stages that another cell has needed: what they have in common is made and
    hashed once, so that the time goes with the number of distinct stages.
    """

    def __init__(self, benchmark: Benchmark, fingerprints: Mapping[str, str]) -> None:
        self._name = benchmark.name
        self._instances = benchmark.instances
        self._external = benchmark.encoders
        self._protocol = benchmark.protocol
        self._fingerprints = fingerprints
        self._uses: dict[tuple[str, str], tuple[PluginUse, PluginUse | None]] = {}
        self._keys: dict[tuple[Any, ...], str] = {}
        self._encoders: dict[tuple[Any, ...], MadeEncoder] = {}
        self._shown: dict[tuple[Any, ...], Shown] = {}
        self._composing: dict[str, bool] = {}
        self._feature_keys: dict[tuple[str, ...], dict[str, str]] = {}
        self._datasets: dict[str, str] = {}
        self._attackers: dict[str, dict[str, str]] = {}
        self._origins: dict[str, Origin] = {}
        self.stages: dict[str, Stage] = {}

    def plan(self, names: Iterable[CellName]) -> Plan:
        """Return the plan of some cells; its stages are in an order in which they can run."""
        cells = tuple(self.cell(name) for name in names)
        protocol = self._protocol.id if self._protocol else ""
        return Plan(self._name, self.stages, cells, protocol, self._origins)

    def cell(self, name: CellName) -> Cell:
        """Add the stages of a cell and of its control."""
        path, found = self._evaluation(name, trained_on=name.attack)
        if name.attack == NONE or not self._has_control(name):
            return Cell(name, path, None, tuple(Detection(key, None) for key in found))
        control, clean = self._evaluation(name, trained_on=NONE)
        return Cell(name, path, control[-1], tuple(map(Detection, found, clean)))

    def _evaluation(
        self, name: CellName, trained_on: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Add the stages that evaluate one encoder under the cell's trigger.

        Returns:
            Keys of the path to the evaluation, and keys of what detects on that encoder.
        """
        asked = (*_but_evaluator(name), trained_on)
        if asked not in self._shown:
            self._shown[asked] = self._new_shown(name, trained_on)
        shown = self._shown[asked]
        inputs, path = shown.inputs, list(shown.path)
        evaluator = self._instances["evaluators"][name.evaluator]
        if cast("EvaluatorInfo", evaluator.registered.info).reads == "features":
            inputs = self._features(name, trained_on, inputs, path)
        trigger = f" · trigger of {name.attack}" if name.attack != NONE else ""
        what = f"{name.evaluator} · {shown.who}"
        fit = self._fit(name, trained_on, what, inputs)
        stamp = {"protocol": self._protocol.stamp(name.evaluator)} if self._protocol else {}
        inputs = {**inputs, "fit": fit}
        predict = self._seeded(StageKind.PREDICT, name, f"{what}{trigger}", inputs, stamp)
        return tuple(dict.fromkeys([*path, fit, predict])), shown.detections

    def _new_shown(self, name: CellName, trained_on: str) -> Shown:
        """Add the stages that lead to what every evaluator of a cell's encoder reads."""
        shown = {"dataset": self._dataset(name.evaluated)}
        elsewhere = name.method in self._external  # its own training images are not known
        data = dict(shown) if elsewhere else {"dataset": self._dataset(name.dataset)}
        path = [*data.values(), *shown.values()]
        training = data
        if name.attack != NONE:
            learned = self._trigger(name, data)
            path += learned.values()
            alone = name.evaluated != name.dataset and self._composes(name.attack)
            trains = trained_on != NONE and not elsewhere and not self._implants(trained_on)
            read = learned
            if trains or not alone:
                read = self._sets(name) | learned | self._read_encoder(name, data, path)
            inputs = shown | (learned if alone else read)
            shown["poison"] = self._poison(name, name.evaluated, inputs, path, alone=alone)
            if trains:
                poison = self._poison(name, name.dataset, data | read, path)
                training = {**data, "poison": poison}
        made = self._encoder(name, trained_on, training)
        path += made.path
        inputs = {"encoder": made.encoder, **shown}
        detections = made.inspections + self._detections(name, trained_on, inputs)
        return Shown(self._who(name, trained_on), inputs, tuple(path), detections)

    def _detections(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Add the stages by which the cell's defenses detect on an encoder; return their keys."""
        found = []
        clean = {role: key for role, key in inputs.items() if role != "poison"}
        for shape, defense in self._acting(name.defense):
            if shape == "input":
                who = f"{defense} · {self._who(name, trained_on)}"
                read = dict(inputs)
                if self._defense(defense).learns:
                    read["detector"] = self._seeded(
                        StageKind.FIT_DETECTOR, name, who, clean, instance=defense
                    )
                what = f"{who} · trigger of {name.attack}" if "poison" in inputs else who
                found.append(self._seeded(StageKind.DETECT, name, what, read, instance=defense))
        return tuple(found)

    def _dataset(self, instance: str) -> str:
        """Add the stage of a dataset; return its key."""
        if instance not in self._datasets:
            self._datasets[instance] = self._add(
                Stage(
                    kind=StageKind.DATASET,
                    plugin=self._use("datasets", instance),
                    seed=None,
                    content=self._fingerprints[instance],
                    label=f"dataset {instance}",
                )
            )
        return self._datasets[instance]

    def _sets(self, name: CellName) -> dict[str, str]:
        """Add the datasets that the options of a cell's attack name; return their keys by role."""
        if name.attack not in self._attackers:
            sets = self._instances["attacks"][name.attack].options.sets()
            self._attackers[name.attack] = {
                f"{SET}{option}": self._dataset(named)
                for option, named in sets.items()
                if isinstance(named, str)
            }
        return self._attackers[name.attack]

    def _read_encoder(
        self, name: CellName, data: Mapping[str, str], path: list[str]
    ) -> dict[str, str]:
        """Add the clean encoder that a cell's attack reads, if it does; return its key by role."""
        if not self._attack_info(name.attack).reads_encoder:
            return {}
        external = self._external.get(name.method)
        clean = external is not None and (external.control or external.own.origin) is not None
        attack = name.attack if clean else NONE  # so that its control is read, which is clean
        made = self._encoder(replace(name, attack=attack, defense=NONE), NONE, data)
        path += made.path
        return {"encoder": made.encoder}

    def _trigger(self, name: CellName, data: Mapping[str, str]) -> dict[str, str]:
        """Add the stage in which a cell's attack learns, if it does; return its key by role."""
        if not self._attack_info(name.attack).learns:
            return {}
        what = f"{name.attack} · {name.dataset} · seed {name.seed}"
        return {"trigger": self._seeded(StageKind.FIT_TRIGGER, name, what, data)}

    def _poison(
        self,
        name: CellName,
        dataset: str,
        inputs: Mapping[str, str],
        path: list[str],
        *,
        alone: bool = False,
    ) -> str:
        """Add the stage of a cell's attack on a dataset to the path; return its key.

        ``alone``: nothing is trained on the dataset, and only its validation images are triggered.
        """
        features = f" · {name.method}" if "encoder" in inputs else ""
        what = f"{name.attack} · {dataset}{features} · seed {name.seed}"
        content = TRIGGERS_ALONE if alone else ""
        path.append(self._seeded(StageKind.POISON, name, what, inputs, content=content))
        return path[-1]

    def _composes(self, attack: str) -> bool:
        """Return whether an attack lists recipes, of which its target does not depend."""
        if self._implants(attack):
            return False
        if attack not in self._composing:
            made = self._instances["attacks"][attack].registered.implementation()
            composes = made.recipes is not Attack.recipes and made.aim is Attack.aim
            self._composing[attack] = composes
        return self._composing[attack]

    def _fit(self, name: CellName, trained_on: str, what: str, inputs: Mapping[str, str]) -> str:
        """Add the stage that fits a cell's evaluator on clean images; return its key."""
        del trained_on  # a subclass may import the classifier of one encoder
        clean = {role: key for role, key in inputs.items() if role not in _TRIGGERED}
        return self._seeded(StageKind.FIT, name, what, clean)

    def _features(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str], path: list[str]
    ) -> dict[str, str]:
        """Add the stages that compute features for all evaluators; return their keys by role."""
        read = tuple(inputs.values())
        if read not in self._feature_keys:
            self._feature_keys[read] = self._new_features(name, trained_on, inputs)
        path += self._feature_keys[read].values()
        return self._feature_keys[read]

    def _new_features(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str]
    ) -> dict[str, str]:
        clean = {role: key for role, key in inputs.items() if role != "poison"}
        wanted = {"clean": (clean, "clean")}
        if "poison" in inputs:
            wanted["triggered"] = (dict(inputs), f"trigger of {name.attack}")
        found = {}
        for role, (read, images) in wanted.items():
            asked = (StageKind.FEATURES, *read.items())
            if asked not in self._keys:
                label = f"features {self._who(name, trained_on)} · {images}"
                given = self._given(read)
                stage = Stage(StageKind.FEATURES, None, None, read, label=label, given=given)
                self._keys[asked] = self._add(stage)
            found[role] = self._keys[asked]
        return found

    def _encoder(self, name: CellName, trained_on: str, training: Mapping[str, str]) -> MadeEncoder:
        """Add the stages that make the cell's encoder, and those that inspect it."""
        made: tuple[Any, ...] = (name.dataset, name.method, name.defense, name.seed, trained_on)
        if self._implants(trained_on):
            made = (*made, name.downstream)
        # A control is another file than an unattacked cell's; defenses see the evaluated dataset.
        if name.method in self._external:
            made = (*made, is_control(name, trained_on), name.evaluated)
        if made not in self._encoders:
            self._encoders[made] = self._new_encoder(name, trained_on, training)
        return self._encoders[made]

    def _new_encoder(
        self, name: CellName, trained_on: str, training: Mapping[str, str]
    ) -> MadeEncoder:
        path: list[str] = []
        inspections: dict[str, str] = {}
        acting = self._acting(name.defense)
        guard = next((defense for shape, defense in acting if shape == "training"), "")

        def add(kind: StageKind, what: str, inputs: Mapping[str, str], instance: str = "") -> str:
            label = f"{what} · seed {name.seed}"
            by = guard if kind is StageKind.PRETRAIN else ""
            path.append(self._seeded(kind, name, label, inputs, instance=instance, guard=by))
            return path[-1]

        method = f"{name.method} with {guard}" if guard else name.method
        who = f"{method} · {trained_on}"
        implants = self._implants(trained_on)
        if name.method in self._external:
            implants = implants and not self._external[name.method].is_made_by(trained_on)
            encoder = self._import(name, trained_on)
            path.append(encoder)
        else:
            start = f"{method} · {NONE}" if implants else who
            encoder = add(StageKind.PRETRAIN, start, training)
        if implants:
            inputs = {"encoder": encoder, **training}
            if name.downstream != NONE and name.method not in self._external:
                inputs["downstream"] = self._dataset(name.downstream)
            encoder = add(StageKind.IMPLANT, who, inputs)
        for shape, defense in acting:
            what = f"{defense} · {who}"
            match shape:
                case "dataset":
                    inputs = {"encoder": encoder, **training}
                    training = {
                        **training,
                        "sanitize": add(StageKind.SANITIZE, what, inputs, defense),
                    }
                    who = f"{who} after {defense}"
                    encoder = add(StageKind.PRETRAIN, who, training)
                case "model":
                    inputs = {"encoder": encoder, "dataset": training["dataset"]}
                    inspections[defense] = add(StageKind.INSPECT, what, inputs, defense)
                case "encoder":
                    inputs = {"encoder": encoder, "dataset": training["dataset"]}
                    if defense in inspections:
                        inputs["inspect"] = inspections[defense]
                    encoder = add(StageKind.REPAIR, what, inputs, defense)
        read = {key for stage in path for key in self.stages[stage].inputs.values()}
        beside = set(inspections.values()) - read
        led = tuple(key for key in path if key not in beside)
        return MadeEncoder(encoder, led, tuple(inspections.values()))

    def _import(self, name: CellName, trained_on: str) -> str:
        """Add the encoder from elsewhere that a cell or its control starts from; return its key."""
        external = self._external[name.method]
        control = external.control if is_control(name, trained_on) else None
        encoder = control or external.own
        key = self._add(encoder.stage())
        if encoder.origin is not None:
            self._origins[key] = encoder.origin
        return key

    def _has_control(self, name: CellName) -> bool:
        """Return whether a cell with an attack has a control.

        An encoder from elsewhere has one if it was given, or if the attack changes its weights
        here: the control is then the encoder itself.
        """
        encoder = self._external.get(name.method)
        return encoder is None or encoder.control is not None or self._implants(name.attack)

    def _acting(self, chain: str) -> list[tuple[DefenseShape, str]]:
        """Return what each defense of a chain acts on, and its name, in the order of acting."""
        if chain == NONE:
            return []
        acting = [
            (shape, name)
            for name in Axis.DEFENSE.parts(chain)
            for shape in self._defense(name).shapes
        ]
        return sorted(acting, key=lambda one: DEFENSE_SHAPES.index(one[0]))

    def _defense(self, name: str) -> DefenseInfo:
        return cast("DefenseInfo", self._instances["defenses"][name].registered.info)

    def _who(self, name: CellName, trained_on: str) -> str:
        """Return the names of an encoder: of its defenses those that have changed it."""
        acting = self._acting(name.defense)
        changed = {defense for shape, defense in acting if shape not in {"model", "input"}}
        defense = CHAIN.join(one for one in Axis.DEFENSE.parts(name.defense) if one in changed)
        where = "" if name.downstream == NONE else f"on {name.downstream}"
        parts = (name.method, trained_on, defense, where, f"seed {name.seed}")
        return " · ".join(filter(None, parts))

    def _implants(self, attack: str) -> bool:
        """Return whether an attack changes encoders, and poisons no image."""
        if attack == NONE:
            return False
        return self._attack_info(attack).acts_on == "encoder"

    def _attack_info(self, attack: str) -> AttackInfo:
        return cast("AttackInfo", self._instances["attacks"][attack].registered.info)

    def _use(self, axis: str, name: str) -> PluginUse:
        return self._uses_of(axis, name)[0]

    def _uses_of(self, axis: str, name: str) -> tuple[PluginUse, PluginUse | None]:
        """Return the plugin of an instance, and that of its backbone where it has one."""
        if (axis, name) not in self._uses:
            instance = self._instances[axis][name]
            self._uses[axis, name] = instance.use(), instance.backbone_use()
        return self._uses[axis, name]

    def _seeded(
        self,
        kind: StageKind,
        name: CellName,
        what: str,
        inputs: Mapping[str, str],
        given: Mapping[str, Any] = _NOTHING,
        *,
        instance: str = "",
        guard: str = "",
        content: str = "",
    ) -> str:
        """Add the stage of a cell's plugin, which draws from the cell's seed; return its key.

        ``instance`` is the plugin's, where the cell names several; ``guard`` is the defense that
        wraps a training's method.
        """
        axis = _PLUGINS[kind]
        instance = instance or getattr(name, axis)
        asked = (kind, instance, guard, name.seed, content, *inputs.items())
        if asked not in self._keys:
            plugin, backbone = self._uses_of(axis.plural, instance)
            wraps, its_backbone = self._uses_of("defenses", guard) if guard else (None, None)
            stage = Stage(
                kind,
                plugin,
                name.seed,
                inputs,
                content,
                label=f"{kind} {what}",
                given={**self._given(inputs), **given},
                guard=wraps,
                backbone=backbone,
                guard_backbone=its_backbone,
            )
            self._keys[asked] = self._add(stage)
        return self._keys[asked]

    def _add(self, stage: Stage) -> str:
        """Add a stage unless it is there; return its key."""
        key = stage.key
        self.stages.setdefault(key, stage)
        return key

    def _given(self, inputs: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        """Return the options of the plugins that made a stage's inputs, by role."""
        uses = {role: self.stages[key].plugin for role, key in inputs.items()}
        return {role: use.options for role, use in uses.items() if use is not None}


def _but_evaluator(name: CellName) -> tuple[str | int, ...]:
    """Return what names a cell, without its evaluator."""
    return name.dataset, name.downstream, name.method, name.attack, name.defense, name.seed


def is_control(name: CellName, trained_on: str) -> bool:
    """Return whether an encoder is that of a cell's control."""
    return name.attack != NONE and trained_on == NONE
