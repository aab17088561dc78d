"""Content of an `audit.json`, made up, and samples to show: hardly a number is there twice."""

from typing import Any

import numpy as np

from obfnet.report.audit_page import AuditPictures, verdict

LEVELS = {"decoder": "T2", "ridge": "T2", "few-pair": "T3", "unpaired": "T0", "brittle": "T2"}


def attack(name: str, mean: float, **changes: Any) -> dict[str, Any]:
    """An attack that passed its controls."""
    return {
        "name": name,
        "threat_level": LEVELS.get(name, "T2"),
        "citation": f"Somebody et al. 2019, A paper about {name}.",
        "assumes": f"That {name} works.",
        "counted": True,
        "reason": None,
        "controls": {
            "identity": {"gain": 0.4123, "interval": [0.401, 0.422], "passed": True},
            "constant": {"gain": -0.0011, "interval": [-0.004, 0.0021], "passed": True},
        },
        "figures": {
            "ssim": {
                "mean": 0.35 + mean / 2,
                "interval": [0.33 + mean / 2, 0.37 + mean / 2],
                "worst": 0.9871,
                "p95": 0.95,
            },
            "mse": {"mean": 0.0123, "interval": [0.0119, 0.0127], "worst": 0.0004, "p95": 0.001},
            "psnr_db": {"mean": 21.345, "interval": [21.21, 21.52], "worst": 33.5, "p95": 30.1},
        },
        "floor": {"ssim": 0.3517, "mse": 0.0532, "psnr_db": 12.75},
        "raw": {"ssim": 0.8831, "mse": 0.0042, "psnr_db": 24.25},
        "normalised": {
            "mean": mean,
            "interval": [mean - 0.02, mean + 0.03],
            "p95": min(1.0, mean + 0.13),
            "share_over_half": 0.9871 if mean > 0.5 else 0.0123,
        },
        "seeds": 3,
        "seconds": 61.25,
        **changes,
    }


def headline_of(mean: float | None, **changes: Any) -> dict[str, Any]:
    """A headline of the decoder."""
    able = mean is not None
    return {
        "normalised_leakage": mean,
        "normalised_leakage_interval": [mean - 0.02, mean + 0.03] if mean is not None else None,
        "normalised_leakage_p95": 0.9567 if able else None,
        "share_over_half": 0.9871 if able else None,
        "attack": "decoder" if able else None,
        "threat_level": "T2",
        "ssim": 0.8126,
        "floor_ssim": 0.3517,
        "raw_ssim": 0.8831,
        "closest_attack": "decoder" if able else None,
        "closest_threat_level": "T2" if able else None,
        "closest_ssim": 0.8126 if able else None,
        "closest_leakage": mean,
        **changes,
    }


def subject_of(**changes: Any) -> dict[str, Any]:
    """A pool on MNIST."""
    return {
        "name": "mnist-pool",
        "kind": "pictures",
        "case": "mnist",
        "split": "official",
        "source": "pool",
        "samples": {"attacker": 60_123, "scored": 2_345},
        "duplicates_removed": 0,
        "warnings": [],
        **changes,
    }


