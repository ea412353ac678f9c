"""Where a process can be killed: points found in the code, before and after each of its steps.

A step is whatever leaves a trace outside the function that does it: an `await`, the two ends of an
`async with` (of a transaction, say), each turn of an `async for`, and the calls that change a file
or the database without waiting. Modules are rewritten as they are imported, so that each step
reports when it begins and when it is done; a step that is written tomorrow is a point tomorrow.
"""

import ast
import asyncio
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import types
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Function = TypeVar("Function", ast.FunctionDef, ast.AsyncFunctionDef)

ROOT = Path(__file__).resolve().parents[2]
BEFORE, AFTER = "before", "after"
REWRITTEN = ("commands", "cogs", "services", "db/cancellation.py", "db/database.py", "bot.py")
"""What is rewritten. The other files of `db` only say statements to a connection: a kill between
two of them is one between BEGIN and COMMIT, which are points of `db/database.py`."""
LEFT_OUT = (
    "services/credits",
    "services/settings",
    "services/reports",
    "services/songs/admission.py",
)
"""A song meets it only inside the transactions of others, and where it reads."""

# What changes a file or the database without an await. Of `replace` only the one of a path, with
# one argument where the one of a text has two, and that of `os`; of `remove` only that of `os`.
LEAVES_A_TRACE = frozenset(
    (
        *("commit", "copyfile", "copytree", "fsync", "hardlink_to", "mkdir", "open", "rename"),
        *("rmdir", "rmtree", "rollback", "symlink_to", "touch", "truncate", "unlink", "write"),
        *("write_bytes", "write_text", "writelines"),
    )
)
OF_THE_SYSTEM = frozenset(("copy", "copy2", "link", "move", "remove", "replace", "symlink"))
"""The same of `os` and `shutil` alone, whose names lists and texts have too."""
LONGEST = 88
"""Characters of a step's text that its name keeps."""
RUNNER = "runner"
"""The name of the task that chooses songs (`bot.Application.working`)."""
REPORTS = "_crash_points"
"""What rewritten modules call the object that they report to."""


@dataclass(frozen=True, slots=True)
class Code:
    """A module with points in it."""

    tree: ast.Module
    points: tuple[str, ...]


def product_modules() -> dict[str, Path]:
    """The modules that are rewritten, by their dotted names."""
    files = [
        file
        for package in REWRITTEN
        for file in (
            [ROOT / package] if package.endswith(".py") else sorted((ROOT / package).rglob("*.py"))
        )
        if not any(file.is_relative_to(ROOT / part) for part in LEFT_OUT)
    ]
    return {_dotted(file): file for file in files}


