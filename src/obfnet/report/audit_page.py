"""The report of `obfnet audit`: one HTML file that says how much of the samples the backend can rebuild.

It takes the figures as they are in `audit.json` and example samples beside them, and computes nothing new
but places on a scale and differences of two rows. The template holds the order and the plain words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ShapeError
from obfnet.guarantees.statement import rounded_up
from obfnet.report.audit_verdict import conclusion, span, verdict
from obfnet.report.learning_curve import draw_learning_curve
from obfnet.report.page import render_page
from obfnet.report.png_uri import png_data_uri
from obfnet.report.sample_picture import any_picture
from obfnet.report.sound import sound_data_uri
from obfnet.report.wording import percent, similarity

__all__ = ["AuditPictures", "choose_samples", "render_audit", "verdict"]

Floats = npt.NDArray[np.float32]
Samples = npt.NDArray[Any]
Sound = tuple[npt.NDArray[Any], int]

_TEMPLATE: Final = "audit.html.j2"
_DASH: Final = "–"
_HEARD: Final = 4
_ROWS: Final = {
    "raw": ("Raw", "raw"),
    "obfuscated": ("What the backend receives", "as the backend receives it"),
    "reconstructed": ("Best reconstruction", "as the best attack rebuilds it"),
    "floor": ("Class mean", "mean of its class, which the label alone tells"),
}
_LEVELS: Final = {
    "T0": "sees obfuscated samples only, and has public data of the same kind",
    "T1": "also knows every obfuscation network of the pool, but not which one a device uses",
    "T2": "also knows which obfuscation network the device uses, weights and all",
    "T3": "also holds raw and obfuscated pairs of that device, and sees a sample sent again and again",
}
# What a higher value means for the owner of the data, where the name does not tell.
_METRICS: Final = {
    "ssim": ("SSIM", "higher leaks more"),
    "ms_ssim": ("MS-SSIM", "higher leaks more"),
    "mse": ("Squared error", "lower leaks more"),
    "psnr_db": ("PSNR, dB", "higher leaks more"),
    "negative_mse": ("Minus squared error", "higher leaks more"),
    "perceptual": ("Perceptual distance", "lower leaks more"),
    "log_spectral_distance_db": ("Log-spectral distance, dB", "lower leaks more"),
    "mel_cepstral_distortion_db": ("Mel-cepstral distortion, dB", "lower leaks more"),
}
_UNIT_METRICS: Final = frozenset({"ssim", "ms_ssim"})
_BESIDE_THE_METRIC: Final = frozenset({"pairs", "interval", "normalised", "attack", "threat_level"})
_SOURCES: Final = {"pool": "a pool", "bundle": "a bundle", "pairs": "recorded pairs"}


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditPictures:
    """Scored samples chosen for show: the worst first, then average ones.

    Args:
        raw: `(N, *raw_shape)`, float in [0, 1] or uint8; any shape.
        obfuscated: What the backend receives of them, `(N, *received_shape)`, float in [0, 1] or uint8.
        reconstructed: Guesses of the attack that came closest, in raw's shape; None where no attack counted.
        floor: What the label alone gives, in raw's shape; None where there is none.
        normalised: Normalised leakage of each, `(N,)` float64, NaN where unknown; None where no attack
            counted.
        worst: The first so many are the worst cases, the others average ones, 0 ... N.
        order: How they were chosen, in a phrase for the reader.
        picture: How a sample in raw's shape is pictured (a spectrogram, for speech), as `(C, H, W)`; by
            default as it is.
        sound: A sample in raw's shape as a sound, `(T,)` floats in [-1, 1] and its rate in Hz; None where
            samples are no sounds.
        captured: The sound of each sample as it was captured and its rate, `None` where it is not at hand;
            empty, or N of them.

    Raises:
        ShapeError: shapes that do not fit each other.
    """

    raw: Samples
    obfuscated: Samples
    reconstructed: Samples | None
    floor: Samples | None
    normalised: npt.NDArray[np.float64] | None
    worst: int
    order: str = ""
    picture: Callable[[Floats], Floats] | None = None
    sound: Callable[[Floats], Sound] | None = None
    captured: tuple[Sound | None, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.raw)
        lengths = [len(self.obfuscated), *(() if self.normalised is None else (len(self.normalised),))]
        lengths += [len(self.captured)] if self.captured else []
        shapes = [row.shape for row in (self.reconstructed, self.floor) if row is not None]
        if set(lengths) != {count} or set(shapes) - {self.raw.shape} or not 0 <= self.worst <= count:
            raise ShapeError(
                f"rows of the same {count} samples, guesses of shape {self.raw.shape}",
                f"lengths {lengths}, shapes {shapes}, {self.worst} worst",
                "picture the same samples in each",
            )


def choose_samples(
    normalised: npt.NDArray[np.float64], *, worst: int = 8, average: int = 8
) -> npt.NDArray[np.int64]:
    """Which scored samples to show: those that leaked most, and those nearest to the mean.

    Args:
        normalised: Normalised leakage of every scored sample, `(M,)`; NaN is never shown.
        worst: How many of the worst.
        average: How many average ones; never one of the worst.

    Returns:
        Rows, `(N,)` int64, N ≤ worst + average: the worst, the highest first, and then the average ones,
        the nearest to the mean first. Ties go to the earlier row.

    Example:
        >>> choose_samples(np.array([0.1, 0.9, 0.5, 0.4]), worst=1, average=2)
        array([1, 2, 3])
    """
    known = np.flatnonzero(np.isfinite(normalised))
    first = known[np.argsort(-normalised[known], kind="stable")][:worst]
    others = np.setdiff1d(known, first)
    distance = np.abs(normalised[others] - normalised[known].mean()) if len(known) else normalised[others]
    nearest = others[np.argsort(distance, kind="stable")][:average]
    return np.concatenate([first, nearest]).astype(np.int64)


def render_audit(
    result: Mapping[str, Any], pictures: AuditPictures | None, *, useful: Mapping[str, Any] | None = None
) -> str:
    """The report page as HTML text, self-contained: no script, no font and no image from elsewhere.

    Args:
        result: The content of `audit.json`.
        pictures: Example samples; None where there is nothing to show (an audit of the model side alone).
        useful: How well labels survive, where that was measured: `measured_as`, `accuracy`, `obfuscation` as
            in the `result.json` of `protect`.

    Raises:
        MissingExtraError: Jinja2 is not installed.

    Does not guarantee: anything about leakage that was not measured; the page says which attack did.
    """
    headline, attacks = result["headline"], result["attacks"]
    grade, says = conclusion(headline, result["subject"])
    counted = sorted(
        (attack for attack in attacks if attack["counted"]),
        key=lambda attack: (attack["normalised"] is None, -_mean(attack["normalised"])),
    )
    return render_page(
        _TEMPLATE,
        {
            "result": result,
            "subject": result["subject"],
            "useful": useful,
            "headline": headline,
            "grade": grade,
            "conclusion": says,
            "sentence": headline.get("verdict") or verdict(headline, result["subject"]),
            "levels": _LEVELS,
            "source": _SOURCES.get(result["subject"]["source"], result["subject"]["source"]),
            "place": _place(headline["normalised_leakage"]),
            "views": list(_views(pictures, headline)),
            "order": "" if pictures is None else pictures.order,
            "sounds": [] if pictures is None else list(_sounds(pictures)),
            "closest": next((one for one in counted if one["name"] == headline.get("closest_attack")), None),
            "counted": [_row(attack, headline["attack"]) for attack in counted],
            "uncounted": [attack for attack in attacks if not attack["counted"]],
            "controls": [_controls(attack) for attack in attacks if attack["controls"]],
            "metrics": _metrics(counted),
            "curve": _curve(result),
            "added": _what_a_bundle_adds(result["model_confidentiality"]),
            "span": span,
            "number": number,
            "interval": interval,
            "plain": _plain,
            "rounded_up": rounded_up,
        },
    )


def number(value: float | None) -> str:
    """A figure of any metric, with no more digits than say something; a dash where there is none.

    Example:
        >>> number(0.81234), number(23.456), number(0.00123), number(None)
        ('0.812', '23.5', '0.0012', '–')
    """
    if value is None:
        return _DASH
    size = abs(value)
    if size >= 100:
        return similarity(value, 0)
    if size >= 10:
        return similarity(value, 1)
    return similarity(value, 3) if size >= 0.01 or size < 1e-6 else f"{value:.2g}".replace("-", "−")


def interval(ends: Sequence[float] | None) -> str:
    """An interval of figures of any metric; nothing where there is none."""
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def _mean(normalised: Mapping[str, Any] | None) -> float:
    return 0.0 if normalised is None else float(normalised["mean"])


def _place(share: float | None) -> float | None:
    return None if share is None else min(max(share, 0.0), 1.0)


def _views(pictures: AuditPictures | None, headline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if pictures is None:
        return
    worst, count = pictures.worst, len(pictures.raw)
    # Without an attack nobody knows which leaked most.
    titles = (
        ("The samples that leaked most", "Average samples") if headline["attack"] else ("Samples", "More")
    )
    for key, title, name, rows in (
        ("worst", titles[0], "Worst" if headline["attack"] else "First", range(worst)),
        ("average", titles[1], "Average" if headline["attack"] else "Other", range(worst, count)),
    ):
        if len(rows) > 0:
            yield {
                "key": key,
                "title": title,
                "scores": [_score(pictures, row) for row in rows],
                "rows": [
                    {
                        "key": part,
                        "title": row_title,
                        "pictures": [
                            {"uri": _uri(pictures, part, row), "alt": f"{name} sample {place}, {alt}"}
                            for place, row in enumerate(rows, start=1)
                        ],
                    }
                    for part, (row_title, alt) in _ROWS.items()
                    if getattr(pictures, part) is not None
                ],
            }


def _score(pictures: AuditPictures, row: int) -> str:
    if pictures.normalised is None or not np.isfinite(pictures.normalised[row]):
        return _DASH
    return percent(float(pictures.normalised[row]), 0)


def _alike(pictures: AuditPictures, part: str) -> bool:
    """Whether the samples of a row have raw's shape, so that they can be shown and heard as raw ones are."""
    return bool(getattr(pictures, part).shape == pictures.raw.shape)


