"""The words an audit opens with: what somebody at a threat level rebuilds, in a sentence and a number.

The words follow the normalised leakage, 0 for what the label alone gives and 1 for what raw data give the
same attacker. A measurement stays one: low leakage is never worded as a guarantee.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from obfnet.report.verdict import HIGH, LOW, NEARLY_ALL
from obfnet.report.wording import percent, similarity

NO_VERDICT: Final = "No attack passed its controls: no verdict"
# Above this the two hardly differ, and "83 % of what" would only make a long sentence of it.
_AS_GOOD_AS_RAW: Final = 0.995
_WHO: Final = {
    "T0": "A backend that sees nothing but obfuscated samples",
    "T1": "A backend that knows the pool, but not which obfuscation network a device uses,",
    "T2": "A backend that knows the obfuscation network",
    "T3": "A backend that knows the obfuscation network and holds recorded pairs of this very device",
}
MUCH_KEPT: Final = 0.5
"""Share of the variance between sent pictures that averaging leaves: with less of it, attackers were shown
a small part of what a backend gets, and a verdict says so."""
_WHO_HAS_PAIRS: Final = "A backend that holds pairs of raw and obfuscated samples"


def who(threat_level: str, source: str) -> str:
    """The attacker of a threat level in plain words, to begin a sentence with.

    Args:
        threat_level: `T0` ... `T3`; others are named as they are.
        source: `pool`, `bundle` or `pairs`; from recorded pairs nobody knows a network.
    """
    if source == "pairs" and threat_level in {"T2", "T3"}:
        return _WHO_HAS_PAIRS
    return _WHO.get(threat_level, f"An attacker of threat level {threat_level}")


def verdict(headline: Mapping[str, Any], subject: Mapping[str, Any]) -> str:
    """Words the verdict on an audit.

    Args:
        headline: The `headline` part of `audit.json`; its `verdict` is not looked at.
        subject: The `subject` part of it; `source` is used, and what pictures were averaged down to.

    Returns:
        The verdict with its number, interval, attack and threat level, and then how uneven the leakage is and
        at what size it was measured, where that is not the pictures' own.

    Does not guarantee: that a stronger attack would not rebuild more. It words one measurement.
    """
    normalised = headline["normalised_leakage"]
    if normalised is None:
        return f"{NO_VERDICT}."
    backend = who(headline["threat_level"], subject["source"])
    measured = f"{headline['attack']} attack, threat level {headline['threat_level']}"
    interval = headline["normalised_leakage_interval"]
    sure = f"95\u00a0% interval {span(interval)}; {measured}" if interval else measured
    if normalised <= 0 or (interval and interval[0] <= 0):
        says = (
            f"{backend} rebuilds no more than the label alone gives away, as far as these attacks can tell "
            f"({percent(normalised, 0)} of the way to what the raw sample would give it; {sure})."
        )
    elif normalised >= _AS_GOOD_AS_RAW:
        says = (
            f"{backend} rebuilds as much as it could rebuild from the raw sample "
            f"({percent(normalised, 0)}; {sure})."
        )
    else:
        says = (
            f"{backend} rebuilds {percent(normalised, 0)} of what it could rebuild from the raw sample, "
            f"beyond what the label alone gives away ({sure})."
        )
    return f"{says}{_uneven(headline)}{_reduced(subject)}"


def conclusion(headline: Mapping[str, Any], subject: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """The grade (`high`, `middle`, `low`, `unknown`) and half a sentence for the title line.

    Args:
        headline: The `headline` part of `audit.json`.
        subject: The `subject` part of it; what pictures were averaged down to is used.
    """
    normalised, share = headline["normalised_leakage"], headline["share_over_half"]
    if normalised is None:
        return "unknown", NO_VERDICT
    if normalised > NEARLY_ALL:
        return "high", "This obfuscation hides almost nothing"
    if normalised > HIGH:
        return "high", "This obfuscation hides little"
    if normalised > LOW:
        return "middle", "This obfuscation hides a part, and a good deal still shows"
    if (kept := (subject or {}).get("sent_kept")) is not None and kept < MUCH_KEPT:
        return "unknown", "These attacks never saw most of what is sent: little can be said"
    if share is not None and round(100 * share) >= 1:
        return "middle", f"Most samples are hidden, but {percent(share, 0)} of them leak more than half"
    return "low", "These attacks got little beyond the label"


def span(interval: Sequence[float], digits: int = 0) -> str:
    """An interval of a share, in per cent."""
    return f"{percent(interval[0], digits)} to {percent(interval[1], digits)}"


def _uneven(headline: Mapping[str, Any]) -> str:
    worst, share = headline["normalised_leakage_p95"], headline["share_over_half"]
    says = ""
    if worst is not None:
        says += f" One sample in twenty leaks {percent(worst, 0)} or more."
    if share is not None:
        says += f" {_share(share)} of samples leak more than half."
    scores = [headline[name] for name in ("floor_ssim", "ssim", "raw_ssim")]
    if None in scores:
        return says
    floor, ours, raw = map(similarity, scores)
    says += f" SSIM\u00a0{ours}, where the label alone gives {floor} and the raw sample {raw}."
    if headline["closest_attack"] == headline["attack"]:
        return says
    # Another attack leads by its share of what raw samples give it, which may be little.
    closest, share = similarity(headline["closest_ssim"]), percent(headline["closest_leakage"], 0)
    return (
        f"{says} The {headline['closest_attack']} attack came closest: SSIM\u00a0{closest}, {share} of the "
        "way from the label alone to what the raw sample gives it."
    )


def _reduced(subject: Mapping[str, Any]) -> str:
    if (heard := subject.get("heard_s")) is not None:
        return (
            f" Measured on 20x45 MFCCs of the first {heard[0]:.2f} of {heard[1]:.2f} s, raw and sent: "
            "nothing else of the waveforms is."
        )
    if (size := subject.get("reduced_to")) is None:
        return ""
    says = f" Measured on pictures averaged down to {size[0]}x{size[1]}, raw and sent: finer details are not."
    kept = subject.get("sent_kept")
    if kept is None or kept >= MUCH_KEPT:
        return says
    return (
        f"{says} That leaves {percent(kept, 0)} of what differs between the sent pictures: whoever uses the "
        "rest may rebuild far more."
    )


def _share(share: float) -> str:
    # A few in ten thousand are not none.
    return "Less than 1\u00a0%" if 0 < share < 0.005 else percent(share, 0)
