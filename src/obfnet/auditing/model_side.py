"""What a bundle tells a curious device about the inference network, and about O's training samples.

Puts the attacks on the model side together: substitutes by what was known, adversarial examples made on them,
membership. It measures only; a bundle itself holds no weight of I.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from torch import nn

from obfnet.attacks import Obfuscator
from obfnet.attacks.membership import UNCHANGED, Membership, infer_membership
from obfnet.attacks.substitute import ModelKnowledge, train_substitute
from obfnet.attacks.transfer import Ask
from obfnet.auditing.bootstrap import mean_estimate
from obfnet.auditing.duplicates import names_of_rows
from obfnet.auditing.model_backend import Answering, Judge
from obfnet.core.errors import AttackError, UsageError
from obfnet.core.interval import wilson
from obfnet.core.progress import Progress, Silent
from obfnet.data.rows import AnyRows
from obfnet.data.table import Split

PublicIs = Literal["disjoint", "training", "unknown"]
QUERIES: Final = (100, 1_000, 10_000)

_SCORED: Final = 5_000
_SCORED_VALUES: Final = 16_000_000
_CANDIDATES: Final = 5_000
_SAID: Final = {
    "disjoint": "none of the attacker's samples was used to train I or O",
    "training": "the attacker's samples are those that I and O were trained on: a strong attacker",
    "unknown": "whether I and O were trained on some of the attacker's samples is not known",
}
_FIGURES: Final = ("agreement", "agreement_obfuscated", "transfer")


@dataclass(frozen=True, kw_only=True)
class _Row:
    knowledge: str
    queries: int
    answers: str
    bundles: bool
    through_graph: bool = False


def measure_model_confidentiality(
    *,
    public: Split,
    scored: Split,
    obfuscators: Sequence[Obfuscator],
    ask: Ask,
    members: Split | None = None,
    non_members: Split | None = None,
    public_is: PublicIs = "unknown",
    trained_on: AnyRows | None = None,
    queries: Sequence[int] = QUERIES,
    eps: float | None = None,
    effort: float = 1.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures what public samples, bundles and answers each tell about I, and membership in O's training.

    Rows of substitutes: public samples only; with bundles; with bundles through O's graph, where it can be
    gone through backward; then for each number of queries, labels or scores, without and with bundles. With
    bundles every other question is an obfuscated sample, and there are no more of them. Membership takes
    the substitute that had bundles.

    Args:
        public: The attacker's own samples and their true labels. Those that are, by value, among the scored,
            member or non-member samples are left out, and their number is said.
        scored: Samples and true labels that nothing here is trained on; at most 5,000, evenly spaced, are
            scored, and 500 of them attacked by adversarial examples.
        obfuscators: The networks of the bundles that the attacker holds; empty where there are none (recorded
            pairs): then there are only rows without bundles, and no membership.
        ask: The backend: float32 samples in [0, 1] to scores, `(N, K)`, logits or shares that sum to 1; it
            brings samples to the wire's type itself. It is asked up to 20,000 + 2 `scored` + 500 a row.
        members: Samples that O was trained on, of which at most 5,000 are used; None leaves membership out.
        non_members: Samples of the same kind that neither I nor O was trained on, nor chosen by.
        public_is: What is known of `public`: `disjoint` from the training samples of I and O, `training`
            (they are those samples), or `unknown`. It stands among the assumptions and changes no figure.
        trained_on: The training samples of I and O; where given, `disjoint` is checked by value. Otherwise
            it is the caller's word.
        queries: Numbers of questions; one above the number of public samples is cut to it.
        eps: Largest change of a value in adversarial examples; None takes what is usual for the shape.
        effort: Share of a standard training of each substitute, > 0.
        seed: Of everything random.
        progress: Told of every step.

    Returns:
        JSON-ready: `substitute` (rows with `knowledge`, `queries`, `answers`, `bundles`, `agreement`,
        `agreement_obfuscated`, `transfer`, each with its 95 % Wilson interval in `*_interval`, and `noise`,
        the share that random noise of the same size fools), `bundle_adds` (what each row with bundles has
        over the one without, with a paired bootstrap interval), `membership` (`auc`, `interval`, `members`,
        `non_members`, `statistic`, and `control`, `control_interval`: the same attack without O; or None),
        `eps`, and `assumptions`.

    Raises:
        AttackError: too few samples, `disjoint` that is not so, obfuscated samples of another shape than raw
            ones, or a backend that answers nothing right or other than scores.
        UsageError: an unknown `public_is`.

    Does not guarantee: that a larger substitute, more questions, or questions chosen with care would not tell
        more. The intervals are over samples: each row is one training, and another seed gives another
        substitute. Timing and other side channels are not looked at.
    """
    progress = progress or Silent()
    if public_is not in get_args(PublicIs):
        raise UsageError(f"public_is of {', '.join(get_args(PublicIs))}", repr(public_is), "choose one")
    members, non_members = (
        None if part is None else _spaced(part, _CANDIDATES) for part in (members, non_members)
    )
    scored = _spaced(scored, min(_SCORED, max(1, _SCORED_VALUES // int(np.prod(scored.samples.shape[1:])))))
    kept, removed = _without(public, [scored, *(part for part in (members, non_members) if part is not None)])
    if public_is == "disjoint" and trained_on is not None:
        _check_disjoint(kept, trained_on)
    pool = tuple(obfuscators)
    progress.start("ask the backend", 2)
    judge = Judge(scored, pool, ask, eps=eps, seed=seed)
    progress.advance(1)
    backend = Answering(kept, pool, ask, classes=judge.classes, most=max(queries, default=0), seed=seed)
    progress.finish()
    counts = [min(count, len(kept.labels)) for count in queries]
    rows = _rows(counts, bundles=bool(pool), graphs=_have_graphs(pool))
    found: list[dict[str, Any]] = []
    outcomes: list[dict[str, npt.NDArray[np.bool_]]] = []
    starts: dict[bool, nn.Module] = {}
    for number, row in enumerate(rows, 1):
        known = ModelKnowledge(
            raw=kept.samples,
            labels=kept.labels,
            classes=judge.classes,
            pool=pool if row.bundles else (),
            answers=backend.answers(row.queries, labels_only=row.answers == "labels", bundles=row.bundles),
        )
        substitute = train_substitute(
            known,
            effort=effort,
            seed=seed,
            progress=progress,
            start=starts.get(row.bundles),
            through_graph=row.through_graph,
            task=f"train substitute {number} of {len(rows)}",
        )
        starts.setdefault(row.bundles, substitute)
        outcomes.append(judge.outcomes(substitute))
        found.append(_row(row, outcomes[-1], noise=judge.noise))
    membership = None
    if pool and members is not None and non_members is not None:
        infer = partial(
            infer_membership,
            public=kept,
            members=members,
            non_members=non_members,
            substitute=starts[True],
            seed=seed,
        )
        membership = _membership(infer(pool), infer([UNCHANGED]))
    return {
        "substitute": found,
        "bundle_adds": _bundle_adds(rows, outcomes, seed=seed),
        "membership": membership,
        "eps": judge.eps,
        "assumptions": _assumptions(
            public_is,
            checked=trained_on is not None,
            count=len(kept.labels),
            removed=removed,
            eps=judge.eps,
            membership=membership is not None,
        ),
    }


def _have_graphs(pool: Sequence[Obfuscator]) -> bool:
    # A bundle may hold an operator that nothing here goes backward through; the other rows need none.
    try:
        for network in pool:
            network.differentiable()
    except AttackError:
        return False
    return bool(pool)


def _rows(queries: Sequence[int], *, bundles: bool, graphs: bool) -> list[_Row]:
    rows = [_Row(knowledge="public samples", queries=0, answers="none", bundles=False)]
    name = "public samples, bundles"
    if bundles:
        rows.append(_Row(knowledge=name, queries=0, answers="none", bundles=True))
    if graphs:
        rows.append(
            _Row(
                knowledge=f"{name} (also through O's graph)",
                queries=0,
                answers="none",
                bundles=True,
                through_graph=True,
            )
        )
    for count in dict.fromkeys(count for count in queries if count > 0):
        for answers in ("labels", "scores"):
            for held in (False, True) if bundles else (False,):
                known = name if held else "public samples"
                rows.append(
                    _Row(
                        knowledge=f"{known}, {count:,} {answers}",
                        queries=count,
                        answers=answers,
                        bundles=held,
                    )
                )
    return rows


def _row(row: _Row, outcomes: Mapping[str, npt.NDArray[np.bool_]], *, noise: float) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in _FIGURES:
        outcome = outcomes.get(name)
        share = None if outcome is None else float(outcome.mean())
        figures[name] = share
        figures[f"{name}_interval"] = (
            None if outcome is None or share is None else list(wilson(share, len(outcome)))
        )
    return {
        "knowledge": row.knowledge,
        "queries": row.queries,
        "answers": row.answers,
        "bundles": row.bundles,
        **figures,
        "noise": noise,
    }


def _bundle_adds(
    rows: Sequence[_Row], outcomes: Sequence[Mapping[str, npt.NDArray[np.bool_]]], *, seed: int
) -> list[dict[str, Any]]:
    without = {
        (row.queries, row.answers): (row, outcome)
        for row, outcome in zip(rows, outcomes, strict=True)
        if not row.bundles
    }
    added = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if not row.bundles:
            continue
        base, former = without[row.queries, row.answers]
        entry: dict[str, Any] = {"knowledge": row.knowledge, "over": base.knowledge}
        for name in _FIGURES:
            # Both were scored on the same samples: the difference is surer than two intervals side by side.
            difference = mean_estimate(outcome[name].astype(float) - former[name], seed=seed)
            entry[name] = {"difference": difference.value, "interval": [difference.low, difference.high]}
        added.append(entry)
    return added


def _membership(found: Membership, control: Membership) -> dict[str, Any]:
    return {
        "auc": found.auc,
        "interval": list(found.interval),
        "members": found.members,
        "non_members": found.non_members,
        "statistic": found.statistic,
        "control": control.auc,
        "control_interval": list(control.interval),
    }


def _assumptions(
    public_is: str, *, checked: bool, count: int, removed: int, eps: float, membership: bool
) -> list[str]:
    said = _SAID[public_is]
    if public_is == "disjoint":
        said += ", checked by value" if checked else ", by the caller's word"
    lines = [
        f"the attacker has {count:,} samples of its own with their true labels; {said}",
        "it does not know I's architecture; its substitute is a small network of its own, one training a row",
        "questions are the attacker's samples at random; with bundles every other one is obfuscated",
        f"adversarial examples: PGD in the maximum norm, eps {eps:.3g}, on raw samples that I answers right",
    ]
    if removed:
        lines.append(f"{removed:,} of the attacker's samples were left out: scored, or asked membership of")
    if membership:
        lines.append(
            "membership: of half of the members and non-members the attacker knows which they are, and "
            "chooses its attack there; where the control without O is above 0.5, the two differ in kind"
        )
    return lines


def _spaced(split: Split, most: int) -> Split:
    count = len(split.labels)
    return split.take(np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64)))


def _without(public: Split, others: Sequence[Split]) -> tuple[Split, int]:
    wanted = np.concatenate([names_of_rows(other.samples) for other in others])
    kept = np.flatnonzero(~np.isin(names_of_rows(public.samples), wanted))
    if not len(kept):
        raise AttackError(
            "public samples that are not scored", "none", "give the attacker samples of its own"
        )
    return public.take(kept), len(public.labels) - len(kept)


def _check_disjoint(public: Split, trained_on: AnyRows) -> None:
    shared = int(np.isin(names_of_rows(public.samples), names_of_rows(trained_on)).sum())
    if shared:
        raise AttackError(
            "public samples that neither I nor O was trained on",
            f"{shared} that were",
            "split the data again",
        )
