"""What a folder of transformers says of samples and labels: their size, range and order.

A preprocessor rescales pixels, shifts them and divides them, by channel; put together that is one scale and
one offset, the wire of the model. What it does not say is left open, to be worked out as for any other model.
Resizing and cropping are left to ours: only the size that comes out is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from obfnet.core.errors import ModelError
from obfnet.models.hub_folder import PREPROCESSOR, finite

_LEVELS: Final = 255.0
_CORRECT: Final = f"correct {PREPROCESSOR}, or delete it and give --shape and --range, or --mean and --std"
# A factor of 1/255 comes with more or fewer digits; a thousandth of a grey level is no matter.
_DIGITS: Final = 6
Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a preprocessor makes of a picture.

    Args:
        size: Height and width; None where it leaves them open.
        edge: Of the shorter side, where that alone is said.
        range: What [0, 1] becomes in every channel; None where channels differ, or nothing is said.
        mean: Of each channel, in [0, 1], where they differ.
        std: Of each channel, likewise.
    """

    size: Size | None = None
    edge: int | None = None
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def preprocessing_of(document: Mapping[str, Any]) -> Preprocessing:
    """What `preprocessor_config.json` says.

    Args:
        document: Its content.

    Raises:
        ModelError: it is of another form, or does something that a wire cannot: channels in another order,
            or channels that differ, with a mean outside of [0, 1].
    """
    kind = str(document.get("image_processor_type") or document.get("feature_extractor_type") or "")
    if document.get("do_flip_channel_order", kind.startswith("MobileViT")):
        raise ModelError(
            "channels in the order red, green, blue",
            f"the opposite one (do_flip_channel_order in {PREPROCESSOR})",
            "give --model package.module:callable, a factory whose model turns them round",
        )
    try:
        size, edge = _size(document)
        channels = _channels(document, kind)
    except (TypeError, ValueError, LookupError) as exc:
        raise ModelError(
            f"{PREPROCESSOR} as transformers writes it", f"{type(exc).__name__} in it", _CORRECT
        ) from exc
    if not channels:
        return Preprocessing(size=size, edge=edge)
    scale, offset = channels[0]
    if len(set(channels)) == 1:
        return Preprocessing(size=size, edge=edge, range=(_plain(offset), _plain(scale + offset)))
    mean = tuple(round(-one / other, 9) for other, one in channels)
    if not all(0 <= one <= 1 for one in mean):
        raise ModelError("a mean in [0, 1] of each channel", f"another in {PREPROCESSOR}", _CORRECT)
    return Preprocessing(
        size=size, edge=edge, mean=mean, std=tuple(round(1 / other, 9) for other, _ in channels)
    )


def labels_of(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of the outputs in their order, as `id2label` has them.

    Args:
        config: `config.json`.
        count: Number of outputs.

    Returns:
        `count` names; none where they are not all said, or are the placeholders LABEL_0 and so on.
    """
    said = config.get("id2label")
    if not isinstance(said, dict) or len(said) != count:
        return ()
    names = [said.get(str(place)) for place in range(count)]
    if not all(isinstance(name, str) for name in names):
        return ()
    if names == [f"LABEL_{place}" for place in range(count)]:
        return ()
    return tuple(map(str, names))


def _size(document: Mapping[str, Any]) -> tuple[Size | None, int | None]:
    crop = document.get("crop_size")
    if crop is not None and document.get("do_center_crop", True):
        return _sides(crop), None
    size = document.get("size")
    if size is None or not document.get("do_resize", True):
        return None, None
    if isinstance(size, dict) and "height" not in size:
        edge = size.get("shortest_edge")
        if edge is None:
            return None, None
        # ConvNeXT and ResNet say so and then cut a square of it.
        square = document.get("crop_pct") is not None
        return (_sides(edge), None) if square else (None, _whole(edge))
    return _sides(size), None


def _sides(said: Any) -> Size:
    if isinstance(said, dict):
        said = [said.get("height", said.get("shortest_edge")), said.get("width", said.get("shortest_edge"))]
    if isinstance(said, list):
        height, width = said
        return _whole(height), _whole(width)
    return _whole(said), _whole(said)


def _whole(number: Any) -> int:
    if finite(number) != int(number) or number < 1:
        raise ValueError(str(number))
    return int(number)


def _channels(document: Mapping[str, Any], kind: str) -> list[tuple[float, float]]:
    """Scale and offset of each channel, of samples in [0, 1]; one where all are alike, none if not said."""
    means, deviations = _numbers(document.get("image_mean")), _numbers(document.get("image_std"))
    normalised = document.get("do_normalize", bool(means) or None)
    if normalised is None and "do_normalize" not in document:
        return []
    twice = document.get("include_top", True) if kind.startswith("EfficientNet") else False
    if (normalised and not means) or ((normalised or twice) and not deviations):
        return []
    factor = finite(document.get("rescale_factor", 1 / _LEVELS)) if document.get("do_rescale", True) else 1.0
    scale = _plain(_LEVELS * factor)
    shift = -1.0 if document.get("rescale_offset") and document.get("do_rescale", True) else 0.0
    if scale <= 0:
        raise ValueError(str(factor))
    places = max(len(means), len(deviations)) if normalised or twice else 1
    found = []
    for place in range(places):
        mean = _of(means, place) if normalised else 0.0
        divisor = (_of(deviations, place) if normalised else 1.0) * (_of(deviations, place) if twice else 1.0)
        if divisor <= 0:
            raise ValueError(str(divisor))
        found.append((scale / divisor, (shift - mean) / divisor))
    return found


def _numbers(said: Any) -> list[float]:
    if said is None:
        return []
    return [finite(one) for one in (said if isinstance(said, list) else [said])]


def _of(numbers: list[float], place: int) -> float:
    return numbers[0] if len(numbers) == 1 else numbers[place]


def _plain(number: float) -> float:
    nearest = round(number, _DIGITS)
    return nearest if abs(nearest - round(nearest)) < 10**-_DIGITS else number
