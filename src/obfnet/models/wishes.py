"""What a user says of her model, and what that leaves open: shape, layout and range of a sample as sent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from obfnet.core.errors import ModelError, UsageError
from obfnet.core.spec import DTYPES, SOUND_LAYOUTS, InputSpec
from obfnet.data.waveforms import described, layout_of_sounds
from obfnet.models.source import Model

RANGES: Final[dict[str, tuple[float, float]]] = {
    "0,1": (0.0, 1.0),
    "0,255": (0.0, 255.0),
    "-1,1": (-1.0, 1.0),
}
IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Of sounds: as they are in [-1, 1], and as 16-bit samples.
SOUND_RANGES: Final[dict[str, tuple[float, float]]] = {
    "-1,1": (-1.0, 1.0),
    "-32768,32768": (-32768.0, 32768.0),
}
_LAYOUTS: Final = ("CHW", "HWC", "HW", *SOUND_LAYOUTS)
_CHANNELS: Final = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user says of her model; None and empty are worked out.

    Args:
        shape: Of one sample as the model takes it, without the batch axis.
        layout: `CHW`, `HWC` or `HW`; of waveforms `T` or `CT`.
        range: `LOW,HIGH`, or `imagenet`.
        dtype: `float32` or `uint8`.
        mean: Of each channel, in [0, 1], where samples are normalised.
        std: Of each channel.
        rate_hz: Samples a second of a model that takes waveforms; no model says it.

    Raises:
        UsageError: a layout, range or dtype that is none; one number where several are asked for.
    """

    shape: tuple[int, ...] = ()
    layout: str = ""
    range: str = ""
    dtype: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rate_hz: int = 0

    def __post_init__(self) -> None:
        for name in ("shape", "mean", "std"):
            given = getattr(self, name)
            given = () if given is None else given
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise UsageError(f"a number for each axis or channel in {name}", repr(given), "give a tuple")
            # Lists too, which could be no part of a key.
            object.__setattr__(self, name, tuple(given))
        if self.layout and self.layout not in _LAYOUTS:
            raise UsageError(f"a layout of {', '.join(_LAYOUTS)}", repr(self.layout), "change --layout")
        if self.range and (self.mean or self.std):
            raise UsageError("--range or --mean and --std", "both", "leave one of them out")
        if len(self.mean) != len(self.std) or not all(std > 0 for std in self.std):
            raise UsageError(
                "--mean and --std with a number each for every channel",
                f"{self.mean}, {self.std}",
                "give both",
            )
        if self.layout in SOUND_LAYOUTS and not self.rate_hz:
            raise UsageError(f"--rate with layout {self.layout}, of a waveform", "none", "give it")
        if self.dtype and self.dtype not in DTYPES:
            raise UsageError(f"a dtype of {', '.join(DTYPES)}", repr(self.dtype), "change --dtype")
        if self.range and self.range != "imagenet":
            low_high(self.range)


def low_high(text: str) -> tuple[float, float]:
    """The two numbers of a range.

    Raises:
        UsageError: other than two finite numbers, the first below the second.

    Example:
        >>> low_high("-1,1")
        (-1.0, 1.0)
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise UsageError("a range LOW,HIGH or imagenet", repr(text), "change --range") from exc
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError("a range LOW,HIGH with LOW below HIGH", repr(text), "change --range")
    return low, high


def wire_shape(model: Model, wishes: Wishes, *, of_data: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Shape and layout of one sample as the model takes it.

    Args:
        model: The model.
        wishes: What the user says.
        of_data: `(C, H, W)` of her samples, which fills in what neither the user nor the model says.

    Raises:
        ModelError: the model takes something else than pictures, or is of transformers and says no size: a
            network that takes any was still trained for one.
        UsageError: a layout that does not fit the shape.
    """
    said = wishes.shape or (model.input_shape[1:] if model.input_shape else ())
    if not said:
        channels, height, width = of_data
        layout = wishes.layout or "CHW"
        shape = {"CHW": of_data, "HWC": (height, width, channels), "HW": (height, width)}[layout]
        return shape, layout
    if model.kind == "transformers" and None in said:
        raise ModelError(
            "a size of pictures in preprocessor_config.json, or image_size in config.json",
            f"none in {model.title}",
            f"give --shape as it was trained, {said[0]},HEIGHT,WIDTH",
        )
    if len(said) not in (2, 3):
        raise ModelError(
            "a model of pictures, (N, C, H, W), (N, H, W, C) or (N, H, W)",
            f"{len(said) + 1} axes, {model.title}",
            "wrap it in a module that takes one of them",
        )
    layout = wishes.layout or _layout(said)
    if len(layout) != len(said):
        raise UsageError(
            f"a layout of {len(said)} axes, as the model's samples have", layout, "change --layout or --shape"
        )
    if len(said) == 2:
        filled = [size or given for size, given in zip(said, of_data[1:], strict=True)]
    else:
        ordered = of_data if layout == "CHW" else (*of_data[1:], of_data[0])
        filled = [size or given for size, given in zip(said, ordered, strict=True)]
    return tuple(filled), layout


