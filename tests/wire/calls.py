"""One request of the bot, and its answer."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web


@dataclass(frozen=True, slots=True)
class Upload:
    """A part `files[index]` of a multipart body."""

    index: int
    filename: str
    content: bytes


@dataclass(slots=True)
class Call:
    """`route` is the path as Discord's description writes it; `arrived` is `Clock.now()`."""

    method: str
    route: str
    path: str
    arrived: float
    params: dict[str, str]
    query: dict[str, str]
    authorization: str | None
    body: Any = None
    uploads: list[Upload] = field(default_factory=list)

    def id(self, name: str) -> int:
        """A snowflake of the path; 0, which nothing has, for what is not a number."""
        text = self.params[name]
        return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status}: {answer.body}")
        self.answer = answer


def refusal(status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> Refusal:
    """Discord's error object: https://docs.discord.com/developers/reference#error-messages."""
    body: dict[str, Any] = {"message": message, "code": code}
    if errors is not None:
        body["errors"] = errors
    return Refusal(Answer(status, body))


async def read_call(request: web.Request, route: str, arrived: float) -> Call:
    """Raises Refusal (400, 50109) for a body that is not JSON."""
    call = Call(
        method=request.method,
        route=route,
        path=request.path,
        arrived=arrived,
        params=dict(request.match_info),
        query=dict(request.query),
        authorization=request.headers.get("Authorization"),
    )
    if request.content_type == "multipart/form-data":
        await _read_parts(request, call)
    elif request.body_exists and (raw := await request.read()):
        call.body = _parse(raw)
    return call


async def _read_parts(request: web.Request, call: Call) -> None:
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise refusal(400, 50035, "Invalid Form Body")
        content = bytes(await part.read())
        name = part.name or ""
        if name == "payload_json":
            call.body = _parse(content)
        elif name.startswith("files[") and name[6:-1].isdecimal():
            call.uploads.append(Upload(int(name[6:-1]), part.filename or "file", content))
        else:
            raise refusal(400, 50035, "Invalid Form Body")


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise refusal(400, 50109, "The request body contains invalid JSON.") from None
