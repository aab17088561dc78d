"""The demo's settings: what a smaller data set and a quick run change."""

import pytest

from obfnet.core.errors import UsageError
from obfnet.demo.settings import DemoSettings

SCHEDULES = ("inference", "obfuscation", "device_only")


@pytest.mark.parametrize("make", [DemoSettings.full, lambda: DemoSettings.full().quick()])
def test_a_smaller_training_split_gets_as_many_steps(make):
    settings = make()
    small = settings.for_samples(1257, 784)
    for name in SCHEDULES:
        wanted, got = getattr(settings, name).steps(55_000), getattr(small, name).steps(1257)
        assert abs(got - wanted) <= 1
    assert small.attack_epochs * 1257 == pytest.approx(settings.attack_epochs * 55_000)


@pytest.mark.parametrize("count", [55_000, 60_000])
def test_mnist_and_larger_are_trained_as_set(count):
    assert DemoSettings.full().for_samples(count, 784) == DemoSettings.full()


def test_quick_trains_less_everywhere():
    full, quick = DemoSettings.full(), DemoSettings.full().quick()
    for name in SCHEDULES:
        assert getattr(quick, name).epochs < getattr(full, name).epochs
    assert quick.attack_epochs < full.attack_epochs
    assert (quick.name, full.name) == ("quick", "full")


def test_an_empty_pool_is_bad_usage():
    with pytest.raises(UsageError):
        DemoSettings.full(count=0)
