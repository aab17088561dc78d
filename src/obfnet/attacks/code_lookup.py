"""A dictionary from codes to raw samples, against protections that have only finitely many outputs.

A backend that keeps its requests can count: every sample that led to the same output is a candidate, and the
best answer is some middle of them. This is close to the best that anybody can do against such a protection.
"""

import hashlib
import math
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.held_out import class_index, class_means, likeness, own_parts
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches, taken

_KNOWN: Final = 60_000
_FEWEST: Final = 5_000
_COMPONENTS: Final = 32
# Members of a code that its mean is taken of: more would not change it.
_MEMBERS: Final = 1_000
# How many samples the class mean counts for in the mean of a code that was seen seldom.
_PRIOR: Final = 4.0
# Above this share of different outputs there is no code to speak of.
_DISTINCT: Final = 0.5
_AT_ONCE: Final = 128
_ANSWERS: Final = ("mean of the label", "mean", "medoid", "most likely", "class mean")
# Variance of every direction in which a class was seen not to vary, beside the mean variance.
_STEADY: Final = 0.05

Indices = npt.NDArray[np.int64]


@final
class CodeLookup(ReconstructionAttack):
    """Answers a code with the mean, the medoid or the most likely of the raw samples that led to it.

    Which of them is chosen by SSIM on the attacker's own held-out part, and so is whether a code's samples of
    the answered label alone are taken and drawn to the class mean. Codes are told apart by their exact value;
    a code that was never seen is answered as the nearest seen one, in principal components. Where nearly all
    received samples are distinct this is one nearest neighbour, and says so. Of very many samples an evenly
    spaced subset is known.

    The medoid is the sample nearest to the mean of its code; the most likely one has the highest density of
    its own class's Gaussian; both in 32 principal components of the raw samples.

    Source: the codebook's centroid of Linde, Buzo and Gray 1980, *An algorithm for vector quantizer design*
        (IEEE Transactions on Communications), as an attack.
    """

    name = "code-lookup"
    threat_level = "T2"
    citation = "Linde, Buzo and Gray 1980, An algorithm for vector quantizer design"
    assumes = "the same output comes back often: the protection has few outputs for the number of pairs known"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Groups the known samples by code and chooses how to answer."""
        some = evenly(len(knowledge.labels), max(_FEWEST, round(self.effort * _KNOWN)))
        raw, received = taken(knowledge.raw, some), taken(knowledge.received, some)
        known = _Known(raw, knowledge.labels[some], received)
        outputs, samples = len(np.unique(known.names)), len(known.names)
        if outputs > _DISTINCT * samples:
            progress.say(
                f"code-lookup: {outputs} different outputs of {samples} samples; "
                "this is hardly more than one nearest neighbour"
            )
        kept, held = own_parts(known.labels, values=math.prod(raw.shape[1:]), seed=seed)
        answer = _ANSWERS[0]
        if len(held):
            learned = _Book(known, kept)
            truth, codes = as_unit(raw[held]), learned.codes(received[held])
            progress.start("choose how to answer a code", len(_ANSWERS))
            scores = []
            for number, kind in enumerate(_ANSWERS):
                guess = learned.answers(kind, codes, known.labels[held])
                scores.append(float(likeness(truth, guess).mean()))
                progress.advance(number + 1)
            answer = _ANSWERS[int(np.argmax(scores))]
            progress.finish(answer)
        book = _Book(known, np.arange(samples))
        return lambda samples, answered: book.answers(answer, book.codes(samples), answered)


@final
class _Known:
    """What a book is made of: the known samples, by name and as points in both spaces."""

    def __init__(self, raw: AnyRows, labels: Labels, received: AnyRows) -> None:
        self.raw, self.labels = raw, labels
        self.names = np.concatenate([_names(some) for some in batches(received)])
        self.space = principal_components(received, _COMPONENTS)
        self.places = self.space.project_all(received)
        self.raw_places = principal_components(raw, _COMPONENTS).project_all(raw).astype(np.float64)


@final
class _Book:
    """Codes, numbered in the order of their names, and what may be answered to each.

    Args:
        known: The known samples.
        own: Indices of those that this book is made of.
    """

    def __init__(self, known: _Known, own: Indices) -> None:
        self.raw, self.labels, self.space = known.raw, known.labels, known.space
        self.names, first, code = np.unique(known.names[own], return_index=True, return_inverse=True)
        self.places = known.places[own[first]]
        sizes = np.bincount(code)
        self.members = np.split(own[np.argsort(code, kind="stable")], np.cumsum(sizes)[:-1])
        self.classes, self.means = class_means(taken(known.raw, own), known.labels[own])
        points, labels = known.raw_places[own], known.labels[own]
        centres = np.zeros((len(sizes), points.shape[1]))
        np.add.at(centres, code, points)
        distances = ((points - (centres / sizes[:, None])[code]) ** 2).sum(axis=1)
        self.picked = {
            "medoid": own[_least(distances, code)],
            "most likely": own[_least(_unlikeliness(points, labels), code)],
        }

    def codes(self, received: Samples) -> Indices:
        """Number of each sample's code, or of the nearest one that is in the book: `(M,)`."""
        names = _names(received)
        found = np.searchsorted(self.names, names).clip(max=len(self.names) - 1)
        unseen = np.flatnonzero(self.names[found] != names)
        for start in range(0, len(unseen), _AT_ONCE):
            rows = unseen[start : start + _AT_ONCE]
            asked = self.space.project(received[rows])
            squares = (self.places**2).sum(axis=1) - 2 * asked @ self.places.T
            found[rows] = squares.argmin(axis=1)
        return found.astype(np.int64)

    def answers(self, kind: str, codes: Indices, answered: Labels) -> Samples:
        """Guesses of one kind at the samples behind some codes, `(M, *raw_shape)` float32."""
        if kind == "class mean":
            return self.means[class_index(self.classes, answered)]
        if kind in self.picked:
            return as_unit(self.raw[self.picked[kind][codes]])
        by_label = kind == "mean of the label"
        guesses = np.empty((len(codes), *self.raw.shape[1:]), np.float32)
        asked = np.stack([codes, answered if by_label else np.zeros_like(codes)], axis=1)
        for (code, label), row in zip(*_groups(asked), strict=True):
            members = self.members[code]
            if by_label:
                prior = self.means[class_index(self.classes, np.array([label]))[0]]
                members = members[self.labels[members] == label]
                total, count = _PRIOR * prior, _PRIOR
            else:
                total, count = np.zeros(self.raw.shape[1:], np.float32), 0.0
            some = members[evenly(len(members), _MEMBERS)] if len(members) else members
            for part in np.array_split(some, len(some) // _AT_ONCE + 1):
                total = total + as_unit(self.raw[part]).sum(axis=0)
            guesses[row] = total / (count + len(some))
        return guesses


def _groups(asked: Indices) -> tuple[Indices, list[Indices]]:
    """The different rows, and where each of them is."""
    different, group = np.unique(asked, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    return different, np.split(order, np.cumsum(np.bincount(group))[:-1])


def _names(received: Samples) -> npt.NDArray[np.uint64]:
    """A number for the exact value of each sample; zero has no sign."""
    digests = [
        hashlib.blake2b(sample.tobytes(), digest_size=8).digest() for sample in flat(received) + np.float32(0)
    ]
    return np.frombuffer(b"".join(digests), np.uint64)


def _least(values: npt.NDArray[np.float64], code: Indices) -> Indices:
    """For each code, which sample has the least value."""
    order = np.lexsort((values, code))
    return order[np.flatnonzero(np.diff(code[order], prepend=-1))]


def _unlikeliness(points: npt.NDArray[np.float64], labels: Labels) -> npt.NDArray[np.float64]:
    """Minus the log density of each point under the Gaussian of its own class, up to a constant."""
    out = np.zeros(len(points))
    if points.shape[1] == 0:
        return out
    floor = _STEADY * float(points.var(axis=0).mean()) * np.eye(points.shape[1])
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        centred = points[rows] - points[rows].mean(axis=0)
        covariance = centred.T @ centred / len(rows) + floor
        solved = np.linalg.solve(covariance, centred.T).T
        out[rows] = 0.5 * ((centred * solved).sum(axis=1) + np.linalg.slogdet(covariance)[1])
    return out
