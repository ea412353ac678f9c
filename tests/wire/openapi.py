"""Bodies checked against Discord's official description of its API.

The description (OpenAPI 3.1, https://github.com/discord/discord-api-spec) is not part of this
project: where it is not found, nothing is checked and `Description.load` says so with None.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema_rs

DESCRIPTION = Path(__file__).parents[3] / "shared" / "discord" / "openapi.json"
# Discord writes snowflakes as strings and takes numbers as well; discord.py sends numbers.
SNOWFLAKE = {
    "anyOf": [{"type": "string", "pattern": "^(0|[1-9][0-9]*)$"}, {"type": "integer", "minimum": 0}]
}


class Description:
    """Validators are compiled on the first use of an operation and kept."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = document["paths"]
        self._components = document["components"]
        self._components["schemas"]["SnowflakeType"] = SNOWFLAKE
        self._compiled: dict[tuple[str, ...], jsonschema_rs.Draft202012Validator | None] = {}

    @classmethod
    @functools.cache
    def load(cls, path: Path = DESCRIPTION) -> "Description | None":
        """Read it once a process. Return None if there is no such file."""
        return cls(json.loads(path.read_bytes())) if path.exists() else None

    def request_errors(self, method: str, route: str, body: Any) -> list[str]:
        """What is wrong with the JSON of a request, `payload_json` of a multipart one included."""
        return self._errors(("requestBody",), method, route, body)

    def response_errors(self, method: str, route: str, status: int, body: Any) -> list[str]:
        return self._errors(("responses", str(status)), method, route, body)

    def _errors(self, part: tuple[str, ...], method: str, route: str, body: Any) -> list[str]:
        key = (method, route, *part)
        if key not in self._compiled:
            self._compiled[key] = self._compile(part, method, route)
        validator = self._compiled[key]
        if validator is None:
            return []
        return [text for error in validator.iter_errors(body) for text in _explain(error)]

    def _compile(
        self, part: tuple[str, ...], method: str, route: str
    ) -> jsonschema_rs.Draft202012Validator | None:
        """None where the description has no JSON. Raises KeyError for an unknown operation."""
        found = self._paths[route][method.lower()]
        for step in part:
            found = found.get(step) or {}
        schema = found.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return None
        return jsonschema_rs.Draft202012Validator({**schema, "components": self._components})


def _explain(error: Any) -> list[str]:
    """Of a choice of schemas, what is wrong with the one that was meant: the one of that type."""
    branches = getattr(error.kind, "context", None) or []
    meant = [b for b in branches if not any(_is_of_another_type(e, error) for e in b)]
    if len(meant) == 1:
        return [text for inner in meant[0] for text in _explain(inner)]
    return [f"{'/'.join(str(step) for step in error.instance_path)}: {error.message[:300]}"]


def _is_of_another_type(inner: Any, outer: Any) -> bool:
    path: list[str | int] = list(inner.instance_path)[len(outer.instance_path) :]
    return path == ["type"] or (path == [] and type(inner.kind).__name__.endswith("Type"))
