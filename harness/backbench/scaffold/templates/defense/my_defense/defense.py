"""The defense. A stage imports this module when it needs it."""

from __future__ import annotations

import copy

import torch
from backbench.plugin import Defense, DefenseContext, Encoder

from my_defense import MyDefenseOptions


class MyDefense(Defense):
    """Sets the smallest weights of each convolution to zero."""

    options: MyDefenseOptions

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Return a pruned copy of the encoder.

        ``context.clean(0.1).images`` are clean images, if the defense needs some.
        """
        repaired = copy.deepcopy(encoder)
        convolutions = [weight for weight in repaired.parameters() if weight.ndim == 4]
        with torch.no_grad():
            for done, weight in enumerate(convolutions, start=1):
                sizes = weight.abs().flatten()
                rank = max(1, int(self.options.share * len(sizes)))
                weight.mul_(weight.abs() > sizes.kthvalue(rank).values)
                context.progress(done, len(convolutions), {})
        return repaired
