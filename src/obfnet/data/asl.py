"""American sign language: colour photographs of 29 hand signs at 64x64, the paper's hardest case.

The photographs are frames of a few films, so that a random split puts near-duplicates on both sides; the
`scene` split tests on photographs of other scenes. The paper used another photo set of the same classes.
"""

import re
from functools import partial
from typing import Final

from obfnet.data.archived import archived_table, decode_photo, photo_input
from obfnet.data.case import CaseSpec, Loading, Recipe
from obfnet.data.fetch import FileSpec
from obfnet.data.prepared import Entry
from obfnet.data.table import TEST, TRAIN, SplitRule, Table

SIZE: Final = 64
_CLASSES: Final = (*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "del", "nothing", "space")
_MEMBER: Final = re.compile(r"asl_alphabet_(train|test)/([^/]+)/\D*(\d*)\D*\.jpg")
# Frames of a film are numbered; fifty neighbours are taken for one scene.
_FRAMES_A_GROUP: Final = 50
_DECODING: Final = 1

CASE: Final = CaseSpec(
    name="asl",
    title="American sign language alphabet, photographs 64x64",
    input=photo_input(SIZE),
    classes=_CLASSES,
    source="a public ASL alphabet photo set; the full-size one is grassknoted/asl-alphabet on Kaggle",
    licence="Apache-2.0, as redistributed",
    loader="obfnet.data.asl:load",
    inference={"compact": "compact", "residual": "residual", "mlp": "asl-mlp", "cnn": "asl-cnn"},
    obfuscation={"conv": "conv", "mlp": "asl-mlp", "cnn": "asl-cnn"},
    splits=(
        SplitRule(
            name="scene",
            about="photographs of other scenes than the training ones",
            validation_by_group=True,
        ),
        SplitRule(
            name="random",
            about="a random tenth of the training photographs: near-duplicates on both sides, which flatters",
            test="random",
        ),
    ),
    note="another photo set of the same 29 signs than the paper's, at 64x64",
    how_to_get="get the photo set from its publisher and give its folder with --data-dir",
    recipe=Recipe(
        inference_epochs={"": 14.0},
        obfuscation_epochs=10.0,
        optimiser="sgd",
        # Signs are made with either hand, and of other scenes nothing is known: wide changes.
        augmentation=("flip", "affine", "colour", "erase"),
        # Through wider changes a fresh O finds no first step at this size: its loss stays at chance.
        obfuscation_augmentation=("flip", "crop"),
    ),
    files=(
        FileSpec(
            name="asl_alphabet_64.zip",
            sha256="df347a9ad994f66b305b24feed1172e610a8a2581c80185d8aae044c3228eb35",
            size_bytes=66_496_874,
        ),
    ),
    any_file=True,
    extra="train",
)


def load(spec: CaseSpec, files: Loading) -> Table:
    """All photographs.

    Args:
        spec: `CASE`.
        files: The archive.

    Returns:
        29,000 training and 870 test samples, `(N, 3, 64, 64)` uint8; groups are runs of film frames.

    Raises:
        DataError: a photograph cannot be read, or the archive is another.
    """
    folders = ("asl_alphabet_train", "asl_alphabet_test")
    return archived_table(
        spec,
        files,
        _entry,
        partial(decode_photo, size=SIZE),
        folders=folders,
        version=_DECODING,
        count=29_870,
    )


def _entry(name: str) -> Entry | None:
    found = _MEMBER.fullmatch(name)
    if found is None or found[2] not in _CLASSES:
        return None
    label, number = _CLASSES.index(found[2]), int(found[3] or 0)
    part = TRAIN if found[1] == "train" else TEST
    return Entry(name=name, label=label, part=part, group=number // _FRAMES_A_GROUP)
