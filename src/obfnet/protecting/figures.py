"""What `protect` measures of the pool that it made, and how it is told."""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.attacks.known_network import KnownNetwork
from obfnet.auditing.ray_engine import RayEngine
from obfnet.auditing.run import audit_into, subject_of_bundles
from obfnet.auditing.settings import AuditSettings
from obfnet.bundle import Pool
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.data.rows import AnyRows, mapped
from obfnet.edge import ObfuscationSession
from obfnet.models.source import Model
from obfnet.models.understand import Understood
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.protecting.memory import device_bytes
from obfnet.protecting.samples import PARTS
from obfnet.protecting.settings import ProtectSettings
from obfnet.training.classifier import accuracy, answers
from obfnet.training.device_only import train_device_only
from obfnet.training.recipes import inference_recipe

_TIMED: Final = 200
_CLOSEST: Final = ("closest_attack", "closest_threat_level", "closest_ssim", "closest_leakage")
_ATTRIBUTE: Final = ("attribute", "accuracy", "interval", "raw_accuracy", "chance", "attack", "threat_level")


def audit_settings(settings: ProtectSettings) -> AuditSettings:
    """How a pool is audited; raises `UnknownNameError` for an attack that there is not."""
    return AuditSettings(budget=settings.budget, attacks=settings.attacks, seed=settings.seed)


