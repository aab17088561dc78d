"""The backend as the model side meets it: it answers the attacker, and judges what the attacker made.

The two never share a sample. What is asked of it goes through one function, which may be a network at hand or
a real server.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from obfnet.attacks import Obfuscator
from obfnet.attacks.substitute import RAW, Answers, scores_of, seen_by_backend
from obfnet.attacks.transfer import Ask, fooled, pgd, random_noise, usual_eps
from obfnet.core.errors import AttackError
from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import AnyRows
from obfnet.data.table import Split

_ATTACKED: Final = 500
_AT_ONCE: Final = 250


@final
class Judge:
    """Scores substitutes; what it knows of the backend, no substitute is trained on.

    Args:
        scored: Samples and true labels; all are held in memory.
        pool: The networks whose outputs agreement is scored on too, in turn; empty for none.
        ask: The backend.
        eps: Largest change of a value in adversarial examples; None takes what is usual for the shape.
        seed: Of adversarial examples and noise.

    Raises:
        AttackError: no scores, nothing answered right, or obfuscated samples of another shape.
    """

    def __init__(
        self, scored: Split, pool: tuple[Obfuscator, ...], ask: Ask, *, eps: float | None, seed: int
    ) -> None:
        self._ask, self._seed = ask, seed
        self.eps = usual_eps(scored.samples.shape[1:]) if eps is None else eps
        everything = np.arange(len(scored.labels))
        self._samples = {"agreement": as_unit(scored.samples[:])}
        if pool:
            through = everything % len(pool)
            self._samples["agreement_obfuscated"] = seen_by_backend(scored.samples, everything, through, pool)
        answered = {name: _asked(ask, samples) for name, samples in self._samples.items()}
        self.classes = answered["agreement"].shape[1]
        self._answers = {name: scores.argmax(1) for name, scores in answered.items()}
        right = np.flatnonzero(self._answers["agreement"] == scored.labels)
        if not len(right):
            raise AttackError(
                "a backend that answers some scored samples right", "none", "compare the order of the labels"
            )
        # Noise of the same size on the same samples: what is fooled without any knowledge.
        right = right[np.unique(np.linspace(0, len(right) - 1, _ATTACKED).astype(np.int64))]
        self._attacked, self._labels = self._samples["agreement"][right], scored.labels[right]
        noisy = random_noise(self._attacked, eps=self.eps, seed=seed)
        self.noise = float(fooled(ask, noisy, self._labels).mean())

    def outcomes(self, substitute: nn.Module) -> dict[str, npt.NDArray[np.bool_]]:
        """Sample by sample: `agreement`, `agreement_obfuscated` where there is a pool, and `transfer`.

        Args:
            substitute: As `train_substitute` gives it.
        """
        found = {
            name: scores_of(substitute, samples).argmax(1) == self._answers[name]
            for name, samples in self._samples.items()
        }
        changed = pgd(substitute, self._attacked, self._labels, eps=self.eps, seed=self._seed)
        return {**found, "transfer": fooled(self._ask, changed, self._labels)}


@final
class Answering:
    """The answers that the attacker gets: asked once, the first q of them for q queries.

    Args:
        public: The attacker's samples; those that are asked about are drawn from them.
        pool: The networks of the bundles it holds.
        ask: The backend.
        classes: Number of labels.
        most: Most queries.
        seed: Of the draw.

    Raises:
        AttackError: no scores.
    """

    def __init__(
        self, public: Split, pool: tuple[Obfuscator, ...], ask: Ask, *, classes: int, most: int, seed: int
    ) -> None:
        self._order = np.random.default_rng(seed).permutation(len(public.labels))[:most]
        plain = np.full(len(self._order), RAW)
        self._through = {False: plain}
        if pool:
            mixed = plain.copy()
            mixed[1::2] = np.arange(len(mixed) // 2) % len(pool)
            self._through[True] = mixed
        self._shares = {
            bundles: _asked_shares(public.samples, self._order, through, pool, ask, classes)
            for bundles, through in self._through.items()
        }

    def answers(self, queries: int, *, labels_only: bool, bundles: bool) -> Answers | None:
        """The answers to the first questions; None for none.

        Args:
            queries: How many.
            labels_only: Whether the backend gives labels instead of scores.
            bundles: Whether every other question is an obfuscated sample.
        """
        if queries == 0:
            return None
        shares = self._shares[bundles][:queries]
        if labels_only:
            shares = np.eye(shares.shape[1], dtype=np.float32)[shares.argmax(1)]
        through = self._through[bundles][:queries]
        return Answers(rows=self._order[:queries], through=through, shares=shares)


def _asked(ask: Ask, samples: Samples) -> npt.NDArray[np.float64]:
    parts = [
        np.asarray(ask(samples[start : start + _AT_ONCE]), np.float64)
        for start in range(0, len(samples), _AT_ONCE)
    ]
    if any(part.ndim != 2 or part.shape[1] < 2 or not np.isfinite(part).all() for part in parts):
        raise AttackError(
            "finite scores of shape (N, K) from the backend",
            "others",
            "hand its labels over as rows of one 1",
        )
    return np.concatenate(parts)


def _asked_shares(
    raw: AnyRows,
    rows: npt.NDArray[np.int64],
    through: npt.NDArray[np.int64],
    pool: tuple[Obfuscator, ...],
    ask: Ask,
    classes: int,
) -> npt.NDArray[np.float32]:
    shares = [np.empty((0, classes), np.float32)]
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores = _asked(ask, seen_by_backend(raw, rows[part], through[part], pool))
        # A server may give logits or shares.
        is_shares = bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))
        given = scores if is_shares else torch.from_numpy(scores).softmax(1).numpy()
        shares.append(given.astype(np.float32))
    return np.concatenate(shares)
