"""Adversarial examples that are made on one network and tried on another.

A leaked or imitated inference network makes them easier; how often they fool I is what a substitute is
worth to an attacker. Noise of the same size stands beside them as the control.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from obfnet.attacks.knowledge import Labels, Samples
from obfnet.core.errors import AttackError
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows
from obfnet.nets.mode import evaluating

STEPS: Final = 20
_GREY: Final = 0.3
_COLOUR: Final = 8 / 255
_AT_ONCE: Final = 250

Ask = Callable[[Samples], npt.NDArray[Any]]
"""The backend: `(N, *shape)` float32 in [0, 1] to `(N, K)` scores."""


def usual_eps(shape: tuple[int, ...]) -> float:
    """The largest change of a value that is usual for samples of a shape.

    Args:
        shape: Of one sample; three channels are taken for a photograph.

    Returns:
        8/255 for photographs, else 0.3, as Madry et al. 2018 on digits.

    Example:
        >>> usual_eps((1, 28, 28)), round(usual_eps((3, 32, 32)), 4)
        (0.3, 0.0314)
    """
    return _COLOUR if len(shape) == 3 and shape[0] == 3 else _GREY


def pgd(
    network: nn.Module, samples: AnyRows, labels: Labels, *, eps: float, seed: int, steps: int = STEPS
) -> Samples:
    """Samples changed by at most `eps` so that the network's loss on the true label is large.

    Args:
        network: Differentiable, `(N, *shape)` float32 in [0, 1] to `(N, K)` logits; its modes and gradients
            are left as they were.
        samples: `(N, *shape)` float32 in [0, 1] or uint8, or lazy rows.
        labels: True labels, `(N,)` int64.
        eps: Largest change of a value, in (0, 1].
        seed: Of the random start.
        steps: Steps of eps / 4 each, ≥ 1.

    Returns:
        `(N, *shape)` float32 in [0, 1].

    Raises:
        AttackError: `eps` or `steps` out of range.

    Source: Madry et al. 2018, *Towards Deep Learning Models Resistant to Adversarial Attacks* (projected
        gradient descent in the maximum norm from a random start).

    Does not guarantee: that a stronger attack (more steps, other losses, restarts) would not fool more.
    """
    if steps < 1:
        raise AttackError("at least 1 step", str(steps), "raise it")
    changed = _start(samples, eps=eps, seed=seed)
    with evaluating(network):
        for start in range(0, len(changed), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            raw = torch.from_numpy(as_unit(samples[part]))
            wanted = torch.from_numpy(labels[part].copy())
            low, high = (raw - eps).clamp_min(0), (raw + eps).clamp_max(1)
            now = torch.from_numpy(changed[part])
            for _ in range(steps):
                now.requires_grad_()
                # The sum: each sample's gradient is its own, whatever the batch.
                loss = functional.cross_entropy(network(now), wanted, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, now)
                now = (now.detach() + eps / 4 * gradient.sign()).clamp(low, high)
            changed[part] = now.numpy()
    return changed


def _start(samples: AnyRows, *, eps: float, seed: int) -> Samples:
    _check(eps)
    noise = np.random.default_rng(seed).uniform(-eps, eps, samples.shape).astype(np.float32)
    return _within_range(as_unit(samples[:]) + noise)


def random_noise(samples: AnyRows, *, eps: float, seed: int) -> Samples:
    """The control: each value moved by the whole of eps, up or down by chance, and cut to [0, 1].

    As large in every value as an adversarial change may be.

    Args:
        samples: `(N, *shape)` float32 in [0, 1] or uint8, or lazy rows.
        eps: Change of a value, in (0, 1].
        seed: Of the directions.

    Returns:
        `(N, *shape)` float32 in [0, 1].

    Raises:
        AttackError: `eps` is out of range.
    """
    _check(eps)
    up = np.random.default_rng(seed).integers(0, 2, samples.shape).astype(np.float32)
    return _within_range(as_unit(samples[:]) + np.float32(eps) * (2 * up - 1))


def fooled(ask: Ask, changed: Samples, labels: Labels) -> npt.NDArray[np.bool_]:
    """Which changed samples the backend answers with another label than the true one: `(N,)`.

    Args:
        ask: The backend.
        changed: `(N, *shape)` float32 in [0, 1], of samples that it answered right before.
        labels: True labels, `(N,)` int64.
    """
    parts = [
        np.asarray(ask(changed[start : start + _AT_ONCE])).argmax(1)
        for start in range(0, len(changed), _AT_ONCE)
    ]
    answers = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return np.asarray(answers != labels, bool)


def _check(eps: float) -> None:
    if not 0 < eps <= 1:
        raise AttackError("eps in (0, 1]", str(eps), "use another size")


def _within_range(samples: Samples) -> Samples:
    return np.clip(samples, np.float32(0), np.float32(1))
