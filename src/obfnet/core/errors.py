"""The exception tree of ObfNet; every message says what was expected, what came and what to do.

Only the command line turns one of these into an exit code. No message ever holds tensor values,
payloads or secrets.

    ObfNetError
    ├── UsageError               an argument or a setting cannot be used (exit code 2)
    │   └── UnknownNameError     a registry has no such name; lists the known ones
    ├── InputError               a raw sample is not what the input spec says
    │   ├── ShapeError
    │   ├── DtypeError
    │   └── RangeError           out of range, NaN or infinite
    ├── DataError                a data set or a sample file is missing or broken
    │   ├── ChecksumError
    │   └── NoSourceError        no source gave a file (`data.fetch`)
    ├── BudgetSpentError         the device's limit of bits is reached; nothing was sent
    ├── BundleError              a bundle or a pool was refused; `step` names the check
    │   └── UntrustedKeyError
    ├── BackendError             the inference service did not answer as the protocol says
    │   ├── BackendUnavailableError   no connection, or no answer in time
    │   ├── BackendRefusedError       4xx or 5xx
    │   └── BackendProtocolError      an answer that is not the protocol's, or not of this model
    ├── ModelError               somebody's inference network cannot be opened, understood or protected
    ├── OutputError              a result cannot be written where it was asked for
    ├── TrainingError            training cannot start or go on
    ├── AttackError              an attack cannot be run on what it was given
    └── MissingExtraError        a part of ObfNet that is not installed
"""

from typing import Any


class ObfNetError(Exception):
    """Base of every error that ObfNet raises on purpose.

    Args:
        expected: What would have been right.
        got: What came instead; never tensor values or secrets.
        remedy: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, expected: str, got: str, remedy: str) -> None:
        self.expected, self.got, self.remedy = expected, got, remedy
        super().__init__(f"expected {expected}, got {got}; {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors differ: what comes back from another process is the error itself, and not made anew.
        return _as_it_was, (type(self), self.args, self.__dict__)


class UsageError(ObfNetError):
    """An argument or a setting cannot be used."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A registry has no entry of that name."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        super().__init__(f"a known {kind}", repr(name), f"known: {', '.join(known)}")


class InputError(ObfNetError):
    """A raw sample is not what the input spec says."""


class ShapeError(InputError):
    """A sample has the wrong shape."""


class DtypeError(InputError):
    """A sample has the wrong data type."""


class RangeError(InputError):
    """A sample has values out of range, NaN or infinite."""


class DataError(ObfNetError):
    """A data set or a sample file is missing or broken."""


class ChecksumError(DataError):
    """A file's bytes are not the published ones."""


class BundleError(ObfNetError):
    """A bundle or a pool was refused.

    Args:
        step: Name of the reader's check that refused it.
        expected: What would have been right.
        got: What came instead.
        remedy: What the reader can do about it.
    """

    def __init__(self, step: str, expected: str, got: str, remedy: str) -> None:
        self.step = step
        super().__init__(expected, f"{got} (check '{step}')", remedy)


class UntrustedKeyError(BundleError):
    """The signature is good, but of a key that this device does not trust."""


class BudgetSpentError(ObfNetError):
    """The device has sent as many bits as its limit allows; nothing more is sent."""


class BackendError(ObfNetError):
    """The inference service did not answer as the protocol says."""


class BackendUnavailableError(BackendError):
    """No connection, or no answer in time."""


class BackendRefusedError(BackendError):
    """The service answered 4xx or 5xx.

    Args:
        status: HTTP status, or the gRPC code's name.
        expected: What would have been right.
        got: What came instead.
        remedy: What the reader can do about it.
    """

    def __init__(self, status: int | str, expected: str, got: str, remedy: str) -> None:
        self.status = status
        super().__init__(expected, got, remedy)


class BackendProtocolError(BackendError):
    """The answer is not the protocol's, or not of this model."""


class ModelError(ObfNetError):
    """Somebody's inference network cannot be opened, understood or protected."""


class OutputError(ObfNetError):
    """A result cannot be written where it was asked for."""


class TrainingError(ObfNetError):
    """Training cannot start or go on."""


class AttackError(ObfNetError):
    """An attack cannot be run on what it was given."""


class MissingExtraError(ObfNetError):
    """A part of ObfNet that is not installed.

    Args:
        package: The import that failed.
        extra: The extra of the `obfnet` distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r}", "no such package installed", f"run: pip install 'obfnet[{extra}]'"
        )


def _as_it_was(kind: type[ObfNetError], args: tuple[Any, ...], state: dict[str, Any]) -> ObfNetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
