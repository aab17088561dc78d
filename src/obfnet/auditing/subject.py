"""What is audited: the attacker's samples, the samples it is scored on, and what it may know besides.

However an obfuscator comes (recorded pairs, sessions of a pool), attacks meet the same object. No sample, by
value, is on both sides.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import Obfuscator
from obfnet.auditing.duplicates import names_of_rows
from obfnet.auditing.pairing import evenly_spaced
from obfnet.auditing.pairs import RecordedPairs
from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import canonical_json
from obfnet.core.spec import Samples, as_unit
from obfnet.data.case import Dataset
from obfnet.data.rows import AnyRows, Indices, batches, mapped, taken
from obfnet.data.splits import hold_out
from obfnet.guarantees.statement import NO_GUARANTEE, Guarantee

Labels = npt.NDArray[np.int64]

# Of recorded pairs, at most this share is scored on.
_SCORED_SHARE: Final = 0.25
_FEWEST_KNOWN: Final = 100
_SAMPLED: Final = 16
_TRIED_TWICE: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackerPart:
    """What the attacker has of its own.

    Args:
        raw: `(N, *raw_shape)` float32 in [0, 1], usually lazy.
        received: Their obfuscated form, `(N, *received_shape)` float32 in [0, 1].
        labels: Their labels, `(N,)` int64.
        attribute: `(N,)` int64; None where there is none.
    """

    raw: AnyRows
    received: AnyRows
    labels: Labels
    attribute: Labels | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Indices) -> "AttackerPart":
        """The samples of these indices; nothing is read yet."""
        return AttackerPart(
            raw=taken(self.raw, index),
            received=taken(self.received, index),
            labels=self.labels[index],
            attribute=None if self.attribute is None else self.attribute[index],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredPart:
    """What attacks are scored on.

    Args:
        raw: `(M, *raw_shape)` float32 in [0, 1]; no attack ever sees it.
        received: What the backend received, `(M, *received_shape)` float32 in [0, 1].
        answered: The labels that the backend answered, `(M,)` int64.
        attribute: `(M,)` int64; None where there is none.
    """

    raw: AnyRows
    received: AnyRows
    answered: Labels
    attribute: Labels | None = None

    def __len__(self) -> int:
        return len(self.answered)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AuditSubject:
    """What is audited.

    Args:
        name: What to call it in a report.
        kind: `pictures`, `sounds` or `vectors`.
        attacker: The attacker's own samples; none of them, by value, is among the scored ones.
        scored: The samples that attacks are scored on.
        classes: Names of the labels.
        attribute_name: What the attribute is; empty without one.
        attribute_values: Names of the attribute's values; empty without one.
        pool: Every network that a device may use; empty where only pairs are known.
        network: The one that the device uses; None where only pairs are known.
        repeats: The n-th sending of the scored samples, for an obfuscation that is random; None otherwise.
        guarantee: What a request promises.
        threat_level: The level of its headline unless the user asks for another.
        warnings: What a reader of the figures must know.
        duplicates_removed: Samples that the attacker lost since they are copies of scored ones.
        identity: Names what the obfuscator is (a hash of its bundle), where samples alone might not.
        reduced_to: Height and width that pictures were averaged down to; None where they were not.
        sent_kept: How much of the variance between the received pictures that left, in [0, 1]; None likewise.
        rate_hz: Of waveforms, samples a second; 0 where samples are none.
        heard_s: Of waveforms that were turned into features, how many seconds are heard, how many sent;
            None where there are none.
    """

    name: str
    kind: str
    attacker: AttackerPart
    scored: ScoredPart
    classes: tuple[str, ...]
    attribute_name: str = ""
    attribute_values: tuple[str, ...] = ()
    pool: tuple[Obfuscator, ...] = ()
    network: Obfuscator | None = None
    repeats: Callable[[int], Samples] | None = None
    guarantee: Guarantee = NO_GUARANTEE
    threat_level: str = "T2"
    warnings: tuple[str, ...] = ()
    duplicates_removed: int = 0
    identity: str = ""
    reduced_to: tuple[int, int] | None = None
    sent_kept: float | None = None
    rate_hz: int = 0
    heard_s: tuple[float, float] | None = None

    def limited(self, count: int) -> "AuditSubject":
        """The same with at most `count` of the attacker's samples, evenly spaced."""
        if count >= len(self.attacker):
            return self
        return replace(self, attacker=self.attacker.take(evenly_spaced(len(self.attacker), count)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the sizes, all labels and some samples of each part: the same subject, the same digest.

        What it is called does not count, so that an audit and a benchmark share what they have attacked.
        Received samples of an obfuscation that is random differ each time and are left out.
        """
        parts: list[AnyRows] = [self.attacker.raw, self.scored.raw]
        received = [self.attacker.received, self.scored.received]
        card = {
            "kind": self.kind,
            "classes": self.classes,
            "pool": len(self.pool),
            "network": self.network is not None,
            "repeats": self.repeats is not None,
            "identity": self.identity,
            "shapes": [list(rows.shape) for rows in (*parts, *received)],
        }
        digest = hashlib.sha256(canonical_json(card))
        for rows in parts if self.repeats else (*parts, *received):
            some = np.ascontiguousarray(rows[evenly_spaced(len(rows), _SAMPLED)])
            digest.update(some.tobytes())
        columns = (self.attacker.labels, self.scored.answered, self.attacker.attribute, self.scored.attribute)
        for column in columns:
            digest.update(b"none" if column is None else column.tobytes())
        return digest.hexdigest()


def subject_of_pairs(
    pairs: RecordedPairs, *, seed: int, scored: int, limit: int, name: str = "recorded pairs"
) -> AuditSubject:
    """Recorded pairs, cut into the attacker's and the scored ones, each label by its share.

    Args:
        pairs: As `read_pairs` gives them.
        seed: Of the cut.
        scored: Most pairs to score on; never more than a quarter.
        limit: Most pairs that the attacker has.
        name: What to call them.

    Returns:
        A subject of threat level T3, without networks; the recorded label counts as the answered one.

    Raises:
        DataError: hardly a pair is left to the attacker, since raw samples repeat.
    """
    count = max(1, min(scored, int(len(pairs.labels) * _SCORED_SHARE)))
    rest, held = hold_out(pairs.labels, count, seed=seed)
    known = rest[~np.isin(pairs.raw_names[rest], pairs.raw_names[held])]
    warnings = [*pairs.warnings, *_said(len(rest) - len(known))]
    if len(known) < _FEWEST_KNOWN:
        raise DataError(
            f"at least {_FEWEST_KNOWN} pairs whose raw sample is not scored on",
            f"{len(known)}, the others being copies",
            "record more different samples",
        )
    attribute = pairs.attribute
    whole = AttackerPart(raw=pairs.raw, received=pairs.obfuscated, labels=pairs.labels, attribute=attribute)
    return AuditSubject(
        name=name,
        kind="pictures" if pairs.raw.ndim == 4 else "vectors",
        attacker=whole.take(known[evenly_spaced(len(known), limit)]),
        scored=_scored_part(whole.take(held)),
        classes=pairs.classes,
        attribute_name="attribute" if pairs.attribute is not None else "",
        attribute_values=pairs.attribute_values,
        threat_level="T3",
        warnings=tuple(warnings),
        duplicates_removed=len(rest) - len(known),
    )


def subject_of_sessions(
    dataset: Dataset,
    obfuscators: tuple[Obfuscator, ...],
    *,
    index: int,
    answered: Labels | None,
    limit_pairs: int,
    limit_scored: int,
    guarantee: Guarantee = NO_GUARANTEE,
    name: str = "",
    identity: str = "",
    received: AnyRows | None = None,
    sent: Callable[[AnyRows], AnyRows] | None = None,
) -> AuditSubject:
    """A pool on a case's samples: the attacker has the training part, and is scored on the test part.

    Args:
        dataset: A loaded case.
        obfuscators: Every network of the pool.
        index: Which of them the device uses.
        answered: What the backend answered to the obfuscated test samples, `(len(test),)` int64; None takes
            the true labels, and says so.
        limit_pairs: Most samples that the attacker has, evenly spaced.
        limit_scored: Most samples to score on, evenly spaced.
        guarantee: What a request promises.
        name: What to call it; empty takes the case's name.
        identity: A hash of the device's network, for resuming.
        received: What the backend received of each test sample, `(len(test), *shape)` float32 in [0, 1]; None
            takes what the network makes of them.
        sent: What a device makes of samples that come to it one after the other, raw to obfuscated float32 in
            [0, 1], for the attacker's own; None takes what the network makes of each by itself.

    Returns:
        A subject of threat level T2 whose received samples are obfuscated when they are read. An obfuscation
        that answers the same samples differently twice has `repeats`, and its scored samples are sent once.

    Raises:
        UsageError: no such network, or not one answer for each test sample.
        DataError: nothing is left to the attacker.
    """
    if not 0 <= index < len(obfuscators):
        raise UsageError(f"a network of 0 ... {len(obfuscators) - 1}", str(index), "choose one of the pool")
    if answered is not None and len(answered) != len(dataset.test.labels):
        raise UsageError(
            f"{len(dataset.test.labels)} answers", str(len(answered)), "ask for every test sample"
        )
    network, warnings = obfuscators[index], list[str]()
    if answered is None:
        warnings.append("the backend was not asked: the true label counts as its answer")
        answered = np.asarray(dataset.test.labels)
    chosen = evenly_spaced(len(dataset.test.labels), limit_scored)
    test = dataset.test.take(chosen)
    train = dataset.train.take(evenly_spaced(len(dataset.train.labels), limit_pairs))
    raw_test = mapped(test.samples, as_unit)
    kept = np.flatnonzero(~np.isin(names_of_rows(train.samples), names_of_rows(test.samples)))
    removed = len(train.labels) - len(kept)
    warnings += _said(removed)
    if len(kept) == 0:
        raise DataError("training samples that are not among the tested", "none", "split the data again")
    train = train.take(kept)
    raw_train = mapped(train.samples, as_unit)

    def receive(raw: Samples) -> Samples:
        return as_unit(network.obfuscate(raw))

    def send(number: int) -> Samples:
        # Each sending draws anew; its number only tells them apart.
        return _all(mapped(raw_test, receive))

    some = raw_test[:_TRIED_TWICE]
    random = not np.array_equal(receive(some), receive(some))
    received_test = mapped(raw_test, receive) if received is None else taken(received, chosen)
    attribute = dataset.spec.attribute
    return AuditSubject(
        name=name or dataset.spec.name,
        kind=dataset.spec.kind,
        attacker=AttackerPart(
            raw=raw_train,
            received=mapped(raw_train, receive) if sent is None else sent(raw_train),
            labels=np.asarray(train.labels),
            attribute=train.attribute,
        ),
        scored=ScoredPart(
            raw=raw_test,
            # Sent once: every attack is asked about the same requests.
            received=_all(received_test) if random and received is None else received_test,
            answered=np.asarray(answered[chosen], np.int64),
            attribute=test.attribute,
        ),
        classes=dataset.spec.classes,
        attribute_name=attribute.name if attribute is not None and test.attribute is not None else "",
        attribute_values=attribute.values if attribute is not None and test.attribute is not None else (),
        pool=tuple(obfuscators),
        network=network,
        repeats=send if random else None,
        guarantee=guarantee,
        warnings=tuple(warnings),
        duplicates_removed=removed,
        identity=identity,
        rate_hz=dataset.spec.input.rate_hz,
    )


def _scored_part(part: AttackerPart) -> ScoredPart:
    return ScoredPart(raw=part.raw, received=part.received, answered=part.labels, attribute=part.attribute)


def _said(count: int) -> list[str]:
    if count == 0:
        return []
    return [f"{count} of the attacker's samples are copies of scored ones, value by value: left out"]


def _all(rows: AnyRows) -> Samples:
    return np.concatenate(list(batches(rows)))
