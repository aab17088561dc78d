"""`protect`: from somebody's model and samples to a pool of obfuscation networks, audited and reported.

Opens the model, works out what it takes, chooses an O that fits, trains it against the frozen model, attacks
what came out and says how it did. Each step is a package of its own; this module puts them in order and makes
sure that the model is given back as it came.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.errors import AttackError, ObfNetError, OutputError, TrainingError, UsageError
from obfnet.core.files import claim_output, write_json
from obfnet.core.memory import peak_bytes
from obfnet.core.progress import Progress, Silent
from obfnet.core.result import provenance
from obfnet.core.spec import Samples
from obfnet.data.case import Dataset
from obfnet.fitting.cluster import reachable
from obfnet.models.source import open_model, state_hash
from obfnet.models.wishes import Wishes
from obfnet.nets.mode import borrowed
from obfnet.protecting.choose import choose_network
from obfnet.protecting.cluster import ProtectSource, check_findable
from obfnet.protecting.figures import audit_settings, measure, report_lines
from obfnet.protecting.inference import as_inference
from obfnet.protecting.samples import Arrays, prepared_samples
from obfnet.protecting.settings import ProtectSettings
from obfnet.training.obfuscation import PoolSettings, train_pools
from obfnet.training.protections import PROTECTIONS, Protection, Purpose
from obfnet.training.ray_engine import RayEngine
from obfnet.training.recipes import obfuscation_schedule


@dataclass(frozen=True, kw_only=True, eq=False)
class Protected:
    """A pool for somebody's model, with what was measured.

    Args:
        figures: The content of `result.json`.
        folder: Where pool, result and report lie.
    """

    figures: dict[str, Any]
    folder: Path

    @property
    def report(self) -> str:
        """The figures in a few lines."""
        return "\n".join(report_lines(self.figures))

    def save(self, folder: Path | str) -> None:
        """Copies pool, `result.json`, `audit.json` and `report.html` to a folder, which must not exist.

        Raises:
            OutputError: it does, or cannot be written.
        """
        try:
            shutil.copytree(self.folder, folder)
        except OSError as exc:
            raise OutputError(
                f"to write {folder}", exc.strerror or str(exc), "give a folder that is not there yet"
            ) from exc


def protect(
    model: nn.Module | Path | str,
    data: Path | str | Arrays | Samples,
    *,
    out: Path | str | None = None,
    protection: str = "coded",
    bits: int | None = None,
    count: int = 4,
    labels: bool = True,
    wishes: Wishes | None = None,
    settings: ProtectSettings | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    command: str = "obfnet.protect(...)",
    progress: Progress | None = None,
) -> Protected:
    """Makes a pool of obfuscation networks for anybody's classifier of pictures or sounds.

    Args:
        model: A torch module, `"package.module:callable"`, or the path of an ONNX file, a `.pt2` file or a
            folder with an image classifier of transformers. It is frozen and given back as it came.
        data: A folder or CSV file of pictures or sounds, a case's name, or arrays: `(samples, labels)`; with
            `labels=False` samples alone.
        out: Folder for pool, result and report; None keeps them in a temporary one (`Protected.save`).
        protection: Registry name.
        bits: Budget of a request.
        count: Networks in the pool.
        labels: Whether labels are used.
        wishes: What the model takes, where it cannot be worked out.
        settings: Everything; the four before are then left out.
        data_dir: Folder with the data sets of the built-in cases.
        skip_bad: Whether pictures that cannot be read are left out.
        command: For the result file.
        progress: Told of every step.

    Returns:
        The pool and its figures.

    Raises:
        ModelError: the model cannot be protected, or not be understood; lists every problem found.
        MissingExtraError: a model of transformers, which is not installed.
        UsageError, DataError, TrainingError, OutputError: as training and audit raise them.

    Does not guarantee: that an obfuscated sample hides anything, unless the protection has a budget.
    """
    settings = settings or ProtectSettings(protection=protection, bits=bits, count=count, labels=labels)
    temporary = tempfile.mkdtemp(prefix="obfnet-") if out is None else None
    folder = Path(temporary or "", out or "pool")
    try:
        (made,) = protect_each(
            model,
            data,
            {folder: settings},
            wishes=wishes,
            data_dir=data_dir,
            skip_bad=skip_bad,
            command=command,
            progress=progress,
        )
        if isinstance(made, ObfNetError):
            raise made
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    return made


def protect_each(
    model: nn.Module | Path | str,
    data: Path | str | Arrays | Samples,
    wanted: Mapping[Path, ProtectSettings],
    *,
    wishes: Wishes | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    command: str = "obfnet.protect(...)",
    progress: Progress | None = None,
    begin: Callable[[], None] = lambda: None,
) -> list[Protected | ObfNetError]:
    """Makes several pools for one model: all are trained, at once on a cluster; then each is measured.

    Args:
        model: As for `protect`.
        data: Likewise.
        wanted: Folder to settings; of labels, classes and where it is done the first one's hold for all.
        wishes: As for `protect`.
        data_dir: Likewise.
        skip_bad: Likewise.
        command: Likewise.
        progress: Likewise.
        begin: Called when all is understood and nothing is trained yet.

    Returns:
        As many, in the same order; of a pool that could not be trained or measured the error.

    Raises:
        ObfNetError: as `protect`, for what is wrong for all of them.
    """
    progress = progress or Silent()
    # A wrong name must be found out before anything is loaded or trained.
    limited = {folder: limited_by(settings) for folder, settings in wanted.items()}
    for settings in wanted.values():
        audit_settings(settings)
    common = next(iter(wanted.values()))
    if common.engine == "ray":
        check_findable(model, data)
        reachable(common.address)
    opened, wishes = open_model(model), wishes or Wishes()
    begun = time.monotonic()
    before = state_hash(opened.module)
    with ExitStack() as held:
        for folder in wanted:
            held.enter_context(claim_output(folder, kind="protected"))
        held.enter_context(borrowed(opened.module))
        dataset, understood = prepared_samples(opened, data, wishes, common, data_dir, skip_bad, progress)
        for note in understood.notes:
            progress.say(f"{opened.title}: {note}")
        inference = as_inference(opened, understood, dataset, next(iter(wanted)))
        engine = None
        if common.engine == "ray":
            source = ProtectSource.of(
                dataset,
                inference,
                model=model,
                data=data,
                wishes=wishes,
                settings=common,
                data_dir=data_dir,
                skip_bad=skip_bad,
            )
            engine = RayEngine(
                source=source, address=common.address, workers=common.workers, progress=progress
            )
        key = load_or_create_coordinator_key()
        pools = {
            folder: _pool_settings(settings, limited[folder], dataset) for folder, settings in wanted.items()
        }
        begin()
        trained = train_pools(dataset, inference, pools, key=key, progress=progress, engine=engine)
        trust = Trust(explicit=(public_key_text(key),))
        peak = peak_bytes() if len(wanted) == 1 else None
        made: list[Protected | ObfNetError] = []
        for folder, settings in wanted.items():
            if isinstance(found := trained[folder], TrainingError):
                made.append(found)
                continue
            if len(wanted) > 1:
                progress.say(f"{folder.name}: measure")
                begun = time.monotonic()
            pool = read_pool(folder, trust=trust, inference_network_id=inference.card.id)
            # A pool that was there already took no memory now.
            memory = _former_peak(folder) if found.reused else peak
            try:
                figures = measure(dataset, pool, settings, understood, opened, folder, progress, command)
            except (AttackError, UsageError, TrainingError) as exc:
                made.append(exc)
                continue
            if state_hash(opened.module) != before:
                raise TrainingError("a model that training leaves alone", "other weights", "report this bug")
            figures |= {
                "training_peak_bytes": memory,
                "command": command,
                "seconds": {"total": round(time.monotonic() - begun, 2)},
                "pool_reused": found.reused,
                "seed": settings.seed,
                **provenance(),
            }
            write_json(folder / "result.json", figures)
            made.append(Protected(figures=figures, folder=folder))
    return made


def limited_by(settings: ProtectSettings) -> Protection:
    """The protection with its limits; raises `UsageError` for such as it cannot have."""
    return PROTECTIONS.get(settings.protection)(
        settings.budget_bits, epsilon=settings.epsilon, noise=settings.noise, rich_share=settings.rich_share
    )


def _former_peak(folder: Path) -> int | None:
    try:
        peak = json.loads((folder / "result.json").read_bytes())["training_peak_bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        # The command was stopped before it came to its end, or the file is another version's.
        return None
    return peak if isinstance(peak, int) else None


def _pool_settings(settings: ProtectSettings, limited: Protection, dataset: Dataset) -> PoolSettings:
    """What is trained: with the obfuscation network that fits."""
    shape = dataset.spec.input.unit_shape
    architecture, hidden = choose_network(
        limited,
        Purpose(
            shape=(shape[0], shape[1], shape[2]),
            architecture=settings.architecture,
            hidden=0,
            classes=len(dataset.spec.classes),
        ),
        hidden=settings.hidden,
        max_macs=settings.most_macs,
        max_parameters=settings.max_parameters,
    )
    return PoolSettings(
        architecture=architecture,
        hidden=hidden,
        protection=settings.protection,
        bits=settings.budget_bits,
        epsilon=settings.epsilon,
        noise=settings.noise,
        rich_share=settings.rich_share,
        count=settings.count,
        schedule=obfuscation_schedule(dataset.spec, protection=settings.protection, epochs=settings.epochs),
        seed=settings.seed,
    )
