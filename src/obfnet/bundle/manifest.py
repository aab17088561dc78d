"""What a bundle says about itself: what it was made for, how it is protected, what its members hash to.

These are the coordinator's statements, made binding by its signature; only shapes, hashes and sizes can
be checked against the bundle itself. Knows nothing of archives, keys on disk or graphs.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, final

from obfnet.bundle.chance import Chance, chance_of
from obfnet.bundle.keys import is_public_key_text
from obfnet.bundle.steps import refused, shown
from obfnet.core.errors import UsageError
from obfnet.core.files import canonical_json
from obfnet.core.parsing import FieldError, parse_strict
from obfnet.core.spec import InputSpec
from obfnet.guarantees.discrete_gaussian import LEAST_NOISE, MOST_NOISE
from obfnet.guarantees.statement import Guarantee, guarantee_of

FORMAT_VERSION: Final = 1
GRAPH_MEMBER: Final = "obfuscate.onnx"
MAX_MANIFEST_BYTES: Final = 64 * 1024
LARGEST_EPSILON: Final = 1e4
_MOST_BITS: Final = 1e9
_OPTIONAL: Final = ("epsilon", "noise", "poor_bits", "rich_share")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_AXES: Final = 6
_MAX_TEXT: Final = 200
_MAX_COUNT: Final = 10**15
_LARGEST_VALUE: Final = 1e30
_SMALLEST_SPAN: Final = 1e-4


@final
@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The signed description of one obfuscation network.

    Args:
        format_version: Version of the bundle format, 1.
        name: Name of the bundle; letters, digits, `.`, `_`, `-`, at most 100.
        case: Name of the data set that it was trained for; the same characters.
        input: What samples look like, raw and obfuscated alike.
        protection: How the network is limited (`published`, `coded`, ...).
        architecture: Name of its architecture.
        hidden: Width of its bottleneck; None where that means nothing.
        parameters: Number of its parameters.
        macs: Multiply-accumulate operations for one sample.
        budget_bits: Bits of the sample that a request can carry at most; None where unbounded.
        epsilon: Of the local differential privacy of one request, where the bits of a code are inverted at
            random; None, and not in the file, for any other.
        noise: Standard deviation of the noise on a code of numbers, as a share of their bound; None, and not
            in the file, for any other.
        poor_bits: Bits of a request that is not one of the few rich ones, where there are two levels; None,
            and not in the file, for any other.
        rich_share: Share of rich requests that a device keeps to; likewise.
        inference_network_id: SHA-256 of the inference network's ONNX file, 64 hex digits.
        members: Name of each further member to its SHA-256.
        public_key: Text of the key that signs.

    Raises:
        UsageError: a value is not possible; lists everything that is wrong.

    Does not guarantee: that `budget_bits`, `parameters`, `macs` or `protection` are true. The
    signature only says who claims them.
    """

    format_version: int = FORMAT_VERSION
    name: str
    case: str
    input: InputSpec
    protection: str
    architecture: str
    hidden: int | None
    parameters: int
    macs: int
    budget_bits: float | None
    inference_network_id: str
    members: dict[str, str]
    public_key: str
    epsilon: float | None = None
    noise: float | None = None
    poor_bits: float | None = None
    rich_share: float | None = None

    def __post_init__(self) -> None:
        problems = [*self._text_problems(), *self._number_problems(), *self._input_problems()]
        if problems:
            raise UsageError("a possible manifest", "; ".join(problems), "correct these values")

    @property
    def guarantee(self) -> Guarantee:
        """What one request promises, once a reader has accepted the bundle."""
        return guarantee_of(
            self.budget_bits,
            epsilon=self.epsilon,
            noise=self.noise,
            poor_bits=self.poor_bits,
            rich_share=self.rich_share,
        )

    @property
    def chance(self) -> Chance | None:
        """What a device decides for each sample besides; None where it decides nothing."""
        return chance_of(
            epsilon=self.epsilon, noise=self.noise, poor_bits=self.poor_bits, rich_share=self.rich_share
        )

    @property
    def draws(self) -> bool:
        """Whether lots are drawn for each sample, so that it is sent otherwise every time."""
        return self.chance is not None and self.chance.random

    def to_bytes(self) -> bytes:
        """The canonical JSON of the manifest, UTF-8; these are the bytes that get signed."""
        document = asdict(self)
        document["input"] = {
            **self.input.to_dict(),
            "low": float(self.input.low),
            "high": float(self.input.high),
        }
        for name in ("budget_bits", *_OPTIONAL):
            if document[name] is not None:
                document[name] = float(document[name])
            elif name in _OPTIONAL:
                # As manifests were before any had one: older bundles and readers know no such field.
                del document[name]
        return canonical_json(document)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads a manifest and refuses whatever is not exactly one.

        Args:
            data: JSON as `to_bytes` gives it, at most 64 KiB.

        Returns:
            The manifest; its signature is not checked here.

        Raises:
            BundleError: at one of the steps `manifest-json` to `manifest-values`.
        """
        # 9. manifest-json
        document = parse_object(data, step="manifest-json", max_bytes=MAX_MANIFEST_BYTES)

        # 10. format-version
        version = document.get("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            got = str(version) if type(version) is int and abs(version) < _MAX_COUNT else "another"
            raise refused("format-version", f"format version {FORMAT_VERSION}", got, "update obfnet")

        # 11. manifest-fields, 12. manifest-values
        try:
            return parse_strict(cls, dict.fromkeys(_OPTIONAL) | document)
        except FieldError as exc:
            raise refused("manifest-fields", "the fields of format version 1", shown(str(exc))) from exc
        except (UsageError, OverflowError) as exc:
            got = exc.got if isinstance(exc, UsageError) else "a number out of range"
            raise refused("manifest-values", "possible values", shown(got)) from exc

    def _text_problems(self) -> list[str]:
        problems = [
            f"`{field}` must be 1 to 100 of A-Z, a-z, 0-9, '.', '_', '-'"
            for field in ("name", "case", "protection", "architecture")
            if not _NAME.fullmatch(getattr(self, field))
        ]
        if not is_sha256(self.inference_network_id):
            problems.append("`inference_network_id` must be 64 hex digits")
        if not is_public_key_text(self.public_key):
            problems.append("`public_key` must be 'ed25519:' and 64 hex digits")
        if set(self.members) != {GRAPH_MEMBER} or not all(map(is_sha256, self.members.values())):
            problems.append(f"`members` must give the SHA-256 of {GRAPH_MEMBER} and nothing else")
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        if self.format_version != FORMAT_VERSION:
            problems.append(f"`format_version` must be {FORMAT_VERSION}")
        if self.hidden is not None and not 1 <= self.hidden <= _MAX_COUNT:
            problems.append("`hidden` must be positive")
        problems += [
            f"`{field}` must not be negative"
            for field in ("parameters", "macs")
            if not 0 <= getattr(self, field) <= _MAX_COUNT
        ]
        if self.budget_bits is not None and not 0 <= self.budget_bits <= _MOST_BITS:
            problems.append(f"`budget_bits` must be 0 to {_MOST_BITS:g}")
        if self.epsilon is not None and not 0 < self.epsilon <= LARGEST_EPSILON:
            problems.append(f"`epsilon` must be above 0 and at most {LARGEST_EPSILON:g}")
        if self.epsilon is not None and self.budget_bits is None:
            problems.append("`epsilon` needs `budget_bits`")
        if self.noise is not None and not LEAST_NOISE <= self.noise <= MOST_NOISE:
            problems.append(f"`noise` must be {LEAST_NOISE:g} to {MOST_NOISE:g}")
        if self.noise is not None and (self.budget_bits is None or self.epsilon is not None):
            problems.append("`noise` needs `budget_bits`, and no `epsilon`")
        return [*problems, *self._level_problems()]

    def _level_problems(self) -> list[str]:
        if self.poor_bits is None and self.rich_share is None:
            return []
        problems = []
        if self.rich_share is None or not 0 < self.rich_share < 1:
            problems.append("`rich_share` must be above 0 and below 1, and needs `poor_bits`")
        if self.poor_bits is None or not 0 <= self.poor_bits <= (self.budget_bits or 0):
            problems.append("`poor_bits` must be 0 to `budget_bits`, and needs `rich_share`")
        if self.epsilon is not None or self.noise is not None:
            problems.append("`rich_share` needs that there is no `epsilon` and no `noise`")
        return problems

    def _input_problems(self) -> list[str]:
        problems = []
        if len(self.input.shape) > _MAX_AXES:
            problems.append(f"`input.shape` must have at most {_MAX_AXES} axes")
        largest = max(abs(self.input.low), abs(self.input.high))
        if largest > _LARGEST_VALUE or self.input.high - self.input.low < _SMALLEST_SPAN * largest:
            problems.append("`input.low` and `input.high` must be well apart in 32-bit floats")
        if self.input.dtype == "uint8" and not 0 <= self.input.low < self.input.high <= 255:
            problems.append("`input.low` and `input.high` must be in [0, 255] for uint8")
        problems += [
            f"`input.{field}` must be at most {_MAX_TEXT} printable characters"
            for field in ("layout", "preprocessing")
            if len(text := getattr(self.input, field)) > _MAX_TEXT or not text.isprintable()
        ]
        return problems


def parse_object(data: bytes, *, step: str, max_bytes: int) -> dict[str, Any]:
    """One JSON object from outside; no duplicate keys, no NaN.

    Args:
        data: UTF-8 JSON.
        step: Name of the reader's check, for the error.
        max_bytes: Longest `data` that is looked at.

    Returns:
        The object.

    Raises:
        BundleError: `data` is too long or anything else.
    """
    if len(data) > max_bytes:
        raise refused(step, f"at most {max_bytes} bytes of JSON", str(len(data)))
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as exc:
        raise refused(step, "one JSON object", "something else") from exc
    if not isinstance(value, dict):
        raise refused(step, "one JSON object", "another JSON value")
    return value


def is_sha256(text: str) -> bool:
    """Whether `text` is 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether `text` can name a bundle: 1 to 100 of A-Z, a-z, 0-9, `.`, `_`, `-`, no dot in front."""
    return _NAME.fullmatch(text) is not None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
