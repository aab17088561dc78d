"""The sentence a report opens with: what the backend still gets right, and what an attacker gets back.

The words follow the normalised leakage, 0 for what the label alone gives and 1 for what raw data
give the same attacker. A measurement stays one: low leakage is never worded as a guarantee.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from obfnet.report.wording import percent, similarity

HIGH: Final = 0.5
NEARLY_ALL: Final = 0.8
LOW: Final = 0.15


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The opening of a report.

    Args:
        grade: `"high"`, `"middle"`, `"low"` leakage, or `"unknown"` where the attack shows nothing.
        conclusion: What it comes to, in half a sentence, for the title line.
        sentence: The same with its figures, attack and threat level.
        place: Normalised leakage clipped to [0, 1]; None where it is unknown.
    """

    grade: str
    conclusion: str
    sentence: str
    place: float | None


def judge(figures: dict[str, Any]) -> Verdict:
    """Words the verdict on a demo's figures.

    Args:
        figures: The content of `result.json`; `accuracy`, `leakage` and `obfuscation` are used.

    Does not guarantee: that a stronger attack would not rebuild more. It words one measurement.
    """
    leakage, accuracy = figures["leakage"], figures["accuracy"]
    normalised = leakage["normalised"]
    answers = (
        f"The backend's answers are right for {percent(accuracy['obfuscated'])} of obfuscated samples "
        f"({percent(accuracy['raw'])} of raw ones)"
    )
    attack, level = leakage["attack"], leakage["threat_level"]
    who = f"whoever knows the obfuscation network ({attack} attack, threat level {level})"
    floor, ceiling = similarity(leakage["floor_ssim"]), similarity(leakage["raw_ssim"])
    if not _attack_is_able(leakage):
        return Verdict(
            grade="unknown",
            conclusion="This run cannot tell what is hidden",
            sentence=(
                f"{answers}. On {leakage['samples']:,} raw samples the {attack} attack (threat level "
                f"{level}) did not do clearly better (SSIM\u00a0{ceiling}) than a guess from the label alone "
                f"({floor}): it is too weak to judge by, or they are too few."
            ),
            place=None,
        )
    between = (
        f"from what the label alone tells (SSIM\u00a0{floor}) "
        f"to what the raw sample gives the same attack ({ceiling})"
    )
    rebuilt = f"SSIM\u00a0{similarity(leakage['ssim'])}"
    if normalised > LOW:
        measured = f"rebuilds {percent(normalised, 0)} of the way {between}"
    elif normalised > 0:
        measured = f"gets only {percent(normalised, 0)} of the way {between}"
    else:
        measured = f"gets no nearer ({rebuilt}) than the label alone ({floor}; raw: {ceiling})"
    grade, conclusion = _conclude(normalised, figures["obfuscation"]["protection"])
    joint = "; but " if grade == "high" else "; "
    detail = f": {rebuilt}." if normalised > 0 else "."
    return Verdict(
        grade=grade,
        conclusion=conclusion,
        sentence=f"{answers}{joint}{who} {measured}{detail}",
        place=min(max(normalised, 0.0), 1.0),
    )


def compare_with_device_only(accuracy: dict[str, Any]) -> str:
    """What the device-only classifier means for this case, in two sentences.

    Args:
        accuracy: The `accuracy` part of the figures.
    """
    alone, remote, samples = accuracy["device_only"], accuracy["obfuscated"], accuracy["samples"]
    pooled = (alone + remote) / 2
    # Twice the standard error of a difference of two shares: what this many samples can tell apart.
    margin = 2 * math.sqrt(2 * pooled * (1 - pooled) / samples)
    figures = f"{percent(alone)} against {percent(remote)} for obfuscated samples through the backend"
    only = "here remote inference buys only the confidentiality of the backend's model, no accuracy."
    if alone >= remote:
        return (
            f"A classifier of the same cost, run on the device, is at least as accurate ({figures}): {only}"
        )
    if remote - alone <= margin:
        return (
            "A classifier of the same cost, run on the device, is as accurate "
            f"as {samples:,} samples can tell ({figures}): {only}"
        )
    points = f"{(remote - alone) * 100:.1f}"
    return (
        f"A classifier of the same cost, run on the device, is {points} points less accurate ({figures}): "
        "that is what remote inference buys here, besides the confidentiality of the backend's model."
    )


def _attack_is_able(leakage: dict[str, Any]) -> bool:
    normalised = leakage["normalised"]
    return (
        normalised is not None and math.isfinite(normalised) and leakage["raw_ssim"] > leakage["floor_ssim"]
    )


def _conclude(normalised: float, protection: str) -> tuple[str, str]:
    subject = (
        "As published, the obfuscation" if protection == "published" else f"The “{protection}” obfuscation"
    )
    if normalised > NEARLY_ALL:
        return "high", f"{subject} hides almost nothing"
    if normalised > HIGH:
        return "high", f"{subject} hides little"
    if normalised > LOW:
        return "middle", f"{subject} hides a part, and a good deal still shows"
    return "low", f"{subject} gave this attack little beyond the label"
