"""Which server takes the next question: the one in service with the fewest in flight.

    closed ──`breaker_failures` failures in a row──► open ──`breaker_pause` s──► half open: one question probes
      ▲                                                ▲                                │
      └──────────── any question answered ─────────────┼──────────── answered ──────────┤
                                                       └───────────── failed ───────────┘

Lives on one event loop; nothing here waits for anything but its turn. Who asks again comes before who asks for the first time,
so that a question once begun ends soon.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass

import openai

from recoder_jax.rewards.judgement import FailureKind

LONGEST_REST = 60.0      # seconds; a server that asks for a longer pause is tried again after these


class NoServer(Exception):
    """Every server is out of service. kind: of what put the last one out."""

    def __init__(self, kind: FailureKind, reason: str):
        super().__init__(f'every server is out of service, lastly because of this: {reason}')
        self.kind = kind


@dataclass(eq=False)
class Server:
    """One server and what is known of its health. Times are of the event loop's clock, in seconds.

    trouble: kind and sentence of what failed last. structured: whether it takes a schema for its replies; None when that was not
    tried. answered, failed: attempts so far.
    open_until: 0 while the breaker is closed. probing: whether the one question that a half-open breaker lets through is out.
    """

    address: str
    client: openai.AsyncOpenAI
    trouble: tuple[FailureKind, str] = (FailureKind.broken, '')
    structured: bool | None = None
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    failures_in_a_row: int = 0
    open_until: float = 0.0
    rests_until: float = 0.0
    probing: bool = False
    last_taken: int = 0


class Servers:
    """Hands out servers, at most `concurrency` at a time and `server_concurrency` of one server."""

    def __init__(
        self, servers: Collection[Server], concurrency: int, server_concurrency: int, breaker_failures: int, breaker_pause: float
    ):
        self.all = tuple(servers)
        self._concurrency, self._server_concurrency = concurrency, server_concurrency
        self._breaker_failures, self._breaker_pause = breaker_failures, breaker_pause
        self._waiting: list[tuple[bool, int, Collection[Server], asyncio.Future]] = []
        self._numbers = itertools.count(1)
        self._alarm: asyncio.TimerHandle | None = None

    async def take(self, first: bool, avoid: Collection[Server] = ()) -> Server:
        """Waits for a server; give it back with `give`. `avoid`: servers to take only when no other is in service.

        Raises NoServer when the last server in service goes out of it meanwhile. A caller that comes later waits for the
        outcome of the next probe.
        """
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (first, next(self._numbers), avoid, future))
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give(future.result(), None)      # handed out in the same moment
            future.cancel()
            raise

    def give(self, server: Server, well: bool | None) -> None:
        """Returns a server that answered (`well`), failed (not `well`) or was not heard out (None)."""
        server.in_flight -= 1
        probed, server.probing = server.probing, False
        if well:
            server.answered += 1
            server.failures_in_a_row, server.open_until = 0, 0.0
        elif well is False:
            server.failed += 1
            server.failures_in_a_row += 1
            if probed or server.failures_in_a_row >= self._breaker_failures:
                if probed or not server.open_until:
                    server.open_until = self._now() + self._breaker_pause
                self._tell_waiting(server)
        self._hand_out()

    def rest(self, server: Server, seconds: float) -> None:
        """Asks a server nothing for a while, as it wished; at most LONGEST_REST."""
        server.rests_until = max(server.rests_until, self._now() + min(max(0.0, seconds), LONGEST_REST))

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _tell_waiting(self, last: Server) -> None:
        now = self._now()
        if any(not server.open_until or server.open_until <= now for server in self.all):
            return
        for _, _, _, future in self._waiting:
            if not future.done():
                future.set_exception(NoServer(*last.trouble))
        self._waiting.clear()

    def _hand_out(self) -> None:
        """Serves those who wait, in their order, and sets an alarm for when the next server comes back."""
        passed_over = []
        while self._waiting and self._any_free():
            entry = heapq.heappop(self._waiting)
            _, _, avoid, future = entry
            if future.done():
                continue
            server = self._free(avoid)
            if server is None:
                passed_over.append(entry)
                continue
            server.in_flight += 1
            server.last_taken = next(self._numbers)
            server.probing = bool(server.open_until)
            future.set_result(server)
        for entry in passed_over:
            heapq.heappush(self._waiting, entry)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._now()
        wake = min((until for server in self.all if (until := max(server.open_until, server.rests_until)) > now), default=math.inf)
        if self._waiting and wake < math.inf:
            self._alarm = asyncio.get_running_loop().call_at(wake, self._hand_out)

    def _any_free(self) -> bool:
        in_flight = sum(server.in_flight for server in self.all)
        return in_flight < self._concurrency and any(self._able(server) for server in self.all)

    def _free(self, avoid: Collection[Server]) -> Server | None:
        able, now = [server for server in self.all if self._able(server)], self._now()
        good = [server for server in able if server not in avoid]
        # a server that is only busy is worth waiting for where the other choice is one to avoid
        if not good and any(server not in avoid and not server.open_until and server.rests_until <= now for server in self.all):
            return None
        return min(good or able, key=lambda server: (server.in_flight, server.last_taken), default=None)

    def _able(self, server: Server) -> bool:
        now = self._now()
        if server.rests_until > now or server.in_flight >= self._server_concurrency:
            return False
        return not server.open_until or (server.open_until <= now and not server.probing)
