"""The device of the inference phase: obfuscate with a bundle picked at random, send, read the answer.

Fails closed: samples are obfuscated and checked before a connection is even opened, and `Device` holds no
code that could send anything else. Raw samples can be sent too, for comparison, by a class whose name says
what it does. What the backend can still learn is measured by the audit, not here.
"""

import hashlib
import math
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from obfnet.bundle import Pool, Trust, read_pool
from obfnet.core.errors import BundleError, UsageError
from obfnet.core.files import sha256_hex
from obfnet.core.spec import InputSpec, Samples
from obfnet.edge.graded import obfuscate_graded
from obfnet.edge.inputs import read_samples
from obfnet.edge.meter import BudgetMeter
from obfnet.edge.monitor import probe_samples
from obfnet.edge.session import ObfuscationSession
from obfnet.oip import Client, connect

PICKS: Final = ("request", "sample")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the backend said of one batch, and what it cost.

    Args:
        labels: `(N,)` int64, the index of the highest score.
        scores: `(N, classes)` float32, as the inference network gave them.
        bundle: Name of the bundle that obfuscated the batch, or several with commas between; None for raw
            samples.
        bundles: Name of each sample's; empty for raw samples.
        protocol: `"binary"`, `"json"` or `"grpc"`.
        request_bytes: Size of the request's body, without headers.
        obfuscate_s: Seconds to check and obfuscate; 0 for raw samples.
        encode_s: Seconds to build the request.
        decode_s: Seconds to parse and check the answer.
        total_s: Seconds of it all, the network and the server included.
    """

    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    bundle: str | None
    bundles: tuple[str, ...]
    protocol: str
    request_bytes: int
    obfuscate_s: float
    encode_s: float
    decode_s: float
    total_s: float


class Device:
    """Asks a backend about obfuscated samples; a context manager.

    Args:
        pool: A pool, or the folder of one, which is then read and checked.
        url: The backend, as `oip.connect` takes it. Nothing is sent until `infer`.
        trust: Whose pools are accepted, when a folder is given; by default the first key is pinned.
        model: The model's name on the backend.
        protocol: `"auto"`, `"binary"` or `"json"`; gRPC follows from the URL.
        timeout_s: Longest wait to connect, and longest wait for an answer; seconds.
        retries: How often a fault is tried again that gave no answer; the same obfuscated bytes, to the
            same host.
        ca_path: PEM file of the certificate authorities to trust instead of the usual ones.
        use_environment_proxies: Go through the proxies that the environment names.
        meter: File that keeps the count of bits sent across restarts; None counts in this object alone.
        limit_bits: Most bits to send, all requests together; None counts without a limit.
        pick: `"request"`: a bundle for each request, by the operating system's random source; a sample that
            is sent again may go through another, and then has another budget. `"sample"`: the sample itself
            decides, so that it always goes through the same one; all its requests together then tell at most
            a bundle's budget and log2 of the number of bundles. Not for bundles that draw lots for each
            request (`randomised`, `gaussian`).

    Raises:
        BundleError: the pool was refused, or is empty.
        UsageError, MissingExtraError: as `oip.connect`; a meter or a limit for a pool without a budget; no
            such pick, or none for such a pool.
        DataError, OutputError: the meter's file is broken, another pool's, or cannot be kept.

    Does not guarantee: that the backend learns nothing from obfuscated samples; see the audit of the
    pool. The time a request takes is not hidden either.
    """

    def __init__(
        self,
        pool: Pool | Path | str,
        url: str,
        *,
        trust: Trust | None = None,
        model: str | None = None,
        protocol: str = "auto",
        timeout_s: float = 10.0,
        retries: int = 2,
        ca_path: Path | str | None = None,
        use_environment_proxies: bool = False,
        meter: Path | str | None = None,
        limit_bits: float | None = None,
        pick: str = "request",
    ) -> None:
        if pick not in PICKS:
            raise UsageError(f"a pick of {' or '.join(PICKS)}", repr(pick), "name one of them")
        self._pick = pick
        self._pool = pool if isinstance(pool, Pool) else read_pool(pool, trust=trust)
        if not self._pool.bundles:
            raise BundleError("pool-empty", "at least one bundle in the pool", "none", "train a pool first")
        if pick == "sample" and len(self._pool.bundles) > 1 and _draws(self._pool):
            raise UsageError(
                "pick 'request' for a pool that draws lots",
                "pick 'sample'",
                "which bundle a sample goes through would tell of it what the lots hide",
            )
        self._meter = _meter_of(self._pool, meter, limit_bits)
        self._graded = any(bundle.manifest.rich_share is not None for bundle in self._pool.bundles)
        self._sessions: dict[int, ObfuscationSession] = {}
        self._client = connect(
            url,
            model=model,
            protocol=protocol,
            timeout_s=timeout_s,
            retries=retries,
            ca_path=ca_path,
            use_environment_proxies=use_environment_proxies,
        )

    @property
    def pool(self) -> Pool:
        """The pool, as it was read and checked."""
        return self._pool

    @property
    def pick(self) -> str:
        """`"request"` or `"sample"`: what decides the bundle."""
        return self._pick

    @property
    def spec(self) -> InputSpec:
        """What raw samples must be."""
        spec: InputSpec = self._pool.bundles[0].input
        return spec

    @property
    def pool_id(self) -> str:
        """Names the pool by all its bundles, in whatever order."""
        return _pool_id(self._pool)

    @property
    def budget_bits(self) -> float | None:
        """What one request of one sample can leak at most, in bits; None where a bundle has no ceiling."""
        bits = _budget_of(self._pool)
        if bits is None or self._pick == "request":
            return bits
        return bits + math.log2(len(self._pool.bundles))

    @property
    def spent_bits(self) -> float | None:
        """What all requests so far can have leaked at most, in bits; None where there is no ceiling."""
        return None if self._meter is None else self._meter.spent_bits

    def infer(self, raw: Samples | Path | str) -> Answer:
        """Labels for one batch of raw samples; one request.

        With the pick `"request"` all samples of a call share a bundle, which the operating system's random
        source decides: call once a sample to have each obfuscated by its own pick.

        Args:
            raw: As `read_samples` takes it: `(N, *shape)` or one sample, or a file.

        Returns:
            Labels, scores and costs.

        Raises:
            InputError, DataError: the samples do not fit; nothing was sent.
            BundleError: obfuscation failed; nothing was sent, nor a connection opened.
            BudgetSpentError: the limit of bits would be passed; nothing was sent, nor a connection opened.
            OutputError: the bits cannot be counted; likewise.
            BackendError: the backend could not be asked, or its answer is not to be believed.
        """
        started = time.perf_counter()
        # 1. Raw samples that fit the spec.
        samples = read_samples(raw, self.spec)
        # 2. A bundle that nobody can predict, or the sample's own.
        picked = self._picks(samples)
        # 3. Counted before anything may fail (a count that is too high harms nobody), then obfuscated and
        # checked, or an exception that ends it here.
        begun = time.perf_counter()
        obfuscated = self._obfuscate(samples, picked)
        obfuscate_s = time.perf_counter() - begun
        # 4. Only now is there a connection; it checks that the backend's model takes such samples.
        bundles = tuple(self._pool.bundles[index].manifest.name for index in picked)
        return _answer(self._client, obfuscated, started=started, obfuscate_s=obfuscate_s, bundles=bundles)

    def probe(self) -> npt.NDArray[np.float32] | None:
        """Asks the backend about fixed samples of noise, to see whether its model is still the same.

        They go through the first bundle. They are made of no data and tell of nobody, and so cost no bits.

        Returns:
            Scores, `(16, classes)`, the same each time while the model is the same; None for a pool that
            draws lots, whose requests differ each time.

        Raises:
            BundleError, BackendError: as `infer`.
        """
        if _draws(self._pool):
            return None
        return self._client.exchange(self._session(0).obfuscate(probe_samples(self.spec))).scores

    def _picks(self, samples: Samples) -> list[int]:
        count = len(self._pool.bundles)
        if self._pick == "request":
            return [secrets.randbelow(count)] * len(samples)
        return [
            int.from_bytes(hashlib.sha256(np.ascontiguousarray(sample).tobytes()).digest()[:8], "big") % count
            for sample in samples
        ]

    def _obfuscate(self, samples: Samples, picked: list[int]) -> Samples:
        if self._meter is not None:
            if self._graded:
                each = [(self._session(index), self._pool.bundles[index].manifest) for index in picked]
                pick_bits = (self.budget_bits or 0.0) - (_budget_of(self._pool) or 0.0)
                return obfuscate_graded(samples, each, self._meter, pick_bits=pick_bits)
            self._meter.spend((self.budget_bits or 0.0) * len(samples))
        wanted = sorted(set(picked))
        if len(wanted) == 1:
            return self._session(wanted[0]).obfuscate(samples)
        obfuscated, of = np.empty_like(samples), np.array(picked)
        for index in wanted:
            obfuscated[of == index] = self._session(index).obfuscate(samples[of == index])
        return obfuscated

    def _session(self, index: int) -> ObfuscationSession:
        session = self._sessions.get(index)
        if session is None:
            session = self._sessions[index] = ObfuscationSession(self._pool.bundles[index])
        return session

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UnsafeRawPassthrough:
    """Sends raw samples, unprotected: for comparison only, never on a device; a context manager.

    Args:
        url: The backend, as `oip.connect` takes it.
        spec: What raw samples must be.
        model, protocol, timeout_s, retries, ca_path, use_environment_proxies: As for `Device`.

    Raises:
        UsageError, MissingExtraError: as `oip.connect`.

    Does not guarantee: anything. The backend sees the samples.
    """

    def __init__(
        self,
        url: str,
        spec: InputSpec,
        *,
        model: str | None = None,
        protocol: str = "auto",
        timeout_s: float = 10.0,
        retries: int = 2,
        ca_path: Path | str | None = None,
        use_environment_proxies: bool = False,
    ) -> None:
        self.spec = spec
        self._client = connect(
            url,
            model=model,
            protocol=protocol,
            timeout_s=timeout_s,
            retries=retries,
            ca_path=ca_path,
            use_environment_proxies=use_environment_proxies,
        )

    def infer(self, raw: Samples | Path | str) -> Answer:
        """Labels for one batch of raw samples, which are sent as they are.

        Args:
            raw: As `read_samples` takes it.

        Returns:
            Labels, scores and costs; `bundle` is None.

        Raises:
            InputError, DataError: the samples do not fit.
            BackendError: the backend could not be asked, or its answer is not to be believed.
        """
        started = time.perf_counter()
        samples = read_samples(raw, self.spec)
        return _answer(self._client, samples, started=started, obfuscate_s=0.0, bundles=())

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pool_id(pool: Pool) -> str:
    return sha256_hex("".join(sorted(bundle.sha256 for bundle in pool.bundles)).encode())


def _draws(pool: Pool) -> bool:
    return any(bundle.manifest.draws for bundle in pool.bundles)


def _budget_of(pool: Pool) -> float | None:
    budgets = [bundle.manifest.budget_bits for bundle in pool.bundles]
    known = [bits for bits in budgets if bits is not None]
    return max(known) if len(known) == len(budgets) else None


def _meter_of(pool: Pool, path: Path | str | None, limit_bits: float | None) -> BudgetMeter | None:
    if _budget_of(pool) is None:
        if path is not None or limit_bits is not None:
            raise UsageError(
                "a pool with a budget for a meter or a limit",
                "one without a ceiling on what a request can leak",
                "train it with --protection coded, or leave both out",
            )
        return None
    return BudgetMeter(_pool_id(pool), limit_bits=limit_bits, path=None if path is None else Path(path))


def _answer(
    client: Client, samples: Samples, *, started: float, obfuscate_s: float, bundles: tuple[str, ...]
) -> Answer:
    exchange = client.exchange(samples)
    return Answer(
        labels=exchange.scores.argmax(axis=1),
        scores=exchange.scores,
        bundle=", ".join(sorted(set(bundles))) or None,
        bundles=bundles,
        protocol=exchange.protocol,
        request_bytes=exchange.request_bytes,
        obfuscate_s=obfuscate_s,
        encode_s=exchange.encode_s,
        decode_s=exchange.decode_s,
        total_s=time.perf_counter() - started,
    )
