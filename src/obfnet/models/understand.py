"""Works out what a model takes and gives, by running it on some raw samples; asks for what it cannot know.

A wrong guess of the range trains an obfuscation network for a model that was never there. So every known
range is tried, and the model's own accuracy on raw samples decides, or where there are no labels how well it
tells them apart. All problems that are found are said at once, each with its remedy.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from obfnet.core.errors import ModelError, ObfNetError
from obfnet.core.spec import InputSpec
from obfnet.models.label_order import best_order, is_clearly_better
from obfnet.models.source import Model, state_hash
from obfnet.models.view import ModelView, are_probabilities
from obfnet.models.wishes import IMAGENET, Wishes, candidate_wires
from obfnet.nets.mode import borrowed

Labels = npt.NDArray[np.int64]
_TRIED: Final = 256
# Two ranges that a model without labels tells apart less clearly than this are a matter of guessing.
_CLEARLY: Final = 0.8
# With this share of right answers in another order, that of a model below chance was said wrongly.
_MOSTLY: Final = 0.7
_SAME_ANSWER: Final = 1e-5
_AT_ONCE: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Understood:
    """What was worked out.

    Args:
        view: The model between samples in [0, 1] and scores.
        spec: What it takes: the wire.
        classes: Number of labels K.
        accuracy: On the raw samples tried, in [0, 1]; None without labels.
        notes: What was worked out, in words, for the user to check.
    """

    view: ModelView
    spec: InputSpec
    classes: int
    accuracy: float | None
    notes: tuple[str, ...]


def understand(
    model: Model,
    samples: npt.NDArray[np.float32],
    labels: Labels | None,
    wishes: Wishes,
    *,
    shape: tuple[int, ...],
    layout: str,
    names: Sequence[str],
    numbered: bool = False,
) -> Understood:
    """What the model takes and gives.

    Args:
        model: The model; its mode is put back, and its weights and buffers are found unchanged.
        samples: `(N, C, H, W)` float32 in [0, 1], training samples.
        labels: `(N,)`, indices into `names`; None where there are none.
        wishes: What the user says.
        shape: Of one sample as the model takes it (`wire_shape`).
        layout: Of it.
        names: The classes, in the order of the model's outputs; empty without labels.
        numbered: Whether labels came as numbers, whose order no name can change.

    Raises:
        ModelError: it cannot be protected, or not be understood; the message lists every problem found.
    """
    rows = np.unique(np.linspace(0, len(samples) - 1, _TRIED).astype(int))
    samples, labels = samples[rows], None if labels is None else labels[rows]
    specs = candidate_wires(model, wishes, shape, layout)
    with borrowed(model.module), _kept(model.module) as changed:
        batch = _batch_of(model, specs[0], samples)
        view, problems, runs = _first_look(model, specs[0], samples, batch)
        found = _tried(view, specs, samples, labels) if runs else []
        if runs and not found:
            problems.append(("a model that takes all raw samples", "an error for some", "mend the model"))
        steady = _UNSTEADY not in problems
        problems += [*_unsuitable(found, labels, names, numbered, steady=steady), *changed()]
    if problems:
        raise _all_of(problems, model)
    best = found[0]
    notes = _notes(best, found, view, layout)
    chosen = ModelView(model.module, best.spec, batch=batch, probabilities=view.probabilities)
    return Understood(view=chosen, spec=best.spec, classes=best.classes, accuracy=best.accuracy, notes=notes)


Problem = tuple[str, str, str]
_UNSTEADY: Final[Problem] = (
    "the same answer to the same sample",
    "another one each time",
    "switch off dropout and noise in the model",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    name: str
    spec: InputSpec
    classes: int
    accuracy: float | None
    told_apart: float
    answers: Labels

    @property
    def merit(self) -> float:
        return self.told_apart if self.accuracy is None else self.accuracy


@contextmanager
def _kept(module: nn.Module) -> Iterator[Callable[[], list[Problem]]]:
    """Puts back weights and buffers that a model changes when it runs; tells whether it did."""

    def named() -> list[tuple[str, Tensor]]:
        return [*module.named_parameters(), *module.named_buffers()]

    copies, before = {name: tensor.detach().clone() for name, tensor in named()}, state_hash(module)

    def changed() -> list[Problem]:
        if state_hash(module) == before:
            return []
        got = "a model that changes them when it runs"
        return [("weights and buffers that stay as they are", got, "call eval() in it")]

    try:
        yield changed
    finally:
        if changed():
            for name, tensor in named():
                tensor.detach().copy_(copies[name])


def _batch_of(model: Model, spec: InputSpec, samples: npt.NDArray[np.float32]) -> int | None:
    """The one batch size that the model takes; None where any will do, whatever its file says."""
    said = model.input_shape[0] if model.input_shape else None
    if said is None or said < 1:
        return None
    some = torch.from_numpy(samples[: 3 if said == _AT_ONCE else _AT_ONCE].copy())
    try:
        with torch.no_grad():
            free = ModelView(model.module, spec)(some)
            fixed = ModelView(model.module, spec, batch=said)(some)
    except Exception:  # whatever somebody else's model raises; `_first_look` tells it
        return said
    same = free.shape == fixed.shape and torch.allclose(free, fixed, rtol=1e-3, atol=1e-4)
    return None if same else said


def _first_look(
    model: Model, spec: InputSpec, samples: npt.NDArray[np.float32], batch: int | None
) -> tuple[ModelView, list[Problem], bool]:
    """The model on a few samples, what is wrong with it there, and whether it gives scores at all."""
    view = ModelView(model.module, spec, batch=batch)
    some = torch.from_numpy(samples[:_AT_ONCE].copy())
    try:
        with torch.no_grad():
            first, again = view(some), view(some)
            raw = view.given(some)
    except ModelError as exc:
        return view, [(exc.expected, exc.got, exc.remedy)], False
    except Exception as exc:  # whatever somebody else's model raises
        text = str(exc).splitlines()[0][:160] if str(exc) else ""
        got = f"{type(exc).__name__}: {text}"
        wanted = f"a model that takes samples {_batched(spec)}"
        return view, [(wanted, got, _remedy_of(text, model))], False
    if len(raw) != len(some):
        got = f"{len(raw)} for {len(some)}"
        return view, [("scores of every sample", got, "give a model that takes batches of any size")], False
    view.probabilities = are_probabilities(raw)
    if not bool(torch.isfinite(first).all()):
        remedy = "give --range, or mend the model"
        return view, [("finite scores", "NaN or infinity on raw samples", remedy)], False
    problems: list[Problem] = []
    if float((first - again).abs().max()) > _SAME_ANSWER * max(1.0, float(first.abs().max())):
        problems.append(_UNSTEADY)
    return view, problems + _gradient_problems(view, some), True


def _batched(spec: InputSpec) -> str:
    return f"({', '.join(['N', *map(str, spec.shape)])})"


def _remedy_of(text: str, model: Model) -> str:
    if "cuda" in text.lower():
        return "give a model on the CPU"
    kinds = {weight.dtype for weight in model.module.parameters() if weight.is_floating_point()}
    if kinds - {torch.float32}:
        return "give a model in float32: model.float()"
    return "give --shape and --layout as the model takes samples"


def _gradient_problems(view: ModelView, some: Tensor) -> list[Problem]:
    given = some.clone().requires_grad_()
    remedy = "give a differentiable form of it: an obfuscation network learns through the model's gradient"
    faults = getattr(view.model, "gradient_faults", None)
    named = "".join(f", {fault}" for fault in (faults() if faults else [])[:3])
    try:
        view(given).logsumexp(1).sum().backward()
    except Exception as exc:  # of many kinds
        got = f"{type(exc).__name__} on the way back{named}"
        return [("a model with gradients", got, remedy)]
    if given.grad is None or not bool(torch.isfinite(given.grad).all()):
        return [("a model with gradients", f"none, or not finite{named}", remedy)]
    if not bool(given.grad.any()):
        return [("a model with gradients", f"a gradient of zero everywhere{named}", remedy)]
    return []


def _tried(
    view: ModelView, specs: Sequence[InputSpec], samples: npt.NDArray[np.float32], labels: Labels | None
) -> list[_Trial]:
    """Every range, the best first; of equals the first."""
    trials = []
    for spec in specs:
        one = ModelView(view.model, spec, batch=view.batch, probabilities=view.probabilities)
        parts = torch.split(torch.from_numpy(samples.copy()), 64)
        try:
            with torch.no_grad():
                chances = torch.cat([one(part) for part in parts]).double().softmax(1).nan_to_num(0.0)
        except Exception:  # noqa: S112 - whatever somebody else's model raises: it refuses this range
            continue
        answers = chances.argmax(1).numpy()
        right = None if labels is None else float((answers == labels).mean())
        told = _entropy(chances.mean(0, keepdim=True)) - _entropy(chances)
        trials.append(
            _Trial(
                name=_range_name(spec),
                spec=spec,
                classes=chances.shape[1],
                accuracy=right,
                told_apart=told,
                answers=answers,
            )
        )
    return sorted(trials, key=lambda trial: -trial.merit)


def _entropy(chances: Tensor) -> float:
    return float(-(chances * chances.clamp_min(1e-30).log2()).sum(1).mean())


def _range_name(spec: InputSpec) -> str:
    if spec.mean:
        return "imagenet" if (spec.mean, spec.std) == IMAGENET else "mean and std as given"
    return f"{spec.low:g},{spec.high:g}"


def _unsuitable(
    found: list[_Trial], labels: Labels | None, names: Sequence[str], numbered: bool, *, steady: bool
) -> list[Problem]:
    if not found:
        return []
    best = found[0]
    if labels is not None and best.classes != len(names):
        remedy = "give --classes with the model's labels in the order of its outputs, or other data"
        return [(f"data of the model's {best.classes} classes", f"{len(names)} classes", remedy)]
    if not steady:
        # What it gets right is then a matter of chance.
        return []
    if all(len(np.unique(trial.answers)) == 1 for trial in found):
        tried = ", ".join(trial.name for trial in found)
        remedy = "give --range, --mean and --std, or --layout as the model was trained"
        return [("different answers to different samples", f"one answer to all, with range {tried}", remedy)]
    if labels is None:
        if len(found) > 1 and found[1].merit > _CLEARLY * best.merit:
            got = f"{best.name} and {found[1].name}, which both tell samples apart"
            return [("one range of values", got, "give --range, or --mean and --std")]
        return []
    share = np.bincount(labels, minlength=len(names)).max() / len(labels)
    chance = share + 3 * math.sqrt(share * (1 - share) / len(labels))
    if best.merit > chance:
        return _misordered(found, labels, names, numbered)
    tried = ", ".join(f"{trial.merit:.0%} with {trial.name}" for trial in found)
    remedy = "give --range, --mean and --std, or --layout as the model was trained"
    for trial in found:
        order = best_order(trial.answers, labels, len(names))
        if (order[trial.answers] == labels).mean() > _MOSTLY:
            remedy = _remedy_of_order(order, names, numbered)
            break
    return [("a model that is right on raw samples", f"{tried} (chance {share:.0%})", remedy)]


def _misordered(
    found: Sequence[_Trial], labels: Labels, names: Sequence[str], numbered: bool
) -> list[Problem]:
    """Better than chance, and far better still with the labels in another order."""
    before = found[0].answers == labels
    for trial in found:
        order = best_order(trial.answers, labels, len(names))
        after = order[trial.answers] == labels
        if is_clearly_better(before, after):
            got = f"{before.mean():.0%} right as they are, {after.mean():.0%} in another order"
            remedy = _remedy_of_order(order, names, numbered)
            return [("labels in the order of the model's outputs", got, remedy)]
    return []


def _remedy_of_order(order: Labels, names: Sequence[str], numbered: bool) -> str:
    seems = "the model seems to have its labels in another order: "
    if numbered:
        # Names only name numbers: they stay what they are.
        return f"{seems}its outputs are your labels {','.join(map(str, order))}, number them so"
    return f"{seems}give --classes {','.join(names[one] for one in order)}"


def _notes(best: _Trial, found: Sequence[_Trial], view: ModelView, layout: str) -> tuple[str, ...]:
    shape = "x".join(map(str, best.spec.shape))
    notes = [f"takes {best.spec.dtype} {layout} {shape}, range {best.name}"]
    if len(found) > 1:
        unit = "right" if best.accuracy is not None else "bits of label told apart"
        shown = ", ".join(
            f"{trial.name}: {trial.merit:.1%}"
            if best.accuracy is not None
            else f"{trial.name}: {trial.merit:.2f}"
            for trial in found
        )
        notes.append(f"range worked out from raw samples ({unit}: {shown}); --range says another")
    notes.append(f"gives {'probabilities' if view.probabilities else 'scores'} of {best.classes} classes")
    if view.batch is not None:
        notes.append(f"takes batches of {view.batch} only")
    return tuple(notes)


def _all_of(problems: Sequence[Problem], model: Model) -> ObfNetError:
    if len(problems) == 1:
        return ModelError(*problems[0])
    text = "; ".join(f"expected {expected}, got {got} ({remedy})" for expected, got, remedy in problems)
    return ModelError(
        f"a model that can be protected, {model.title}",
        f"{len(problems)} problems: {text}",
        "mend them and try again",
    )