def _uri(pictures: AuditPictures, part: str, row: int) -> str:
    sample = getattr(pictures, part)[row]
    if pictures.picture is not None and _alike(pictures, part):
        sample = pictures.picture(sample)
    return png_data_uri(any_picture(sample))


def _sounds(pictures: AuditPictures) -> Iterator[dict[str, Any]]:
    if pictures.sound is None:
        return
    worst, count = pictures.worst, len(pictures.raw)
    for name, rows in (("Worst", range(worst)), ("Average", range(worst, count))):
        for place, row in enumerate(rows[:_HEARD], start=1):
            captured = pictures.captured[row] if pictures.captured else None
            players = [("" if captured is None else sound_data_uri(*captured), "as captured")]
            for part, (_, label) in _ROWS.items():
                samples = getattr(pictures, part)
                audible = samples is not None and _alike(pictures, part)
                players.append((sound_data_uri(*pictures.sound(samples[row])) if audible else "", label))
            yield {
                "name": f"{name} {place}",
                "score": _score(pictures, row),
                "players": [(uri, f"{name} sample {place}, {label}") for uri, label in players],
            }


def _row(attack: Mapping[str, Any], best: str | None) -> dict[str, Any]:
    normalised = attack["normalised"]
    whisker = None
    if normalised is not None:
        low, high = (100 * (_place(end) or 0.0) for end in normalised["interval"])
        # An interval of no width would be no line at all.
        whisker = {
            "low": low,
            "high": max(high, low + 0.5),
            "mean": 100 * (_place(normalised["mean"]) or 0.0),
        }
    return {**attack, "best": attack["name"] == best, "whisker": whisker}


