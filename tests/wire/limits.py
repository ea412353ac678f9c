"""Rate limits, with the headers that describe them to a client.

https://docs.discord.com/developers/topics/rate-limits. Discord does not publish the figures of its
buckets and wants clients to read the headers; those below are of the order that clients see.
"""

import math
import zlib
from collections import deque
from dataclasses import dataclass

from .calls import Answer, Call, Refusal
from .clock import Clock

CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
# (method, route) -> (requests, seconds)
BUCKETS = {
    ("POST", "/channels/{channel_id}/messages"): (5, 5.0),
    ("GET", "/channels/{channel_id}/messages"): (5, 5.0),
}
WEBHOOK_BUCKET = (5, 2.0)
OTHER_BUCKET = (50, 1.0)
ACK_SECONDS = 3.0
MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token")


@dataclass(slots=True)
class Limits:
    """Which limits hold; each can be changed while the wire runs.

    `edit_interval`: seconds between two edits of one message, None for no such limit.
    `per_second`: requests a second over all routes but interactions', None for no such limit.
    `buckets`: whether routes have separate buckets.
    `acknowledgement`: seconds within which an interaction must be acknowledged.
    """

    edit_interval: float | None = 1.5
    per_second: int | None = 50
    buckets: bool = True
    acknowledgement: float = ACK_SECONDS

    @classmethod
    def none(cls) -> "Limits":
        return cls(edit_interval=None, per_second=None, buckets=False)


@dataclass(slots=True)
class _Bucket:
    remaining: int
    resets: float


class RateLimiter:
    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._buckets: dict[tuple[str, ...], _Bucket] = {}
        self._recent: deque[float] = deque()
        self._edited: dict[int, float] = {}

    def admit(self, call: Call) -> tuple[Answer | None, dict[str, str]]:
        """(The 429 or None, the headers that go with any answer of this call.)"""
        if call.route == CALLBACK:
            return None, {}
        refused, headers = self._admit_to_bucket(call)
        return refused or self._admit_to_all(call, headers), headers

    def count_edit(self, message_id: int) -> None:
        """Raises Refusal (429) for an edit that follows the last one too soon."""
        interval = self.limits.edit_interval
        if interval is None:
            return
        now, edited = self._clock.now(), self._edited.get(message_id)
        if edited is not None and now - edited < interval:
            raise Refusal(_too_many(interval - (now - edited), "user", {}))
        if len(self._edited) > 10_000:
            self._edited = {m: at for m, at in self._edited.items() if now - at < interval}
        self._edited[message_id] = now

    def _admit_to_bucket(self, call: Call) -> tuple[Answer | None, dict[str, str]]:
        if not self.limits.buckets:
            return None, {}
        size, period = _bucket_of(call)
        key = (call.method, call.route, *(call.params.get(name, "") for name in MAJOR))
        now = self._clock.now()
        bucket = self._buckets.get(key)
        if bucket is None or bucket.resets <= now:
            self._drop_idle(now)
            bucket = self._buckets[key] = _Bucket(size, now + period)
        allowed = bucket.remaining > 0
        bucket.remaining -= allowed
        wait = bucket.resets - now
        headers = {
            "X-RateLimit-Limit": str(size),
            "X-RateLimit-Remaining": str(bucket.remaining),
            "X-RateLimit-Reset": f"{self._clock.wall() + wait:.3f}",
            "X-RateLimit-Reset-After": f"{wait:.3f}",
            "X-RateLimit-Bucket": f"{zlib.crc32(f'{call.method} {call.route}'.encode()):08x}",
        }
        return (None if allowed else _too_many(wait, "user", headers)), headers

    def _drop_idle(self, now: float) -> None:
        if len(self._buckets) > 10_000:
            self._buckets = {k: b for k, b in self._buckets.items() if b.resets > now}

    def _admit_to_all(self, call: Call, headers: dict[str, str]) -> Answer | None:
        if self.limits.per_second is None or call.route.startswith("/webhooks/"):
            return None
        now = self._clock.now()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.limits.per_second:
            return _too_many(1.0 - (now - self._recent[0]), "global", headers)
        self._recent.append(now)
        return None


def _bucket_of(call: Call) -> tuple[int, float]:
    if call.route.startswith("/webhooks/"):
        return WEBHOOK_BUCKET
    return BUCKETS.get((call.method, call.route), OTHER_BUCKET)


def _too_many(wait: float, scope: str, headers: dict[str, str]) -> Answer:
    sent = {**headers, "Retry-After": str(math.ceil(wait)), "X-RateLimit-Scope": scope}
    if scope == "global":
        sent["X-RateLimit-Global"] = "true"
    wait = math.ceil(wait * 1000) / 1000
    body = {
        "message": "You are being rate limited.",
        "retry_after": wait,
        "global": scope == "global",
    }
    return Answer(429, body, sent)