def measure(
    dataset: Dataset,
    pool: Pool,
    settings: ProtectSettings,
    understood: Understood,
    opened: Model,
    folder: Path,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Accuracies on the test samples, cost, and the audit of the pool's first network.

    Args:
        dataset: The samples; only test samples are scored.
        pool: What was made.
        settings: As it was asked for.
        understood: The model as it was understood.
        opened: The model.
        folder: Where `audit.json` and `report.html` go.
        progress: Told of every step.
        command: For the audit's document.

    Returns:
        The content of `result.json`, less time, seed and versions.

    Raises:
        AttackError: no attack of the audit passed its controls.
        OutputError: `folder` cannot be written.
    """
    wire, manifest = understood.spec, pool.bundles[0].manifest
    raw, labels = mapped(dataset.test.samples, as_unit), dataset.test.labels

    def shares(sent: AnyRows) -> tuple[float, float]:
        given = answers(understood.view, sent)
        return float((given == labels).mean()), float((given == of_raw).mean())

    of_raw = answers(understood.view, raw)
    # As a device sends them that keeps to what its bundle promises.
    both = {bundle.name: shares(KnownNetwork.of(bundle).in_turn(raw)) for bundle in pool.bundles}
    each = {name: right for name, (right, _) in both.items()}
    recipe = inference_recipe(dataset.spec, "device-only", epochs=settings.device_only_epochs)
    if settings.device_only_epochs is None and (settings.epochs or 0) > recipe.schedule.epochs:
        # A rival that is trained less than the obfuscation networks is none.
        recipe = inference_recipe(dataset.spec, "device-only", epochs=settings.epochs)
    rival = train_device_only(
        dataset,
        manifest.macs,
        recipe=recipe,
        seed=settings.seed,
        folder=folder / "device-only",
        progress=progress,
    )
    some = wire.to_wire(as_unit(dataset.test.samples[:_TIMED]))
    session, latency = ObfuscationSession(pool.bundles[0]), []
    for row in range(len(some)):
        begun = time.perf_counter()
        session.obfuscate(some[row : row + 1])
        latency.append(time.perf_counter() - begun)
    useful = {
        "measured_as": "accuracy" if settings.labels else "agreement with the model",
        "accuracy": {
            "raw": float((of_raw == labels).mean()),
            "obfuscated": float(np.mean(list(each.values()))),
            "obfuscated_worst": min(each.values()),
            "obfuscated_each": each,
            "agreement": float(np.mean([agreed for _, agreed in both.values()])),
            "device_only": accuracy(rival, dataset.test),
            "device_only_parameters": count_parameters(rival),
            "device_only_macs": count_macs(rival, dataset.spec.input.unit_shape),
            "device_only_epochs": recipe.schedule.epochs,
            "samples": len(labels),
        },
        "obfuscation": {
            "protection": manifest.protection,
            "architecture": manifest.architecture,
            "hidden": manifest.hidden,
            "count": len(pool.bundles),
            "parameters": manifest.parameters,
            "macs": manifest.macs,
            "latency_us": float(np.median(latency) * 1e6),
            "resident_bytes": device_bytes(pool.bundles[0]),
        },
    }
    how = audit_settings(settings)
    audit = audit_into(
        folder,
        subject_of_bundles(list(pool.bundles), dataset, understood.view, how),
        how,
        about={
            "command": command,
            "source": "pool",
            "case": dataset.spec.name,
            "split": dataset.split,
            "reproduce": [command],
        },
        progress=progress,
        useful=useful,
        engine=RayEngine(address=settings.address, workers=settings.workers)
        if settings.engine == "ray"
        else None,
    )
    headline = audit["headline"]
    size = int(some[0].nbytes)
    return {
        "model": {
            "source": opened.kind,
            "title": opened.title,
            "id": opened.identity,
            "parameters": count_parameters(opened.module),
            # What the numbers in an answer stand for. Without labels nobody checked the order.
            "classes": list(dataset.spec.classes) if settings.labels else None,
            "worked_out": list(understood.notes),
        },
        **useful,
        "leakage": {
            "ssim": headline["ssim"],
            "floor_ssim": headline["floor_ssim"],
            "raw_ssim": headline["raw_ssim"],
            "attack": headline["attack"],
            "threat_level": headline["threat_level"],
            "normalised": headline["normalised_leakage"],
            "normalised_interval": headline["normalised_leakage_interval"],
            "normalised_p95": headline["normalised_leakage_p95"],
            **{name: headline[name] for name in _CLOSEST},
            "verdict": headline["verdict"],
            "attacks_run": len(audit["attacks"]),
            "attacks_counted": sum(one["counted"] for one in audit["attacks"]),
            "reduced_to": audit["subject"]["reduced_to"],
            "sent_kept": audit["subject"]["sent_kept"],
        },
        "attribute": None
        if (speaks := audit["attribute"]) is None
        else {name: speaks[name] for name in _ATTRIBUTE},
        "budget_bits": manifest.budget_bits,
        "request_bytes": {"raw": size, "obfuscated": size},
        "samples": {part: len(getattr(dataset, part).labels) for part in PARTS},
        "skipped": list(dataset.skipped),
    }


def report_lines(figures: dict[str, Any]) -> list[str]:
    """What a user should know of the figures, for people."""
    right, leaked, cost = figures["accuracy"], figures["leakage"], figures["obfuscation"]
    bits = figures["budget_bits"]
    ceiling = "no ceiling on what a request can leak" if bits is None else f"at most {bits:g} bits a request"
    network = f"{cost['architecture']}({cost['hidden']})"
    memory = cost["resident_bytes"]
    resident = "" if memory is None else f", {memory / 2**20:.1f} MiB of memory beside the runtime"
    return [
        *figures["model"]["worked_out"],
        f"{figures['measured_as']} on {right['samples']} test samples: raw {right['raw']:.2%}, "
        f"obfuscated {right['obfuscated']:.2%} (worst network {right['obfuscated_worst']:.2%}), "
        f"device-only classifier of the same cost {right['device_only']:.2%}",
        f"guarantee: {ceiling}",
        f"measured: {leaked['verdict']}",
        *_recognised(figures["attribute"]),
        f"O: {network}, {cost['parameters']:,} parameters, {cost['macs']:,} MACs, "
        f"{cost['latency_us']:.0f} us a sample{resident}",
    ]


def _recognised(speaks: dict[str, Any] | None) -> list[str]:
    if speaks is None:
        return []
    attack = f"{speaks['attack']} attack, threat level {speaks['threat_level']}"
    return [
        f"{speaks['attribute']} recognised from obfuscated samples: {speaks['accuracy']:.1%} ({attack}; "
        f"from raw ones {speaks['raw_accuracy']:.1%}, chance {speaks['chance']:.1%})"
    ]
