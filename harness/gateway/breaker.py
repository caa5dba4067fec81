"""A circuit breaker that all attempts of a run share."""

import asyncio
import time

from harness.gateway.failures import EndpointError
from harness.gateway.options import GatewayOptions

_LONGEST_PROBE_SECONDS = 30.0


class Breaker:
    """Lets calls pass while the endpoint works; after failures in a row, one probe at a time.

    Waiting calls get their turn in the order in which they came. Lives in one event loop.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self._in_a_row = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._turn = asyncio.Lock()
        self._opened_at = 0.0
        self._probe_at = 0.0
        self._pause = 0.0

    @property
    def open(self) -> bool:
        """Whether calls wait for a probe."""
        return not self._closed.is_set()

    async def admit(self) -> bool:
        """Wait until a request may be sent. True: it is the probe, `probed` must follow it.

        Raises EndpointError when the outage lasts too long.
        """
        if not self.open:
            return False
        patience = max(self._opened_at + self._options.outage_seconds - time.monotonic(), 0)
        try:
            async with asyncio.timeout(patience):
                await self._turn.acquire()
        except TimeoutError:
            seconds = time.monotonic() - self._opened_at
            raise EndpointError(f"every request has failed for {seconds:.0f} s") from None
        try:
            async with asyncio.timeout(max(self._probe_at - time.monotonic(), 0)):
                await self._closed.wait()
        except TimeoutError:
            return True
        except BaseException:
            self._turn.release()
            raise
        self._turn.release()
        return False

    def probed(self) -> None:
        """The probe is over, whatever came of it."""
        self._turn.release()

    def succeeded(self) -> None:
        """A request was answered."""
        self._in_a_row = 0
        self._closed.set()

    def failed(self, *, probe: bool = False) -> None:
        """A request failed in a way that says something about the endpoint."""
        self._in_a_row += 1
        now = time.monotonic()
        if self.open:
            if probe:
                self._pause = min(2 * self._pause, _LONGEST_PROBE_SECONDS)
                self._probe_at = now + self._pause
        elif self._in_a_row >= self._options.breaker_failures:
            self._closed.clear()
            self._opened_at = now
            self._pause = self._options.probe_seconds
            self._probe_at = now + self._pause
