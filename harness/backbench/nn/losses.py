"""Losses, as pure functions; all are computed in float32, also under autocast."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the loss of separating each query's own key from all negatives.

    Args:
        queries: Unit vectors, (B, D).
        keys: Unit vectors, (B, D), the positive of each query.
        negatives: Unit vectors, (K, D), shared by all queries.
        temperature: Divides the similarities.

    Returns:
        Mean over the batch, a scalar.

    Source: He et al. 2020, Momentum contrast, eq. 1; van den Oord et al. 2018.
    """
    with torch.autocast(queries.device.type, enabled=False):
        positive = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, queries @ negatives.T], dim=1) / temperature
        target = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
        return F.cross_entropy(logits, target)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the loss of telling each view's partner from all other views of a batch.

    Args:
        first: Unit vectors of the first views, (B, D).
        second: Unit vectors of the second views of the same images, (B, D).
        temperature: Divides the similarities.

    Returns:
        Mean over the 2 B views, a scalar.

    Source: Chen et al. 2020, A simple framework for contrastive learning, eq. 1 and algorithm 1.
    Differs: nothing.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = torch.cat([first, second])
        logits = views @ views.T / temperature
        logits.fill_diagonal_(-math.inf)
        partner = torch.arange(len(views), device=views.device).roll(len(first))
        return F.cross_entropy(logits, partner)


def align_loss(queries: Tensor, keys: Tensor, alpha: float = 2.0) -> Tensor:
    """Return how far apart the two views of an image are.

    Args:
        queries: Unit vectors, (B, D).
        keys: Unit vectors, (B, D), the positive of each query.
        alpha: Power of the distance, at least 1.

    Returns:
        Mean over the batch, a scalar, in [0, 2 ** alpha].

    Source: Wang and Isola 2020, Understanding contrastive representation learning through
        alignment and uniformity on the hypersphere, section 4; published code moco/.
    """
    with torch.autocast(queries.device.type, enabled=False):
        if alpha == 2:
            return 2 - 2 * (queries * keys).sum(1).mean()
        distances: Tensor = torch.linalg.vector_norm(queries - keys, dim=1)
        return distances.pow(alpha).mean()


def uniform_loss(
    queries: Tensor, negatives: Tensor, t: float = 3.0, *, intra_batch: bool = True
) -> Tensor:
    """Return how unevenly vectors lie on the sphere.

    Args:
        queries: Unit vectors, (B, D).
        negatives: Unit vectors, (K, D).
        t: Sharpness of the Gaussian potential exp(-t d²).
        intra_batch: Let pairs of queries count as well as pairs of a query and a negative.

    Returns:
        Logarithm of the mean potential of all pairs, a scalar, in [-4 t, 0].

    Source: Wang and Isola 2020, section 4; published code moco/.
    """
    with torch.autocast(queries.device.type, enabled=False):
        squared = (2 - 2 * queries @ negatives.T).flatten()
        if intra_batch:
            squared = torch.cat([squared, F.pdist(queries).square()])
        return torch.logsumexp(-t * squared, dim=0) - math.log(len(squared))


def cosine_regression(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return 2 − 2 cos, in [0, 4], mean over a batch of predictions (B, D) and targets (B, D).

    Source: Grill et al. 2020, Bootstrap your own latent, eq. 2.
    """
    predictions = F.normalize(predictions.float(), dim=1)
    targets = F.normalize(targets.float(), dim=1)
    return 2 - 2 * (predictions * targets).sum(1).mean()


def similarity_distillation(
    student: Tensor,
    teacher: Tensor,
    student_anchors: Tensor,
    teacher_anchors: Tensor,
    temperature: float,
) -> Tensor:
    """Return how far the student's similarities to K anchors are from the teacher's.

    Args:
        student: Unit vectors, (B, D).
        teacher: Unit vectors, (B, E).
        student_anchors: Unit vectors of the anchor images, (K, D).
        teacher_anchors: The same images seen by the teacher, (K, E).
        temperature: Divides the similarities.

    Returns:
        KL(teacher ‖ student) of the softmax over the anchors, mean over the batch, a scalar.

    Source: Abbasi Koohpayegani, Tejankar and Pirsiavash 2020, CompRess, eqs. 1 and 2; code
        github.com/UMBCvision/CompRess, nn/compress_loss.py.
    """
    with torch.autocast(student.device.type, enabled=False):
        log_student = F.log_softmax(student @ student_anchors.T / temperature, dim=1)
        log_teacher = F.log_softmax(teacher @ teacher_anchors.T / temperature, dim=1)
        return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