def audit_result() -> dict[str, Any]:
    """The whole of it: published obfuscation on digits."""
    headline, subject = headline_of(0.8312), subject_of()
    failed = {
        "identity": {"gain": 0.0007, "interval": [-0.002, 0.0033], "passed": False},
        "constant": {"gain": 0.0002, "interval": [-0.003, 0.0031], "passed": True},
    }
    return {
        "format_version": 1,
        "command": "obfnet audit pool --case mnist --out audit",
        "seed": 4711,
        "versions": {"python": "3.11.7", "obfnet": "0.1.0", "numpy": "2.4.6"},
        "machine": {"system": "Linux", "architecture": "x86_64", "processor": "AMD EPYC", "cores": 2},
        "subject": subject,
        "budget": "standard",
        "threat_level": "T3",
        "complete": True,
        "headline": headline | {"verdict": verdict(headline, subject)},
        "attacks": [
            attack("unpaired", 0.1142),
            attack("ridge", 0.7421),
            attack("decoder", 0.8312),
            attack("few-pair", 0.5512),
            attack("brittle", 0.0, counted=False, reason="no better than the mean sample on the identity")
            | {"controls": failed, "normalised": None},
            attack("late", 0.0, counted=False, reason="its time limit of 60 s was over")
            | {"controls": None, "figures": {}, "floor": {}, "raw": {}, "normalised": None, "seeds": 0},
        ],
        "learning_curve": [
            {"pairs": 1, "ssim": 0.3611, "interval": [0.35, 0.372], "normalised": 0.0177},
            {"pairs": 10, "ssim": 0.4422, "interval": [0.41, 0.47], "normalised": 0.1703},
            {"pairs": 100, "ssim": 0.6133, "interval": [0.59, 0.63], "normalised": 0.4923},
            {"pairs": 1000, "ssim": 0.7544, "interval": [0.745, 0.76], "normalised": 0.7578},
        ],
        "attribute": {
            "attribute": "speaker",
            "chance": 0.1723,
            "attacks": [
                {
                    "name": "linear-probe",
                    "on": "received",
                    "accuracy": 0.9512,
                    "interval": [0.92, 0.97],
                    "raw_accuracy": 0.9634,
                    "counted": True,
                },
                {
                    "name": "attribute-probe",
                    "on": "received",
                    "accuracy": 0.9876,
                    "interval": [0.97, 0.99],
                    "raw_accuracy": 0.9934,
                    "counted": True,
                },
                {
                    "name": "boosted-trees",
                    "on": "reconstruction",
                    "accuracy": 0.8822,
                    "interval": [0.86, 0.9],
                    "raw_accuracy": 0.9434,
                    "counted": False,
                },
            ],
            "accuracy": 0.9876,
            "raw_accuracy": 0.9934,
            "attack": "attribute-probe",
        },
        "reidentification": [
            {
                "candidates": 100,
                "k": 1,
                "rate": 0.9911,
                "interval": [0.98, 1.0],
                "chance": 0.01,
                "attack": "matching",
            },
            {
                "candidates": 1000,
                "k": 10,
                "rate": 0.9722,
                "interval": [0.96, 0.98],
                "chance": 0.01,
                "attack": "matching",
            },
        ],
        "linkability": {
            "same_sample_auc": 0.9933,
            "same_sample_interval": [0.99, 0.996],
            "same_attribute_auc": None,
            "same_attribute_interval": None,
        },
        "guarantee": {
            "budget_bits": None,
            "statement": "Nothing bounds what an obfuscated sample tells.",
            "assumptions": [],
            "does_not_cover": ["A backend that answers wrongly on purpose."],
        },
        "model_confidentiality": {
            "substitute": [
                {
                    "knowledge": "public samples",
                    "queries": 0,
                    "answers": "none",
                    "bundles": False,
                    "agreement": 0.9412,
                    "agreement_interval": [0.93, 0.95],
                    "agreement_obfuscated": 0.9412,
                    "agreement_obfuscated_interval": [0.93, 0.95],
                    "noise": 0.05,
                    "transfer": 0.4112,
                    "transfer_interval": [0.38, 0.44],
                },
                {
                    "knowledge": "plus bundles",
                    "queries": 0,
                    "answers": "none",
                    "bundles": True,
                    "agreement": 0.9433,
                    "agreement_interval": [0.935, 0.952],
                    "agreement_obfuscated": 0.9433,
                    "agreement_obfuscated_interval": [0.935, 0.952],
                    "noise": 0.05,
                    "transfer": 0.5213,
                    "transfer_interval": [0.49, 0.55],
                },
                {
                    "knowledge": "plus 1,000 answers",
                    "queries": 1_000,
                    "answers": "labels",
                    "bundles": False,
                    "agreement": 0.9744,
                    "agreement_interval": [0.97, 0.98],
                    "agreement_obfuscated": 0.9744,
                    "agreement_obfuscated_interval": [0.97, 0.98],
                    "noise": 0.05,
                    "transfer": 0.6214,
                    "transfer_interval": [0.59, 0.65],
                },
            ],
            "membership": {"auc": 0.5123, "interval": [0.48, 0.54]},
        },
        "reproduce": ["obfnet audit pool --case mnist --seed 4711 --out audit"],
    }


def audit_pictures(
    *shape: int, received: tuple[int, ...] | None = None, worst: int = 3, average: int = 2
) -> AuditPictures:
    """Random samples of a shape; what the backend receives may have another."""
    random = np.random.default_rng(0)
    count = worst + average
    raw, reconstructed, floor = (random.random((count, *shape), dtype=np.float32) for _ in range(3))
    return AuditPictures(
        raw=raw,
        obfuscated=random.random((count, *(received or shape)), dtype=np.float32),
        reconstructed=reconstructed,
        floor=floor,
        normalised=np.linspace(0.97, 0.61, count),
        worst=worst,
        order="3 of 2,345 that leak most, and 2 nearest to the mean",
    )
