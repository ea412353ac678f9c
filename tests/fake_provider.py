"""A second provider, as small as one can be: its songs are there at the first poll."""

import asyncio

from db.records import SongRequest
from services.providers.base import JobStatus, Output, Parameter, Parameters, Spent, Workspace
from services.providers.pacing import Pacer
from services.providers.rate_limiter import Call, RateLimiter

AUDIO = b"RIFF" + b"\1\0" * 100_000


class FakeProvider:
    """Writes the same audio for each request, and remembers what was requested."""

    name = "fake"
    parameters = Parameters(
        seconds=Parameter(1, 20, 10),
        steps=Parameter(1, 8, 8),
        cfg=Parameter(0.0, 1.0, 0.5),
        shift=Parameter(0.0, 1.0, 0.0),
        lyrics_strength=Parameter(0.0, 1.0, 1.0),
        seed=Parameter(0, 99),
    )
    single_call = False

    def __init__(
        self, rate_limiter: RateLimiter | None = None, *, at_once: int = 1, per_minute: int = 50
    ) -> None:
        self.rate_limiter = rate_limiter or RateLimiter(per_minute)
        self.pacer = Pacer(self.rate_limiter)
        self.at_once = at_once
        self.seconds_per_song = 60 / per_minute
        self.requests: dict[str, SongRequest] = {}

    def largest_file(self, seconds: int) -> int:
        return seconds * len(AUDIO)

    async def wait_for_submit(self) -> None:
        await self.rate_limiter.take(Call.SUBMIT)

    async def submit(self, request: SongRequest) -> str:
        job_id = f"job-{len(self.requests)}"
        self.requests[job_id] = request
        return job_id

    async def make(self, request: SongRequest, workspace: Workspace) -> Output | None:
        raise NotImplementedError

    async def get_status(
        self, job_id: str, workspace: Workspace, spent: Spent = lambda _: None
    ) -> JobStatus:
        return JobStatus("COMPLETED", Output(url=job_id))

    async def result(
        self, job_id: str, workspace: Workspace, spent: Spent = lambda _: None
    ) -> Output:
        return Output(url=job_id)

    async def download(self, output: Output, workspace: Workspace) -> int:
        return await asyncio.to_thread(workspace.file.write_bytes, AUDIO)

    async def get_balance(self) -> float:
        return 1.0
