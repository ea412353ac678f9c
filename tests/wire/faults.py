"""What can go wrong with a request, on demand."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from .calls import Call


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request instead of, or in addition to, what it requests.

    `delay`: seconds before it is read. `answer_delay`: seconds before the answer leaves.
    `status`, `body`, `headers`: the answer. Without `carried_out` nothing else happens.
    `cut`: the connection ends "before" it is carried out, "after" it without an answer, or
    "midway" through the answer.
    """

    delay: float = 0.0
    answer_delay: float = 0.0
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    carried_out: bool = False
    cut: Literal["before", "after", "midway"] | None = None


Hook = Callable[[Call], Awaitable[Fault | None]]


@dataclass(slots=True)
class _Planned:
    fault: Fault
    method: str | None
    route: str | None
    left: int | None


class Faults:
    """`hook`, if set, sees every request first and may wait, kill or answer with a Fault."""

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self._planned: list[_Planned] = []

    def plan(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        route: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Let the next `times` (None: all) requests of this method and route meet `fault`.

        `route` as in Discord's description, such as `/channels/{channel_id}/messages`; None is
        any. Planned first, met first.
        """
        self._planned.append(_Planned(fault, method, route, times))

    def clear(self) -> None:
        self.hook = None
        self._planned.clear()

    async def meet(self, call: Call) -> Fault | None:
        if self.hook is not None and (fault := await self.hook(call)) is not None:
            return fault
        for planned in self._planned:
            if planned.method in (None, call.method) and planned.route in (None, call.route):
                if planned.left is not None:
                    planned.left -= 1
                    if planned.left == 0:
                        self._planned.remove(planned)
                return planned.fault
        return None
