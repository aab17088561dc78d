"""Results of the paper's grid for tests, made by the code that makes real ones from made-up measurements."""

from obfnet.bench.grid import Row
from obfnet.bench.summary import row_figures


def measured(
    *, obfuscated=0.97, device_only=0.95, tenth=None, leakage=0.8, speaker=None, hidden=100, test=10_000
):
    """What one cell measured."""
    return {
        "inference": {"architecture": "cnn", "parameters": 1_199_882, "macs": 11_992_448, "id": "ab" * 32},
        "obfuscation": {
            "architecture": "mlp",
            "hidden": hidden,
            "protection": "published",
            "parameters": 157_684,
            "macs": 156_800,
        },
        "accuracy": {
            "raw": 0.99,
            "obfuscated": obfuscated,
            "device_only": device_only,
            "device_only_tenth": tenth,
        },
        "device_only": {"parameters": 52_266, "macs": 146_464},
        "device_only_tenth": None,
        "leakage": {
            "attack": "decoder",
            "threat_level": "T2",
            "samples": test,
            "ssim": 0.8,
            "ssim_p95": 0.9,
            "ssim_worst": 0.95,
            "mse": 0.02,
            "raw_ssim": 0.93,
            "floor_ssim": 0.37,
            "normalised": leakage,
            "normalised_p95": None if leakage is None else leakage + 0.1,
            "share_over_half": None if leakage is None else 0.9,
        },
        "attribute": speaker
        and {
            "attribute": "speaker",
            "attack": "attribute-probe",
            "threat_level": "T2",
            "accuracy": speaker,
            "raw_accuracy": 0.99,
            "chance": 0.17,
            "samples": test,
        },
        "latency": {"obfuscate_us": 52.9, "bare_us": 31.9},
        "request_bytes": {"request": 3306, "float32_tensor": 3136, "jpeg": 700},
        "samples": {"train": 55_000, "validation": 5_000, "test": test},
        "epochs": {"inference": 4.0, "obfuscation": 4.0, "device_only": 4.0, "attack": 2.0},
        "given": False,
        "seconds": 60.0,
    }


def result_of(*rows, grid="full", missing=0, **more):
    """A result file of `(Row, cells by seed)` pairs."""
    made = [row_figures(row, cells) for row, cells in rows]
    return {
        "command": "obfnet bench paper",
        "grid": grid,
        "complete": missing == 0,
        "cells": missing + sum(len(row["seeds"]) for row in made),
        "missing_cells": missing,
        "skipped_cases": [],
        "rows": made,
        "seed": 0,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "machine": {"system": "Linux", "architecture": "x86_64", "processor": "some processor", "cores": 2},
        **more,
    }


def digits_by_width(widths=(8, 32, 128)):
    """Rows of two pairs on MNIST: the leakage grows with the width, and so does the accuracy."""
    rows = []
    for obfuscation in ("mlp", "cnn"):
        for place, hidden in enumerate(widths):
            row = Row(case="mnist", inference="cnn", obfuscation=obfuscation, hidden=hidden)
            better = 0.01 * (obfuscation == "cnn")
            cells = {
                seed: measured(
                    obfuscated=0.93 + 0.02 * place + better + 0.001 * seed,
                    device_only=0.95 + 0.01 * place,
                    leakage=0.4 + 0.2 * place + better + 0.01 * seed,
                    hidden=hidden,
                )
                for seed in (0, 1, 2)
            }
            rows.append((row, cells))
    return rows
