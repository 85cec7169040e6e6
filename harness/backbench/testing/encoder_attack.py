"""The contract of attacks on the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from backbench.model import StageKind
from backbench.plugin import AttackInfo
from backbench.testing.hygiene import assert_same, run_twice
from backbench.testing.purity import assert_unused, elsewhere, watched
from backbench.testing.samples import (
    assert_encoder,
    assert_untouched,
    other_encoder,
    same_weights,
    tiny_encoder,
    weights_of,
)
from backbench.testing.stamping import StampContract

if TYPE_CHECKING:
    from backbench.nn import Encoder


@dataclass(frozen=True)
class _Implanted:
    """Input and result of an attack, and the global generators that it has used."""

    given: Encoder
    result: Any
    used: list[str]


#: The implant that tests of a contract share.
_IMPLANTED: WeakKeyDictionary[type[EncoderAttackContract], _Implanted] = WeakKeyDictionary()


class EncoderAttackContract(StampContract):
    """Of an attack on the encoder: subclass it, and set ``info`` and small ``options``.

    The encoder is a tiny one with random weights; the attacker's images are those of ``metadata``.
    """

    def encoder(self) -> Encoder:
        """Make the clean encoder; the same each time."""
        return tiny_encoder(min(self.metadata.size or (32, 32)))

    def implant(self, encoder: Encoder) -> Any:
        """Let the attack change an encoder."""
        attack = self.attack()
        context = self.context(attack)
        return self.guarded("implant", lambda: attack.implant(encoder, context))

    def of_cell(self, cell: int) -> dict[str, Any]:
        """Return stamps, and the weights of the implant: into another encoder in another cell."""
        encoder = other_encoder(self.encoder()) if cell else None
        found = self._implanted().result if encoder is None else self.implant(encoder)
        return {**super().of_cell(cell), **weights_of(found)}

    def _implanted(self) -> _Implanted:
        kind = type(self)
        if kind not in _IMPLANTED:
            self.implementation()  # importing torch is not implanting
            given = self.encoder()
            _IMPLANTED[kind] = _Implanted(given, *watched(lambda: self.implant(given)))
        return _IMPLANTED[kind]

    def test_it_acts_on_the_encoder(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, AttackInfo), "announce an AttackInfo"
        assert self.info.acts_on == "encoder", 'announce it with acts_on="encoder"'

    def test_result_is_another_encoder_of_the_same_architecture(self) -> None:
        clean, found = self.encoder(), self._implanted().result
        assert_encoder(found, clean)
        assert not same_weights(found, clean), "change weights: the encoder is the clean one"

    def test_the_clean_encoder_is_not_changed(self) -> None:
        """It is the attack's control, and other attacks start from it."""
        implanted = self._implanted()
        encoder, found = implanted.given, implanted.result
        assert found is not encoder, "return a copy of the encoder, not the one that was given"
        assert_untouched(encoder, self.encoder())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        implanted = self._implanted()
        assert_unused(implanted.used)
        with elsewhere():
            other = self.implant(self.encoder())
        assert same_weights(implanted.result, other), (
            "another process gives other weights: draw from the seed of the context alone"
        )

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded(
            "implant",
            lambda: run_twice(tmp_path, self, StageKind.IMPLANT, encoder=self.encoder()),
        )
        assert_same(folders, "encoder-backdoored.safetensors")
