"""Optimizers: those of torch, and LARS."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from backbench.errors import StageError
from backbench.nn.method import TrainingTask
from backbench.options.optimizer import OptimizerOptions


def build_optimizer(task: TrainingTask, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Return the optimizer of a task's parameter groups, with one kernel for all tensors.

    Raises:
        StageError: If a group states a learning rate, which the schedule would replace.
    """
    groups = list(task.param_groups())
    if any("lr" in group for group in groups):
        raise StageError(
            f"{type(task).__name__}.param_groups() states lr: the option optimizer.lr and its "
            "schedule hold for all groups"
        )
    match options.name:
        case "adam":
            return Adam(groups, lr=options.lr, betas=options.betas, fused=True)
        case "adamw":
            return AdamW(groups, lr=options.lr, betas=options.betas, fused=True)
        case "lars":
            return LARS(groups, options)
        case "sgd":
            return SGD(
                groups,
                lr=options.lr,
                momentum=options.momentum,
                nesterov=options.nesterov,
                fused=True,
            )


def _eager(method: Callable[..., Any]) -> Any:
    """Return a method of an optimizer of torch's without what torch.compile needs around it."""
    return torch.no_grad()(inspect.unwrap(method))


class EagerOptimizer(torch.optim.Optimizer):
    """An optimizer that is never compiled.

    Torch's own import its compiler at the first call: that is half of a worker's time to begin.
    """

    add_param_group = _eager(torch.optim.Optimizer.add_param_group)
    load_state_dict = _eager(torch.optim.Optimizer.load_state_dict)
    state_dict = _eager(torch.optim.Optimizer.state_dict)
    zero_grad = _eager(torch.optim.Optimizer.zero_grad)


class Adam(EagerOptimizer, torch.optim.Adam):
    """Adam; the same numbers as torch's."""

    step = _eager(torch.optim.Adam.step)


class AdamW(EagerOptimizer, torch.optim.AdamW):
    """AdamW; the same numbers as torch's."""

    step = _eager(torch.optim.AdamW.step)


class SGD(EagerOptimizer, torch.optim.SGD):
    """SGD with momentum; the same numbers as torch's."""

    step = _eager(torch.optim.SGD.step)


class LARS(EagerOptimizer):
    """SGD with momentum whose learning rate adapts to each layer.

    With the gradient g of a layer's weights w, their decay included, the velocity v becomes
    momentum × v + lr × trust × ‖w‖ / ‖g‖ × g, and is subtracted from w. Biases and the parameters
    of norms (one dimension or none) take the plain step lr × g, and so does a layer whose weights
    or gradient are all zero.

    Args:
        groups: Parameter groups, each with its ``weight_decay``.
        options: ``lr``, ``momentum`` and ``trust``.

    Source: You, Gitman and Ginsburg 2017, Large batch training of convolutional networks, section
        5; which parameters are excluded: Chen et al. 2020 (SimCLR) and Grill et al. 2020 (BYOL),
        appendix C.
    Differs: ‖g‖ is the length of gradient plus decay, as in SimCLR, where the paper adds the two
        lengths. Whether biases and norms are decayed is the option ``decay``; the two papers
        decay the weights alone (``"weights"``).
    """

    def __init__(self, groups: Iterable[dict[str, Any]], options: OptimizerOptions) -> None:
        defaults = {"lr": options.lr, "momentum": options.momentum, "weight_decay": 0.0}
        super().__init__(groups, defaults | {"trust": options.trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the weights once, without a host synchronization.

        Args:
            closure: Computes the loss again, with gradients.

        Returns:
            The closure's loss.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None  # noqa: S101 - the caller has looked
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        rate: float | Tensor = group["lr"]
        if parameter.ndim > 1:
            rate = rate * _adaptation(parameter, gradient, group["trust"])
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        state["velocity"].mul_(group["momentum"]).add_(gradient * rate)
        parameter.sub_(state["velocity"])


def _adaptation(weights: Tensor, gradient: Tensor, trust: float) -> Tensor:
    """Return trust × ‖w‖ / ‖g‖, a scalar; 1 where either is zero."""
    length, slope = weights.norm(), gradient.norm()
    usable = (length > 0) & (slope > 0)
    return torch.where(usable, trust * length / slope, torch.ones_like(length))
