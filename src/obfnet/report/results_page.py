"""Documents take their figures from the committed result files; this writes them there.

`python -m obfnet.report.results_page results docs/results.md README.md` rewrites the results page and the
README's block of figures. A test holds both against the files.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import DataError
from obfnet.core.files import write_atomic
from obfnet.report.operating_rows import (
    Rows,
    edge_rows,
    fleet_rows,
    monitor_rows,
    serving_rows,
    training_rows,
)
from obfnet.report.protect_rows import attribute_rows, classifier_rows, protect_rows

_BEGIN: Final = "<!-- figures: begin -->"
_END: Final = "<!-- figures: end -->"


def results_page(results: Path) -> str:
    """The results page in Markdown.

    Args:
        results: Folder with `demo.json`, `demo-fsd.json` and alike, `privacy.json`, `audit.json`,
            `audit-model.json`, `protect-onnx.json`, `monitor-mnist.json` and alike, `training.json`,
            `training-defaults.json`, `fleet.json`, `serving.json`, `edge.json`; of one that is missing the
            page says that it was not measured.

    Raises:
        DataError: a file is no result.
    """
    parts = [
        "# Results",
        "",
        "Written by `make docs` from the files in `results/`. Each names the command that made it, its seed,",
        "versions and machine. Times are of one machine and mean something only beside their reference;",
        "medians, with the 5th to the 95th percentile.",
        "",
    ]
    for title, name, rows in (
        ("The main job", "demo", _demo_rows),
        ("Spoken digits", "demo-fsd", _demo_rows),
        ("Sign language, other scenes", "demo-asl", _demo_rows),
        ("Sign language, random split (near-duplicates on both sides)", "demo-asl-random", _demo_rows),
        ("CIFAR-10", "demo-cifar10", _demo_rows),
        ("What leaks: audits of published obfuscation", "privacy", _privacy_rows),
        ("What leaks: the same with the budget `quick`, more cases", "privacy-quick", _privacy_rows),
        ("The audit, judged by obfuscations whose leakage is known", "audit", _audit_rows),
        ("What a bundle of digits tells about the inference network", "audit-model", _model_rows),
        ("A network that nobody here trained, digits", "protect-digits", protect_rows),
        ("The same again, beside other work on the machine", "protect-digits-labelled", protect_rows),
        ("The same without labels", "protect-digits-unlabelled", protect_rows),
        ("A deep network of 224 pixels, hand signs of other scenes", "protect-signs", protect_rows),
        ("The same with a ceiling, a few passes", "protect-signs-coded", protect_rows),
        ("Its layers with a head for CIFAR-10, 128 pixels", "protect-objects", protect_rows),
        ("A network of waveforms at 16,000 Hz, spoken digits", "protect-spoken", protect_rows),
        ("Classifiers from several exporters, bundled digits", "protect-onnx", classifier_rows),
        ("The monitor, digits", "monitor-mnist", monitor_rows),
        ("The monitor, spoken digits", "monitor-fsd", monitor_rows),
        ("Training a fleet on Ray, digits", "fleet", fleet_rows),
        ("Training a pool of 16", "training", training_rows),
        ("Training with the defaults of `train obfuscation`", "training-defaults", training_rows),
        ("Serving, and one obfuscation on the device", "serving", serving_rows),
        ("The device's install", "edge", edge_rows),
    ):
        if not (results / f"{name}.json").exists():
            parts += [f"## {title}", "", f"Not measured yet: there is no `results/{name}.json`.", ""]
            continue
        figures = _read(results / f"{name}.json")
        parts += [
            f"## {title}",
            "",
            f"`{figures['command']}` → `results/{name}.json`",
            "",
            *_table(rows(figures)),
        ]
        processor = figures["machine"]["processor"]
        parts += [
            "",
            f"Machine: {processor}, {figures['machine']['cores']} cores; seed {figures['seed']}.",
            "",
        ]
    return "\n".join(parts)


def readme_block(results: Path) -> str:
    """The README's figures, between its two markers.

    Raises:
        DataError: `demo.json` is missing or no result.
    """
    figures = _read(results / "demo.json")
    rows = [*list(_demo_rows(figures))[:8], *_limited_rows(figures)]
    source = "From `results/demo.json`, made by `make demo`:"
    return "\n".join([_BEGIN, source, "", *_table(rows), _END])


def with_block(readme: str, block: str) -> str:
    """The README with its block of figures replaced.

    Raises:
        DataError: the markers are not there.
    """
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise DataError(f"the markers {_BEGIN} and {_END}", "none", "put them back into the README")
    return before + block + after


def main() -> None:
    """Rewrites the page and the README that the command line names."""
    results, page, readme = (Path(argument) for argument in sys.argv[1:4])
    write_atomic(page, results_page(results))
    write_atomic(readme, with_block(readme.read_text(), readme_block(results)))


def _read(path: Path) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise DataError(f"a result file {path.name}", "none that can be read", "run its command") from exc
    return figures


def _table(rows: Rows) -> list[str]:
    return ["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]


def _demo_rows(figures: dict[str, Any]) -> Rows:
    accuracy, leakage, network = figures["accuracy"], figures["leakage"], figures["obfuscation"]
    attack = f"{leakage['attack']}, {leakage['threat_level']}"
    protection, wire = network["protection"], figures["wire"]
    return [
        ("accuracy, raw", f"{accuracy['raw']:.2%}"),
        (
            f"accuracy, obfuscated (`{protection}`; mean, worst of {network['count']})",
            f"{accuracy['obfuscated']:.2%}, {accuracy['obfuscated_worst']:.2%}",
        ),
        ("accuracy, device-only classifier of O's cost", f"{accuracy['device_only']:.2%}"),
        (
            f"SSIM rebuilt from obfuscated ({attack}; mean, worst)",
            f"{leakage['ssim']:.3f}, {leakage['ssim_worst']:.3f}",
        ),
        (f"SSIM rebuilt from raw by the same attack ({attack})", f"{leakage['raw_ssim']:.3f}"),
        ("SSIM of the answered label's mean image: the floor", f"{leakage['floor_ssim']:.3f}"),
        (f"normalised leakage ({attack}; 0 = floor, 1 = raw)", f"{leakage['normalised']:.2f}"),
        (
            "guaranteed ceiling",
            "none" if figures["budget_bits"] is None else f"{figures['budget_bits']:g} bits",
        ),
        (
            "single requests, raw and obfuscated",
            f"{wire['requests']['raw']} and {wire['requests']['obfuscated']}",
        ),
        (
            "wire against local: same labels; largest score difference",
            f"{'all' if wire['same_labels'] else 'NO'}; {wire['max_score_difference']:.1e}",
        ),
        (
            "request body, raw and obfuscated",
            f"{figures['request_bytes']['raw']} and {figures['request_bytes']['obfuscated']} bytes",
        ),
        *attribute_rows(figures),
        *_limited_rows(figures),
        ("O: parameters, MACs", f"{network['parameters']:,}, {network['macs']:,}"),
        ("whole demo on this machine", f"{figures['seconds']['total']:.0f} s"),
    ]


def _baseline_rows(name: str, row: dict[str, Any]) -> Rows:
    baselines = row.get("baselines")
    if baselines is None:
        return []
    return [
        (
            f"{name}: accuracy, device-only at O's cost; a head on what is sent",
            f"{baselines['device_only']:.2%}; {baselines['head']:.2%}",
        )
    ]


def _limited_rows(figures: dict[str, Any]) -> Rows:
    limited = figures.get("limited")
    if limited is None:
        return []
    leakage, bits = limited["leakage"], f"{limited['budget_bits']:g} bits"
    attack = f"{leakage['attack']}, {leakage['threat_level']}"
    named = f"with a ceiling of {bits} (`{limited['protection']}`)"
    return [
        (f"{named}: accuracy", f"{limited['accuracy']:.2%}"),
        (
            f"{named}: SSIM rebuilt ({attack}; mean, worst)",
            f"{leakage['ssim']:.3f}, {leakage['ssim_worst']:.3f}",
        ),
        (f"{named}: SSIM of the same attack on the label alone ({attack})", f"{leakage['label_ssim']:.3f}"),
        *((f"{named}: {what}", value) for what, value in attribute_rows(limited)),
    ]


def _privacy_rows(figures: dict[str, Any]) -> Rows:
    rows = []
    for row in figures["rows"]:
        headline, accuracy, name = row["headline"], row["accuracy"], f"`{row['row']}`"
        attack = f"{headline['attack']}, {headline['threat_level']}"
        low, high = headline["normalised_leakage_interval"]
        rows += [
            (
                f"{name}: accuracy, raw and obfuscated",
                f"{accuracy['raw']:.2%}, {accuracy['obfuscated']:.2%}",
            ),
            (
                f"{name}: normalised leakage ({attack}), 95 % interval",
                f"{headline['normalised_leakage']:.3f} ({low:.3f} to {high:.3f})",
            ),
            *_baseline_rows(name, row),
            (
                f"{name}: 95th percentile of samples; share over half",
                f"{headline['normalised_leakage_p95']:.2f}; {headline['share_over_half']:.1%}",
            ),
        ]
        if headline["ssim"] is not None:
            best = max(
                (one for one in row["attacks"] if one["counted"]),
                key=lambda one: one["figures"]["ssim"]["mean"],
            )
            rows.append(
                (
                    f"{name}: best SSIM ({best['name']}, {best['threat_level']}); its floor, its raw",
                    f"{best['figures']['ssim']['mean']:.3f}; {best['floor']['ssim']:.3f}, "
                    f"{best['raw']['ssim']:.3f}",
                )
            )
        rows.append(
            (
                f"{name}: attacks counted, run",
                f"{sum(one['counted'] for one in row['attacks'])}, {len(row['attacks'])}",
            )
        )
        if row["attribute"] is not None:
            rows += [(f"{name}: {what}", value) for what, value in attribute_rows(row)]
    return rows


def _audit_rows(figures: dict[str, Any]) -> Rows:
    rows = []
    for row in figures["rows"]:
        found = [one["normalised"] for one in row["each"]]
        first = row["each"][0]
        leaked = f"{first['normalised']:.3f}" if len(found) == 1 else f"{min(found):.3f} to {max(found):.3f}"
        said = f"normalised leakage {leaked} ({first['attack']}, {first['threat_level']})"
        best = f"best SSIM {first['closest_ssim']:.3f} ({first['closest_attack']})"
        if "wiener_mse" in first:
            best += f", lowest MSE {first['lowest_mse']:.4f}, Wiener filter {first['wiener_mse']:.4f}"
        met = f"met by {row['met_seeds']} of {row['seeds']}" if row["met"] else "NOT MET"
        met = "nothing to meet" if row["met"] is None else met
        rows.append(
            (f"`{row['name']}`: {row['about']}", f"{said}; {best}; expected: {row['expected']}: {met}")
        )
    if (readings := figures["readings"]) is not None:
        each = ", ".join(
            f"{one['reading']} {one['normalised']:.3f} ({one['normalised_interval'][0]:.3f} to "
            f"{one['normalised_interval'][1]:.3f})"
            for one in readings["each"]
        )
        agree = "each in the others' intervals" if readings["agree"] else "NOT in each other's intervals"
        rows.append((f"{readings['bundle']}, read three ways (T2)", f"normalised leakage {each}: {agree}"))
    return rows


def _model_rows(figures: dict[str, Any]) -> Rows:
    measured = figures["model_confidentiality"]
    rows = [
        (
            f"substitute from {row['knowledge']}: agrees with I on raw; its adversarial examples fool I",
            f"{_share(row, 'agreement')}; {_share(row, 'transfer')}, random noise {row['noise']:.1%}",
        )
        for row in measured["substitute"]
    ]
    if (member := measured["membership"]) is not None:
        low, high = member["interval"]
        rows.append(
            (
                f"was a sample in O's training set: AUC ({member['statistic']})",
                f"{member['auc']:.3f} ({low:.3f} to {high:.3f}); without O {member['control']:.3f}",
            )
        )
    return [*rows, ("assumptions", "; ".join(measured["assumptions"]))]


def _share(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
