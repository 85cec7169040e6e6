"""How fast a device trains: pairs a second, share of the limit, waits of the host, memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbench.nn import Encoder
from backbench.plugin.registry import load_registry
from backbench.training.device import resolve_precision
from benchmarks.gpu.context import Context
from benchmarks.gpu.ready import RESNET_18, TINY_RESNET, Ready, smooth_images, synchronize

#: Timed sections of a measurement.
SECTIONS: Final = 5

#: The measured networks: side of the images, options of the backbone, batch, steps of a section.
CASES: Final[Mapping[str, tuple[int, Mapping[str, Any], int, int]]] = {
    "rn18-32": (32, {**RESNET_18, "stem": "cifar"}, 512, 40),
    "rn18-224": (224, {**RESNET_18, "stem": "imagenet"}, 256, 20),
}
TINY: Final[tuple[int, Mapping[str, Any], int, int]] = (32, TINY_RESNET, 32, 2)

METHODS: Final = ("moco-v2", "byol", "simclr")

#: Channels and side of maps as ResNets have them.
_SHAPES: Final = ((64, 56), (64, 32), (128, 28), (128, 16), (256, 14), (256, 8), (512, 7))

#: The features of ImageNet-100's training images, of a ResNet-18.
FEATURES: Final = (126_689, 512, 100)


def ready(context: Context, method: str, case: str, **more: Any) -> tuple[Ready, int]:
    """Return a method that has trained for three steps, and the steps of a section."""
    side, backbone, batch, steps = TINY if context.tiny else CASES[case]
    images = smooth_images(side, 2 * batch if context.tiny else (8192 if side == 32 else 2048))
    given = {"backbone": backbone, "batch_size": batch, **more}
    if method == "moco-v2":
        given["queue"] = 16 * batch
    made = Ready(method, given, images, context.device)
    made.steps(3)
    return made, steps


def pairs(context: Context, method: str, case: str) -> dict[str, Any]:
    """Measure the training of a method, as the training loop does it."""
    if context.is_gpu:
        torch.cuda.reset_peak_memory_stats(context.device)
    made, steps = ready(context, method, case)
    size = made.options.batch_size
    rates = [size * steps / seconds for seconds in _timed(lambda: made.steps(steps), made.device)]
    with FlopCounterMode(display=False) as counter:
        made.steps(1)
    operations = counter.get_total_flops() / size
    return {
        "pairs_per_s": rates,
        "batch": size,
        "precision": resolve_precision(made.options.precision, made.device),
        "gflop_per_pair": operations / 1e9,
        "tflop_per_s": operations * median(rates) / 1e12,
        "host_waits_per_step": _host_waits(made) if context.is_gpu else None,
        "memory_gib": (
            torch.cuda.max_memory_allocated(context.device) / 2**30 if context.is_gpu else None
        ),
    }


def _timed(section: Callable[[], object], device: torch.device, times: int = 1) -> list[float]:
    """Return the seconds of each timed section, which does something so many times."""
    found = []
    for _ in range(SECTIONS):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(times):
            section()
        synchronize(device)
        found.append(time.perf_counter() - start)
    return found


def _host_waits(made: Ready) -> float:
    """Return how often the host waits for the device in a step, by torch's own count.

    A section reads its loss once, which is left out.
    """
    count = 4
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            made.steps(count)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchroniz" in str(one.message) for one in seen)
    return max(0, waits - 1) / count


def limit(context: Context) -> dict[str, Any]:
    """Measure the limit: convolutions alone, forwards and back, at the best of some shapes."""
    device = torch.device(context.device)
    dtype = torch.bfloat16 if context.is_gpu else torch.float32
    found = {}
    for channels, side in _SHAPES[-1:] if context.tiny else _SHAPES:
        batch = 2 if context.tiny else max(64, 2**22 // (channels * side * side) * 8)
        layer = nn.Conv2d(channels, channels, 3, 1, 1, bias=False).to(device, dtype)
        layer = layer.to(memory_format=torch.channels_last)
        maps = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        gradient = torch.randn_like(maps)

        def step(layer: nn.Conv2d = layer, maps: Tensor = maps, back: Tensor = gradient) -> None:
            torch.autograd.grad(layer(maps), [maps, layer.weight], back)

        count = 2 if context.tiny else 30
        step()
        seconds = _timed(step, device, count)
        operations = 3 * 2 * maps.numel() * channels * 9 * count
        found[f"{channels} x {side} x {side}"] = operations / median(seconds) / 1e12
    return {"tflop_per_s": found, "best": max(found.values()), "dtype": str(dtype)}


def step_variants(context: Context) -> dict[str, Any]:
    """Measure steps of SimCLR on fixed views: as written, compiled, and as a CUDA graph."""
    found: dict[str, Any] = {}
    compiler = "eager" if context.tiny else "inductor"  # which takes minutes on a processor
    for name in ("eager", "compiled", "graph"):
        if name == "graph" and not context.is_gpu:
            found[name] = "not measured: CUDA graphs need a GPU"
            continue
        made, steps = ready(context, "simclr", "rn18-32")
        views = made.views()
        if name == "compiled":
            for one in made.task.modules():
                if isinstance(one, Encoder):
                    one.compile(backend=compiler)
        step = _step(made, views)
        for _ in range(3):
            step()
        run = _captured(step, made) if name == "graph" else step
        seconds = _timed(run, made.device, steps)
        found[name] = [made.options.batch_size * steps / one for one in seconds]
    rates = {name: median(one) for name, one in found.items() if isinstance(one, list)}
    fastest = max(rates, key=lambda name: rates[name])
    return {"pairs_per_s": found, "fastest": fastest, "compiler": compiler}


def _step(made: Ready, views: Any) -> Callable[[], None]:
    precision = resolve_precision(made.options.precision, made.device)
    low = torch.float16 if precision == "fp16" else torch.bfloat16
    optimizer = made.trained.optimizer

    def step() -> None:
        with torch.autocast(
            made.device.type, low, enabled=precision != "fp32", cache_enabled=False
        ):
            loss = made.task.training_loss(views)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _captured(step: Callable[[], None], made: Ready) -> Callable[[], None]:
    """Record a step as a CUDA graph; return what replays it."""
    aside = torch.cuda.Stream(made.device)
    aside.wait_stream(torch.cuda.current_stream(made.device))
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream(made.device).wait_stream(aside)
    made.trained.optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def linear_probe(context: Context) -> dict[str, Any]:
    """Measure the linear probe on the features of ImageNet-100, on the processor as it is."""
    count, width, classes = (2_000, 32, 10) if context.tiny else FEATURES
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    centers = rng.standard_normal((classes, width), dtype=np.float32)
    noise = rng.standard_normal((count, width), dtype=np.float32)
    features = np.maximum(centers[labels] + 2 * noise, 0)
    registered = load_registry().find("evaluator", "linear")
    options = registered.info.options.model_validate({"label_fraction": 1.0})
    evaluator = registered.implementation()(options, 0)
    evaluator.sources = [str(index) for index in range(count)]
    start = time.perf_counter()
    evaluator.fit(features, labels, classes)
    fitted = time.perf_counter() - start
    accuracy = float((evaluator.predict(features).argmax(axis=1) == labels).mean())
    return {
        "features": [count, width],
        "fit_s": fitted,
        "all_s": time.perf_counter() - start,
        "accuracy": accuracy,
        "threads": torch.get_num_threads(),
    }
