"""Free spoken digits: 3,000 clips of ten digits by six speakers, the paper's speech case.

A sample is the clip's MFCCs, 20 coefficients by 45 frames, made by the same code on the device and in
training (`mfcc`). Who speaks is the private attribute. The paper had 2,000 clips of four speakers.
"""

import re
from functools import partial
from typing import Final

from obfnet.core.spec import InputSpec
from obfnet.data.archive import Archive, content_sha256
from obfnet.data.archived import archived_table
from obfnet.data.case import CaseSpec, Loading, Recipe
from obfnet.data.fetch import FileSpec
from obfnet.data.mfcc import PREPROCESSING
from obfnet.data.prepared import Entry
from obfnet.data.sounds import decode_sound
from obfnet.data.table import TEST, TRAIN, Attribute, SplitRule, Table

SPEAKERS: Final = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_MEMBER: Final = re.compile(r"recordings/(\d)_([a-z]+)_(\d+)\.wav")
_FOLDER: Final = "recordings"
# The data set's own rule: the first five clips of each speaker and digit are for testing.
_TEST_CLIPS: Final = 5
_DECODING: Final = 1

CASE: Final = CaseSpec(
    name="fsd",
    title="Free spoken digits, MFCC 20x45",
    input=InputSpec(
        shape=(1, 20, 45),
        dtype="float32",
        low=0.0,
        high=1.0,
        layout="CHW",
        preprocessing=PREPROCESSING,
    ),
    classes=tuple("0123456789"),
    source="Jackson et al.: Free Spoken Digit Dataset",
    licence="CC BY-SA 4.0",
    loader="obfnet.data.fsd:load",
    original="obfnet.data.fsd:original",
    inference={"cnn": "fsd-cnn", "mlp": "fsd-mlp"},
    obfuscation={"mlp": "fsd-mlp", "cnn": "fsd-cnn"},
    splits=(
        SplitRule(name="official", about="the data set's own: clips 0 to 4 of each speaker and digit"),
        SplitRule(
            name="random",
            about="a random tenth of all clips, as the paper split",
            test="random-of-all",
        ),
        SplitRule(
            name="speaker", about="every clip of one speaker, whom training never heard", test="attribute"
        ),
    ),
    attribute=Attribute(name="speaker", values=SPEAKERS),
    kind="sounds",
    recipe=Recipe(
        inference_epochs={"fsd-cnn": 20.0, "": 30.0},
        obfuscation_epochs=30.0,
        augmentation=("shift", "mask"),
        obfuscation_augmentation=("shift", "mask"),
        budget_bits=8,
    ),
    files=(
        FileSpec(
            name="free_spoken_digit_dataset.zip",
            sha256="f77c5d3bfcdac32d4e764de9564a8176d5cc61b7138c2d49f5792dafd5b52755",
            size_bytes=16_157_653,
        ),
        FileSpec(
            name="free-spoken-digit-dataset-1.0.10.zip",
            sha256="04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b",
            size_bytes=64_000_000,
            url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
            hashed="obfnet.data.fsd:recordings_sha256",
        ),
    ),
    any_file=True,
    extra="train",
)


def load(spec: CaseSpec, files: Loading) -> Table:
    """All clips as MFCCs, or as waveforms.

    Args:
        spec: `CASE`, or the same with an input of waveforms.
        files: The data set's archive.

    Returns:
        3,000 samples, `(N, 1, 20, 45)` or `(N, 1, 1, T)` float32 in [0, 1], with the speaker as attribute.

    Raises:
        DataError: a clip cannot be read, or the archive is another.
    """
    decode = partial(decode_sound, spec=spec.input)
    return archived_table(spec, files, _entry, decode, folders=(_FOLDER,), version=_DECODING, count=3_000)


def original(spec: CaseSpec, files: Loading, name: str) -> bytes:
    """The WAV file of a clip.

    Args:
        spec: `CASE`.
        files: The data set's archive.
        name: Of the clip, as the table has it.

    Raises:
        DataError: the archive is not at hand, or has no such clip.
    """
    with Archive(files[files.chosen.name], folders=(_FOLDER,)) as archive:
        return archive.read(name)


def recordings_sha256(archive: bytes) -> str:
    """One hash over the clips of an archive of the data set, whoever packed it.

    Args:
        archive: The ZIP file.

    Raises:
        DataError: it is no ZIP file, or has no recordings.
    """
    with Archive(archive, folders=(_FOLDER,)) as opened:
        return content_sha256(opened.members())


def _entry(name: str) -> Entry | None:
    found = _MEMBER.fullmatch(name)
    if found is None or found[2] not in SPEAKERS:
        return None
    part = TEST if int(found[3]) < _TEST_CLIPS else TRAIN
    return Entry(name=name, label=int(found[1]), part=part, attribute=SPEAKERS.index(found[2]))