def _controls(attack: Mapping[str, Any]) -> dict[str, Any]:
    controls = attack["controls"]
    return {
        "name": attack["name"],
        "counted": attack["counted"],
        "each": [
            {
                "gain": number(control["gain"]),
                "interval": interval(control["interval"]),
                "passed": control["passed"],
            }
            if (control := controls.get(name)) is not None
            else None
            for name in ("identity", "constant")
        ],
    }


def _metrics(counted: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    names = dict.fromkeys(name for attack in counted for name in attack["figures"])
    found = [(name, *_METRICS.get(name, (_plain(name), ""))) for name in names]
    return [{"key": key, "title": title, "means": means} for key, title, means in found]


def _curve(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The curve, drawn and as a table, of whatever metric its points hold beside their other names."""
    points, headline = result["learning_curve"], result["headline"]
    if not points:
        return None
    metric = next(name for name in points[0] if name not in _BESIDE_THE_METRIC)
    table = [{**point, "value": point[metric]} for point in points]
    marks = {"Raw control": headline.get(f"raw_{metric}"), "Label alone": headline.get(f"floor_{metric}")}
    known = {name: value for name, value in marks.items() if value is not None}
    return {
        "metric": _METRICS.get(metric, (_plain(metric), ""))[0],
        "points": table,
        "drawn": draw_learning_curve(table, known, unit=metric in _UNIT_METRICS),
    }


def _what_a_bundle_adds(side: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Every row with bundles beside the one with the same answers and without: the difference in points."""
    rows = [] if side is None else side["substitute"]
    without = {(row["queries"], row["answers"]): row for row in rows if not row["bundles"]}
    added = []
    for row in rows:
        base = without.get((row["queries"], row["answers"]))
        if row["bundles"] and base is not None:
            added.append(
                {
                    "knowledge": row["knowledge"],
                    "base": base["knowledge"],
                    **{name: _difference(row, base, name) for name in ("agreement", "transfer")},
                }
            )
    return added


def _difference(row: Mapping[str, Any], base: Mapping[str, Any], name: str) -> str:
    points = 100 * (row[name] - base[name])
    sign = "+" if round(points, 1) > 0 else ""
    low, high = row[f"{name}_interval"], base[f"{name}_interval"]
    apart = low[0] > high[1] or low[1] < high[0]
    return f"{sign}{similarity(points, 1)} points{'' if apart else ', within the intervals'}"


def _plain(key: str) -> str:
    return key.replace("_", " ").replace("-", " ").capitalize()
