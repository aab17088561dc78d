"""Where workers of a cluster find somebody's model and samples, to train on them what the driver would."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, final

from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.data.case import Dataset
from obfnet.models.source import open_model
from obfnet.models.wishes import Wishes
from obfnet.protecting.inference import as_inference
from obfnet.protecting.samples import prepared_samples
from obfnet.protecting.settings import ProtectSettings
from obfnet.training.inference import InferenceNetwork
from obfnet.training.ray_engine import Source, absolute


@final
@dataclass(frozen=True, kw_only=True)
class ProtectSource(Source):
    """A model and samples as they were given to `protect`.

    Args:
        model: A factory's name or an absolute path.
        data: A case's name or an absolute path.
        wishes: What the user says of the model.
        settings: How it is protected.
        data_dir: Folder with the data sets of the built-in cases.
        skip_bad: Whether samples that cannot be read are left out.
    """

    model: str
    data: str
    wishes: Wishes
    settings: ProtectSettings
    data_dir: Path | None
    skip_bad: bool

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        inference: InferenceNetwork,
        *,
        model: object,
        data: object,
        wishes: Wishes,
        settings: ProtectSettings,
        data_dir: Path | None,
        skip_bad: bool,
    ) -> Self:
        """Where workers find the same that this process has.

        Args:
            dataset: As it was prepared here.
            inference: Likewise.
            model: As `protect` took it.
            data: Likewise.
            wishes: Likewise.
            settings: Likewise.
            data_dir: Likewise.
            skip_bad: Likewise.

        Raises:
            UsageError: a model or samples that live in this process only.
        """
        check_findable(model, data)
        return cls(
            model=absolute(str(model)),
            data=absolute(str(data)),
            wishes=wishes,
            # Where it is done decides nothing of what comes out, and workers start no cluster.
            settings=replace(settings, engine="local", address=None, workers=None),
            data_dir=None if data_dir is None else data_dir.absolute(),
            skip_bad=skip_bad,
            fingerprint=dataset.fingerprint,
            inference_id=inference.card.id,
            wire=inference.card.input,
        )

    def load(self) -> tuple[Dataset, InferenceNetwork]:
        """As `Source.load`; the model is this process's own, and stays frozen."""
        opened = open_model(self.model)
        opened.module.eval().requires_grad_(False)
        dataset, understood = prepared_samples(
            opened, self.data, self.wishes, self.settings, self.data_dir, self.skip_bad, Silent()
        )
        return dataset, as_inference(opened, understood, dataset, Path(self.data))


def check_findable(model: object, data: object) -> None:
    """Raises `UsageError` where workers could not open a model or samples by themselves."""
    for what, given, remedy in (
        ("a model", model, "give package.module:callable, or a file that torch.export.save wrote"),
        ("samples", data, "give a folder, a CSV file or a case's name"),
    ):
        if not isinstance(given, str | Path):
            raise UsageError(
                f"{what} that workers of a cluster can open themselves, with engine ray",
                type(given).__name__,
                f"{remedy}, or engine local",
            )