def sound_shape(model: Model, wishes: Wishes, *, of_data: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Shape and layout of one sound as the model takes it: features, or with a rate a waveform.

    Args:
        model: The model.
        wishes: What the user says.
        of_data: `(1, 20, 45)`, of her sounds as features.

    Raises:
        ModelError: with a rate, a model of something else, or of waveforms whose length nobody says.
        UsageError: waveforms without a rate, or a layout that does not fit.
    """
    said = wishes.shape or (model.input_shape[1:] if model.input_shape else ())
    # A free first axis is no channel, unless a rate says that these are waveforms.
    layout = layout_of_sounds(tuple(size or (1 if wishes.rate_hz else 2) for size in said))
    if not wishes.rate_hz:
        if layout is not None:
            raise UsageError(
                f"the rate in Hz of the waveforms that {model.title} takes", "none", "give --rate, as 16000"
            )
        return wire_shape(model, wishes, of_data=of_data)
    if layout is None or said[-1] is None:
        raise ModelError(
            "a model of waveforms, (N, T) or (N, 1, T), of a fixed length",
            f"(N, {', '.join(map(str, said))}), {model.title}" if said else f"none said, {model.title}",
            "give --shape, as 16000 or 1,16000 for a second at 16,000 Hz; leave out --rate for features",
        )
    if wishes.layout not in ("", layout):
        raise UsageError(f"layout {layout}, for a waveform", wishes.layout, "leave out --layout")
    return tuple(size or 1 for size in said), layout


def _layout(shape: Sequence[int | None]) -> str:
    if len(shape) == 2:
        return "HW"
    last_only = shape[2] in _CHANNELS and shape[0] not in _CHANNELS
    return "HWC" if last_only else "CHW"


def candidate_wires(model: Model, wishes: Wishes, shape: tuple[int, ...], layout: str) -> list[InputSpec]:
    """Every wire that the model may have been trained for, the likeliest first.

    Args:
        model: The model; the range that it says is the only one, where the user says none.
        wishes: What the user says: it leaves one.
        shape: Of one sample as the model takes it.
        layout: Of it.

    Raises:
        UsageError: a mean or deviation that fits no channel, or a range that the type cannot have.
    """
    dtype = wishes.dtype or ("uint8" if model.input_dtype == "uint8" else "float32")
    if dtype == "float32":
        wishes = _with_said(model, wishes)
    wire = partial(InputSpec, shape=shape, layout=layout, dtype=dtype, rate_hz=wishes.rate_hz)
    if layout in SOUND_LAYOUTS:
        return _sound_wires(wire, wishes, shape[-1], model.input_dtype)
    channels, height, width = wire(low=0.0, high=255.0, preprocessing="").unit_shape
    resized = f"{'grey' if channels == 1 else 'RGB'}, resized to {height}x{width}"
    if dtype == "uint8":
        if wishes.mean or wishes.range not in ("", "0,255"):
            raise UsageError(
                "no range for uint8, which is 0,255", "one", "leave it out, or give --dtype float32"
            )
        return [wire(low=0.0, high=255.0, preprocessing=f"uint8, {resized}")]
    ranges, normalised = _spans(wishes, channels)
    found = []
    for low, high in ranges:
        scaled = "" if (low, high) == (0, 1) else f" scaled to {low:g} ... {high:g}"
        found.append(wire(low=low, high=high, preprocessing=f"uint8 / 255{scaled}, {resized}"))
    for mean, std in normalised:
        pairs = list(zip(mean, std, strict=False))
        found.append(
            wire(
                low=min(-one / other for one, other in pairs),
                high=max((1 - one) / other for one, other in pairs),
                preprocessing=f"uint8 / 255 less the mean, by the deviation, {resized}",
                mean=mean,
                std=std,
            )
        )
    return found


def _sound_wires(
    wire: Callable[..., InputSpec], wishes: Wishes, count: int, said: str | None
) -> list[InputSpec]:
    if said not in (None, "float32"):
        raise ModelError(
            "a model of float32 waveforms", f"one of {said}", "wrap it in a module that takes float32"
        )
    if wishes.dtype == "uint8" or wishes.mean or wishes.range == "imagenet":
        raise UsageError(
            "float32 with a range, for waveforms", "uint8 or a normalisation", "give --range LOW,HIGH"
        )
    spans = [low_high(wishes.range)] if wishes.range else list(SOUND_RANGES.values())
    made = described(count, wishes.rate_hz)
    return [
        wire(
            low=low,
            high=high,
            preprocessing=made
            + ("" if (low, high) == (-1, 1) else f"; -1 ... 1 scaled to {low:g} ... {high:g}"),
        )
        for low, high in spans
    ]


def _with_said(model: Model, wishes: Wishes) -> Wishes:
    """The user's wishes, and where she has none of values, what the model says of them."""
    if wishes.range or wishes.mean:
        return wishes
    span = "" if model.range is None else f"{model.range[0]!r},{model.range[1]!r}"
    return replace(wishes, range=span, mean=model.mean, std=model.std)


Floats = tuple[float, ...]


def _spans(wishes: Wishes, channels: int) -> tuple[list[tuple[float, float]], list[tuple[Floats, Floats]]]:
    """Ranges, and pairs of mean and deviation, that may be meant."""
    if wishes.mean or wishes.std:
        return [], [(wishes.mean, wishes.std)]
    if wishes.range not in ("", "imagenet"):
        return [low_high(wishes.range)], []
    if wishes.range and channels != len(IMAGENET[0]):
        raise UsageError("3 channels for --range imagenet", str(channels), "give --mean and --std")
    ranges = [] if wishes.range else list(RANGES.values())
    return ranges, [IMAGENET] if channels == len(IMAGENET[0]) else []
