"""The conformance kit over the attack: ``python -m pytest``."""

from backbench.testing import AttackContract

from my_attack import ATTACK


class TestMyAttack(AttackContract):
    """The classes of the kit are ant, bee and cat."""

    info = ATTACK
    options = {"target": "bee", "width": 6}  # noqa: RUF012 - a constant
