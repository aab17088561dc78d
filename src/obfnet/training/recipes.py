"""How a case's networks are trained unless the user says otherwise: from the case's recipe to schedules."""

from dataclasses import dataclass, replace
from typing import Final

from obfnet.data.case import CaseSpec
from obfnet.fitting import Precision, Schedule
from obfnet.nets import is_camera_size
from obfnet.training.protections import PROTECTIONS

_INFERENCE: Final = Schedule(epochs=4, batch_size=128, peak_rate=2e-3, warm_up=0.25)
_DESCENT: Final = Schedule(
    epochs=4, batch_size=128, peak_rate=0.15, warm_up=0.25, optimiser="sgd", weight_decay=5e-4
)
_SMOOTHING: Final = 0.1
_SHORT_EPOCHS: Final = 3
_CAMERA_BATCH: Final = 16
# The large ones, of which almost all the time goes into convolutions.
_HALF_PRECISION: Final = ("residual", "compact")


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe:
    """Training of an inference network.

    Args:
        schedule: Length, rate and optimiser.
        augmentation: Changes that training samples go through.
        smoothing: Of the labels.
        precision: Of the forward passes.
    """

    schedule: Schedule
    augmentation: tuple[str, ...] = ()
    smoothing: float = 0.0
    precision: Precision = "float32"


def inference_recipe(spec: CaseSpec, architecture: str, *, epochs: float | None = None) -> ClassifierRecipe:
    """How the inference network of a case is trained.

    Args:
        spec: The case.
        architecture: Registry name of the network.
        epochs: Passes over the training samples; None takes the case's own.
    """
    recipe = spec.recipe
    wanted = (
        recipe.inference_epochs.get(architecture, recipe.inference_epochs[""]) if epochs is None else epochs
    )
    # Fully connected networks and those without norms do not take the high rates of plain descent.
    descent = recipe.optimiser == "sgd" and architecture in ("residual", "compact")
    return ClassifierRecipe(
        schedule=replace(_DESCENT if descent else _INFERENCE, epochs=wanted),
        augmentation=recipe.augmentation,
        smoothing=_SMOOTHING if descent else 0.0,
        precision=precision_of(architecture),
    )


def precision_of(architecture: str) -> Precision:
    """What an inference network computes in while it, or anything through it, is trained.

    Args:
        architecture: Registry name.
    """
    return "bfloat16" if architecture in _HALF_PRECISION else "float32"


def obfuscation_schedule(
    spec: CaseSpec, *, protection: str = "published", epochs: float | None = None
) -> Schedule:
    """How long each obfuscation network of a case is trained, and how fast.

    A short training needs a high rate; a longer one gets further with half of it and a little weight decay.

    Args:
        spec: The case.
        protection: Registry name; some train longer than `published`.
        epochs: Passes over the training samples; None takes the case's own.

    Raises:
        UnknownNameError: no such protection.

    Example:
        >>> from obfnet.data.mnist import CASE
        >>> obfuscation_schedule(CASE, epochs=3).peak_rate, obfuscation_schedule(CASE, epochs=5).peak_rate
        (0.004, 0.002)
    """
    longer = PROTECTIONS.get(protection).times_longer
    wanted = spec.recipe.obfuscation_epochs * longer if epochs is None else epochs
    schedule = Schedule(epochs=wanted)
    if wanted > _SHORT_EPOCHS:
        schedule = replace(schedule, peak_rate=2e-3, warm_up=0.3, weight_decay=1e-5)
    if PROTECTIONS.get(protection).any_size and is_camera_size(spec.input.unit_shape):
        # Of large photographs a pass is dear, and each tells much: many steps are worth more than sure ones.
        return replace(schedule, batch_size=_CAMERA_BATCH)
    return schedule
