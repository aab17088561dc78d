"""Cases whose samples are files in one archive: each member is decoded once and kept prepared.

What a case adds is how a member's name tells its class, part, attribute and group, and how its bytes become a
sample.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from obfnet.core.spec import InputSpec, Samples
from obfnet.data.archive import Archive
from obfnet.data.case import CaseSpec, Loading
from obfnet.data.pictures import decode_picture
from obfnet.data.prepared import Entry, prepare
from obfnet.data.table import Table

Describe = Callable[[str], Entry | None]
Decode = Callable[[bytes, str], Samples]


def photo_input(size: int) -> InputSpec:
    """What a square colour photograph is on the wire: RGB uint8 of `size` by `size` pixels."""
    return InputSpec(
        shape=(3, size, size),
        dtype="uint8",
        low=0.0,
        high=255.0,
        layout="CHW",
        preprocessing=f"RGB uint8 as captured, {size}x{size}",
    )


def decode_photo(data: bytes, name: str, *, size: int) -> Samples:
    """A photograph's pixels, `(3, size, size)` uint8; raises `DataError` where it cannot be read."""
    return decode_picture(data, name=name, channels=3, size=(size, size)).pixels


def archived_table(
    spec: CaseSpec,
    loading: Loading,
    describe: Describe,
    decode: Decode,
    *,
    folders: tuple[str, ...],
    version: int,
    count: int,
) -> Table:
    """The table of a ZIP archive's members.

    Args:
        spec: The case.
        loading: Its files, which are only read where nothing was prepared before, and its orders.
        describe: A member's name to its entry, or None for a file that is no sample.
        decode: Bytes and name to one sample of the case's input spec; raises `DataError`.
        folders: The archive's folders that hold samples.
        version: Raised whenever `describe` or `decode` changes what they give.
        count: How many members there are, for the progress.

    Raises:
        DataError: a member cannot be read, or the archive is not what it should be.
    """
    recipe: dict[str, Any] = {"file": loading.chosen.sha256, "version": version}

    def entries() -> Iterator[tuple[Entry, Callable[[], Samples]]]:
        with Archive(loading[loading.chosen.name], folders=folders, name=loading.chosen.name) as archive:
            for name in archive.names:
                entry = describe(name)
                if entry is not None:
                    yield entry, partial(_read, archive, name, decode)

    table, skipped = prepare(
        spec.name,
        recipe,
        spec.input,
        entries,
        count=count,
        skip_bad=loading.skip_bad,
        progress=loading.progress,
    )
    loading.skipped = tuple(skipped)
    return table


def _read(archive: Archive, name: str, decode: Decode) -> Samples:
    return decode(archive.read(name), name)
