"""The source of a page: a store of which a benchmark file names the cells, or a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backbench.benchmark.file import Claim
from backbench.model import Plan
from backbench.plugin.registry import Registry
from backbench.report.board import bundle_board_of, judged
from backbench.report.figures.opened import Opened
from backbench.results.claims import Judgement, judge
from backbench.results.leaderboard import Leaderboard
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system.files import sha256
from backbench.verification.bundle import open_bundle
from backbench.verification.bundle_check import claims_in, verify_bundle
from backbench.verification.findings import Findings


@dataclass(frozen=True, slots=True)
class Checked:
    """The check of a bundle.

    Args:
        sha256: Hash of its file.
        found: What was found.
    """

    sha256: str
    found: Findings

    @property
    def is_verified(self) -> bool:
        """Return whether nothing differs from what its records say."""
        return not self.found.differs


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An open store or bundle, and its results.

    Args:
        name: Name of the folder or the file.
        board: The leaderboard.
        claims: The claims of its benchmark file, judged.
        opened: What figures are drawn from.
        checked: Of a bundle, its check.
    """

    name: str
    board: Leaderboard
    claims: Sequence[Judgement]
    opened: Opened
    checked: Checked | None = None

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.opened.plan

    def records(self) -> dict[str, Record]:
        """Return the records that are there, by key, in the plan's order."""
        found = ((key, self.opened.record_of(key)) for key in self.plan.stages)
        return {key: record for key, record in found if record is not None}


@contextmanager
def store_source(
    registry: Registry, plan: Plan, store: Store, claims: Sequence[Claim], board: Leaderboard
) -> Iterator[Source]:
    """Open a store, of which a board is known."""
    found = judged(registry, plan, store, claims)
    opened = Opened.of_store(registry, plan, store)
    yield Source(store.root.resolve().name, board, found, opened)


@contextmanager
def bundle_source(
    registry: Registry, path: Path, board: Leaderboard | None = None
) -> Iterator[Source]:
    """Open a bundle, perhaps a stranger's, and check it.

    Args:
        registry: The installed plugins.
        path: The bundle.
        board: The rows to show; by default all.

    Raises:
        UsageError: If it is no bundle.
    """
    with open_bundle(path) as bundle:
        checked = Checked(sha256(path), verify_bundle(bundle))
        whole = bundle_board_of(registry, bundle)
        claims = [judge(claim, bundle.plan.cells, whole) for claim in claims_in(bundle)]
        yield Source(path.name, board or whole, claims, Opened.of_bundle(registry, bundle), checked)