def _dotted(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def points_of(module: str, source: str) -> Code:
    """The module rewritten, and the names of its points in the order of the text.

    A name says where the step stands and what it is, as in
    `services.songs.pipeline.Pipeline._hand_in: self._api.submit(_request(song)), before`.
    """
    finder = _Finder(module)
    tree = finder.visit(ast.parse(source))
    return Code(ast.fix_missing_locations(tree), tuple(finder.points))


class _Finder(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self._where = [module]
        self._inside = 0
        self._steps: Counter[str] = Counter()
        self.points: list[str] = []

    # Where: only what runs when a function is called can be killed in a song's life.

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self._where.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._where.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        return self._function(node)

    def _function(self, node: Function) -> Function:
        self._where.append(node.name)
        self._inside += 1
        node.body = [self.visit(statement) for statement in node.body]
        self._inside -= 1
        self._where.pop()
        return node

    # What

    def visit_Await(self, node: ast.Await) -> ast.expr:
        step = self._step(node.value)
        if isinstance(node.value, ast.Call):
            self._parts_of(node.value)  # the call itself is this step, not a separate one
        else:
            node.value = self.visit(node.value)
        node.value = self._calling(BEFORE, step, node.value)
        return self._calling(AFTER, step, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not (self._inside and self._leaves_a_trace(node)):
            return self._parts_of(node)
        step = self._step(node)
        self._parts_of(node)
        node.func = self._calling(BEFORE, step, node.func)
        return self._calling(AFTER, step, node)

    def _leaves_a_trace(self, node: ast.Call) -> bool:
        match node.func:
            case ast.Name("open"):
                return True
            case ast.Attribute(ast.Name("os" | "shutil"), name) if name in OF_THE_SYSTEM:
                return True
            case ast.Attribute(_, "replace"):
                return len(node.args) == 1
            case ast.Attribute(_, name):
                return name in LEAVES_A_TRACE
            case _:
                return False

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AsyncWith:
        for item in node.items:
            step = self._step(item.context_expr, ", entered", ", left")
            if isinstance(item.context_expr, ast.Call):
                self._parts_of(item.context_expr)
            item.context_expr = self._calling("around", step, item.context_expr)
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AsyncFor:
        step = self._step(node.iter, what="each of ")
        node.iter = self._calling("each", step, self.visit(node.iter))
        node.body = [self.visit(statement) for statement in node.body]
        node.orelse = [self.visit(statement) for statement in node.orelse]
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        step = self._step(node.iter, what="each of ") if node.is_async else None
        self.generic_visit(node)
        if step is not None:
            node.iter = self._calling("each", step, node.iter)
        return node

    def _parts_of(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        return node

    # Names

    def _step(self, node: ast.expr, *parts: str, what: str = "") -> str:
        """A new step's name. Each of its `parts` is a point, before and after."""
        text = " ".join(ast.unparse(node).split())
        if len(text) > LONGEST:
            text = text[:LONGEST].rstrip() + "..."
        step = f"{'.'.join(self._where)}: {what}{text}"
        self._steps[step] += 1
        if self._steps[step] > 1:
            step = f"{step} ({self._steps[step]})"
        for part in parts or ("",):
            self.points += [f"{step}{part}, {side}" for side in (BEFORE, AFTER)]
        return step

    def _calling(self, method: str, step: str, value: ast.expr) -> ast.Call:
        return ast.Call(
            ast.Attribute(ast.Name(REPORTS, ast.Load()), method, ast.Load()),
            [ast.Constant(step), value],
            [],
        )


# --- in the process that is to be killed ----------------------------------------------------------


Pass = tuple[str, int]
"""A point, and which of its passes, from 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen at the points of one process.

    `kill` is the pass at which the process kills itself; `record` a
    file that gets a line for each pass. Counted are the passes that serve a song which is not in
    `spare`, and from the first of them on those of the runner, which chooses the next song and
    serves none before. With `everywhere` all are: also those that serve no song.
    """

    kill: Pass | None = None
    record: str | None = None
    spare: Sequence[int] = ()
    everywhere: bool = False


class Points:
    """Receives what rewritten code reports of its steps."""

    def __init__(self) -> None:
        self.subject: Callable[[], int | None] = lambda: None
        """The song that the running code serves, as the log knows it."""
        self._kill: Pass | None = None
        self._spared: Container[int] = ()
        self._begun = False
        self._everywhere = False
        self._passes: Counter[str] = Counter()
        self._record = -1

    def follow(self, plan: Plan) -> None:
        """From now on."""
        self._kill = plan.kill
        self._spared = frozenset(plan.spare)
        self._everywhere = plan.everywhere
        if plan.record is not None:
            self._record = os.open(plan.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def before(self, step: str, value: T) -> T:
        self._pass(f"{step}, {BEFORE}")
        return value

    def after(self, step: str, value: T) -> T:
        self._pass(f"{step}, {AFTER}")
        return value

    def around(
        self, step: str, manager: AbstractAsyncContextManager[T]
    ) -> AbstractAsyncContextManager[T]:
        return _Around(self, step, manager)

    async def each(self, step: str, source: AsyncIterable[T]) -> AsyncIterator[T]:
        iterator = aiter(source)
        while True:
            self.before(step, None)
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                self.after(step, None)
                return
            yield self.after(step, item)

    def _pass(self, point: str) -> None:
        if not self._everywhere and not self._is_followed():
            return
        self._begun = True
        self._passes[point] += 1
        if self._record >= 0:
            os.write(self._record, f"{point}\n".encode())
        if (point, self._passes[point]) == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_followed(self) -> bool:
        """Whether the running code serves a song that is not spared, or is the runner by then."""
        subject = self.subject()
        if subject is None:
            return self._begun and _in_the_runner()
        return subject not in self._spared


def _in_the_runner() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread, or a process that ends
        return False
    return task is not None and task.get_name() == RUNNER


class _Around(AbstractAsyncContextManager[Any]):
    def __init__(
        self, points: Points, step: str, manager: AbstractAsyncContextManager[Any]
    ) -> None:
        self._points, self._step, self._manager = points, step, manager

    async def __aenter__(self) -> Any:
        step = f"{self._step}, entered"
        self._points.before(step, None)
        return self._points.after(step, await self._manager.__aenter__())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> bool | None:
        step = f"{self._step}, left"
        self._points.before(step, None)
        return self._points.after(step, await self._manager.__aexit__(kind, error, trace))


class Rewriting(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the product's modules with their points in them."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._files = product_modules()

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self._files.get(name)
        if file is None:
            return None
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, file, loader=self, submodule_search_locations=inside
        )

    def exec_module(self, module: types.ModuleType) -> None:
        file = self._files[module.__name__]
        code = points_of(module.__name__, file.read_text(encoding="utf-8"))
        module.__dict__[REPORTS] = self._points
        exec(compile(code.tree, file, "exec"), module.__dict__)


def install(points: Points) -> None:
    """Rewrite what is imported from now on."""
    sys.meta_path.insert(0, Rewriting(points))


@functools.cache
def all_points() -> Sequence[str]:
    """Every point of the product's code, whether a song passes it or not. It takes a second."""
    return [
        point
        for module, file in product_modules().items()
        for point in points_of(module, file.read_text(encoding="utf-8")).points
    ]
