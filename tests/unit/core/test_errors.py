"""The exception tree: every error says three things, and gives the exit code of the command contract."""

import inspect
import pickle

import pytest

from obfnet.core import errors

TREE = {
    "ObfNetError": Exception,
    "UsageError": errors.ObfNetError,
    "UnknownNameError": errors.UsageError,
    "InputError": errors.ObfNetError,
    "ShapeError": errors.InputError,
    "DtypeError": errors.InputError,
    "RangeError": errors.InputError,
    "DataError": errors.ObfNetError,
    "ChecksumError": errors.DataError,
    "BudgetSpentError": errors.ObfNetError,
    "BundleError": errors.ObfNetError,
    "UntrustedKeyError": errors.BundleError,
    "BackendError": errors.ObfNetError,
    "BackendUnavailableError": errors.BackendError,
    "BackendRefusedError": errors.BackendError,
    "BackendProtocolError": errors.BackendError,
    "ModelError": errors.ObfNetError,
    "OutputError": errors.ObfNetError,
    "TrainingError": errors.ObfNetError,
    "AttackError": errors.ObfNetError,
    "MissingExtraError": errors.ObfNetError,
}
CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_its_place_in_the_tree(name: str) -> None:
    assert CLASSES[name].__bases__ == (TREE[name],)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_drawn_in_the_module(name: str) -> None:
    assert f" {name} " in f"{errors.__doc__}".replace("\n", " ")


@pytest.mark.parametrize("name", CLASSES)
def test_only_bad_usage_exits_with_2(name: str) -> None:
    assert CLASSES[name].exit_code == (2 if issubclass(CLASSES[name], errors.UsageError) else 1)


def test_a_message_says_what_was_expected_what_came_and_what_to_do() -> None:
    error = errors.OutputError("a folder", "a file", "give another --out")
    assert str(error) == "expected a folder, got a file; give another --out"
    assert (error.expected, error.got, error.remedy) == ("a folder", "a file", "give another --out")


def test_a_refused_bundle_names_the_check() -> None:
    error = errors.BundleError("signature", "a good one", "a bad one", "get it again")
    assert error.step == "signature"
    assert "check 'signature'" in str(error)


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert "pip install 'obfnet[train]'" in str(errors.MissingExtraError("torch", "train"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert str(errors.UnknownNameError("case", "mnits", ["mnist", "digits"])).endswith("known: mnist, digits")


@pytest.mark.parametrize(
    "error",
    [
        errors.TrainingError("sound networks", "none", "train longer"),
        errors.BundleError("zip", "an archive", "another", "get it again"),
        errors.UnknownNameError("case", "mnits", ["mnist"]),
        errors.MissingExtraError("ray", "ray"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_another_process_says_the_same(error: errors.ObfNetError) -> None:
    # What our own processes send each other; nothing from outside is ever unpickled.
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again), again.exit_code) == (str(error), vars(error), error.exit_code)
