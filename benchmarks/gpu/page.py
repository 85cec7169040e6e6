"""The page of a run on a GPU, from its state. Pure but for the names of the machine."""

from __future__ import annotations

import platform
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.gpu.peers import PEERS
from benchmarks.gpu.state import State, Status


def page(state: State) -> str:
    """Return the page; what was not done is listed with the reason."""
    units = state.units
    done = {name: one.result for name, one in units.items() if one.status is Status.DONE}
    device = str(state.settings["device"])
    command = f"python -m benchmarks gpu --device {device}"
    tiny = bool(state.settings["tiny"])
    command += " --tiny" if tiny else ""
    parts = [
        "# On a GPU\n",
        f"`{command}` at commit {machine.commit()}.\n",
        *(f"- {line}" for line in _device(device)),
        "\n## Checked against the processor\n",
        _table(
            ("steps", "views apart", "losses apart, of 20 steps in float32"),
            [
                (
                    name.removeprefix("steps "),
                    f"{one['views_apart']:.1e}",
                    f"{one['loss_apart']:.1e}",
                )
                for name, one in done.items()
                if name.startswith("steps ")
            ],
        ),
        _compared(done.get("matrix compared")),
        "\n## Speed\n",
        _speed(done),
        _variants(done.get("step eager, compiled, graph")),
        _probe(done.get("linear probe")),
        f"\n## CIFAR-10 {'with tiny networks and images' if tiny else 'at the published size'}\n",
        _cifar10(done.get("cifar10")),
        "\n## Not done\n",
        _table(
            ("unit", "why"),
            [
                (name, one.status if not one.error else f"{one.status}: {_last(one.error)}")
                for name, one in units.items()
                if one.status is not Status.DONE
            ],
        ),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _last(error: str) -> str:
    return error.strip().splitlines()[-1][:300].replace("|", "\\|")


def _device(name: str) -> list[str]:
    import torch

    found = [f"torch {torch.__version__}, Python {platform.python_version()}"]
    if name.startswith("cuda") and torch.cuda.is_available():
        known = torch.cuda.get_device_properties(name)
        found.append(
            f"{known.name}, {known.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        )
    said = machine.describe()
    return [*found, f"{said['processor']}, {said['cores']} cores, {said['memory']}"]


def _compared(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    rows = []
    for row in result["rows"]:
        for name, value in row.items():
            if name not in {"stage", "kind", "poison_differs"}:
                shown = f"{value:.3g}" if isinstance(value, float) else str(value)
                rows.append((row["stage"], name.replace("_", " "), shown))
    return _table(("stage", "measure", "value"), rows)


def _speed(done: dict[str, dict[str, Any]]) -> str:
    limit = done.get("limit", {}).get("best")
    rows = []
    for name, one in done.items():
        if name.partition(" ")[0] not in {"pairs", *PEERS}:
            continue
        given = one["pairs_per_s"]
        share = one["tflop_per_s"] / limit if limit and "tflop_per_s" in one else None
        memory, waits = one.get("memory_gib"), one.get("host_waits_per_step")
        called = name.removeprefix("pairs ")
        by_name = given if isinstance(given, dict) else {"": given}
        rows += [
            (
                f"{called}, {flags}" if flags else called,
                str(one["batch"]),
                _spread(rates),
                str(len(rates)),
                "–" if share is None else f"{share:.0%}",
                "–" if waits is None else f"{waits:g}",
                "–" if memory is None else f"{memory:.2f}",
            )
            for flags, rates in by_name.items()
        ]
    head = (
        "training",
        "batch",
        "pairs/s, median [range]",
        "n",
        "of the limit",
        "host waits a step",
    )
    text = _table((*head, "GiB"), rows)
    if limit:
        text += (
            "\nThe limit: convolutions of 3 × 3 alone, forwards and back, at the best of some "
            f"shapes: {limit:.3g} TFLOP/s ({done['limit']['dtype']}).\n"
        )
    return text


def _spread(rates: list[float]) -> str:
    return f"{median(rates):,.0f} [{min(rates):,.0f}, {max(rates):,.0f}]"


def _variants(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    rows = []
    for name, rates in result["pairs_per_s"].items():
        rows.append((name, _spread(rates) if isinstance(rates, list) else rates))
    text = _table(("step of SimCLR on fixed views", "pairs/s, median [range]"), rows)
    return f"{text}\nThe fastest: {result['fastest']}. Compiler: {result['compiler']}.\n"


def _probe(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    count, width = result["features"]
    return (
        f"The linear probe on {count:,} features of {width} numbers: {result['fit_s']:.1f} s, on "
        f"the processor with {result['threads']} threads.\n"
    )


def _cifar10(result: dict[str, Any] | None) -> str:
    if result is None:
        return "Not done.\n"
    claims = "\n".join(f"- {one['text']}: {one['verdict']}" for one in result["claims"])
    return f"{result['hours']:.2f} hours of stages.\n\n{result['table']}\n\n{claims}\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return "None.\n"
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
