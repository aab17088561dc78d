"""Rows of the results page about networks that somebody brought, from `protect`'s result files."""

from typing import Any

from obfnet.report.operating_rows import Rows


def attribute_rows(figures: dict[str, Any]) -> Rows:
    """How often a private attribute is recognised; none where no attribute was looked for."""
    speaks = figures.get("attribute")
    if speaks is None:
        return []
    what = f"{speaks['attribute']} recognised from obfuscated ({speaks['attack']}, {speaks['threat_level']})"
    beside = f"from raw {speaks['raw_accuracy']:.1%}, chance {speaks['chance']:.1%}"
    return [(what, f"{speaks['accuracy']:.1%}; {beside}")]


def protect_rows(figures: dict[str, Any]) -> Rows:
    """What one run of `protect` found; rows that an older file lacks are left out."""
    right, leaked, cost = figures["accuracy"], figures["leakage"], figures["obfuscation"]
    attack = f"{leaked['attack']}, {leaked['threat_level']}"
    return [
        (f"{figures['measured_as']}, raw; test samples", f"{right['raw']:.2%}; {right['samples']}"),
        (
            f"{figures['measured_as']}, obfuscated (mean, worst of {cost['count']})",
            f"{right['obfuscated']:.2%}, {right['obfuscated_worst']:.2%}",
        ),
        (f"{figures['measured_as']}, device-only classifier of O's cost", f"{right['device_only']:.2%}"),
        (
            f"SSIM rebuilt from obfuscated; from the label; from raw ({attack})",
            f"{leaked['ssim']:.3f}; {leaked['floor_ssim']:.3f}; {leaked['raw_ssim']:.3f}",
        ),
        (f"normalised leakage ({attack})", f"{leaked['normalised']:.3f}"),
        *_closest_rows(leaked),
        *_agreement_rows(right),
        *attribute_rows(figures),
        ("what the audit says", leaked["verdict"]),
        *_audited_rows(leaked),
        ("guaranteed ceiling", "none" if (bits := figures["budget_bits"]) is None else f"{bits:g} bits"),
        ("O: parameters, multiply-accumulates", f"{cost['parameters']:,}, {cost['macs']:,}"),
        *_memory_rows(figures),
        (
            "minutes of the last run, which found its pool trained"
            if figures.get("pool_reused")
            else "minutes from the model to the report",
            f"{figures['seconds']['total'] / 60:.1f}",
        ),
    ]


def _agreement_rows(right: dict[str, Any]) -> Rows:
    if (same := right.get("agreement")) is not None:
        yield "same answer as to the raw sample", f"{same:.2%}"


def _closest_rows(leaked: dict[str, Any]) -> Rows:
    if (closest := leaked.get("closest_attack")) is not None and closest != leaked["attack"]:
        attack = f"{closest}, {leaked['closest_threat_level']}"
        yield (
            f"closest guesses: SSIM; normalised leakage ({attack})",
            f"{leaked['closest_ssim']:.3f}; {leaked['closest_leakage']:.3f}",
        )


def _audited_rows(leaked: dict[str, Any]) -> Rows:
    if "attacks_run" not in leaked:
        return
    yield (
        "attacks counted (their controls passed), run",
        f"{leaked['attacks_counted']}, {leaked['attacks_run']}",
    )
    if leaked["sent_kept"] is not None:
        yield (
            "of what differs between sent pictures, left to attackers by averaging",
            f"{leaked['sent_kept']:.0%}",
        )


def _memory_rows(figures: dict[str, Any]) -> Rows:
    resident, training = figures["obfuscation"].get("resident_bytes"), figures.get("training_peak_bytes")
    if resident is not None:
        yield "memory of O on a device, beyond the runtime", f"{resident / 2**20:.1f} MiB"
    if training is not None:
        yield "most memory until O was trained", f"{training / 2**30:.2f} GiB"


def classifier_rows(figures: dict[str, Any]) -> Rows:
    """Classifiers of several exporters, a row each, and one classifier in three forms."""
    told = (
        "accuracy raw by ONNX Runtime, by the executor; obfuscated; device-only; scores at most so far apart"
    )
    rows = [(f"{figures['samples']['test']} test samples, {figures['budget_bits']} bits", told)]
    for one in figures["classifiers"]:
        right = f"{one['accuracy_onnxruntime']:.1%}"
        if "refusal" in one:
            # The first operator that is named.
            right += f"; refused: {one['refusal'].partition(', got ')[2].partition(')')[0]})"
        else:
            right += f", {one['accuracy_executor']:.1%}; {one['accuracy_obfuscated']:.1%}; "
            right += f"{one['accuracy_device_only']:.1%}; {one['greatest_score_difference']:.0e}"
        rows.append((f"{one['family']} ({one['exporter']}; opset {one['opset']})", right))
    for name, one in figures["three_forms"].items():
        what = (
            f"one CNN as {name}: raw; obfuscated; greatest difference of its gradients to torch's, relative"
        )
        apart = f"{one['greatest_gradient_difference']:.0e}"
        rows.append((what, f"{one['accuracy_raw']:.2%}; {one['accuracy_obfuscated']:.2%}; {apart}"))
    return rows
