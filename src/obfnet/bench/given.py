"""Trained inference networks that a benchmark is given instead of training its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from obfnet.bench.grid import Row, cells
from obfnet.core.errors import UsageError
from obfnet.data.cases import case_spec
from obfnet.training.inference import InferenceNetwork, load_inference

Given = Mapping[tuple[str, str, str, int], InferenceNetwork]
"""Case, split, the case's name of the architecture and the seed, to the network."""


def network_of(row: Row) -> tuple[str, str, str]:
    """What a row's inference network goes by: case, split, and the case's name of its architecture."""
    return row.case, row.split, row.inference


def given_networks(texts: Sequence[str], rows: Sequence[Row], *, seed: int) -> Given:
    """The networks that a user names, each for the rows of its case, split and architecture.

    Args:
        texts: `CASE/SPLIT/ARCHITECTURE=FOLDER` each.
        rows: Of the grid.
        seed: Added to each row's seeds; a network serves the cells of the seed that it was trained with.

    Raises:
        UsageError: a text that is none of these, no row's network, or a folder with another network.
        TrainingError: a folder's network is damaged.
    """
    given: dict[tuple[str, str, str, int], InferenceNetwork] = {}
    wanted = {(*network_of(cell.row), cell.seed) for cell in cells(rows, seed=seed)}
    for text in texts:
        named, _, folder = text.partition("=")
        case, split, architecture = ([*named.split("/"), "", ""] if named else ["", "", ""])[:3]
        if (
            not folder
            or named.count("/") != 2
            or (case, split, architecture) not in {key[:3] for key in wanted}
        ):
            raise UsageError("CASE/SPLIT/ARCHITECTURE=FOLDER of a row of the grid", repr(text), "name one so")
        network = load_inference(Path(folder))
        card = network.card
        registered = case_spec(case).inference_architecture(architecture)
        key = (case, split, architecture, card.seed)
        if (card.case, card.split, card.architecture) != (case, split, registered) or key not in wanted:
            raise UsageError(
                f"a network of {named} with a seed of the grid in {folder}",
                f"one of {card.case}/{card.split}/{card.architecture} with seed {card.seed}",
                "give another --inference",
            )
        given[key] = network
    return given
