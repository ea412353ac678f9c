"""Which layer may depend on which: bot -> commands -> cogs -> services -> db."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("commands", "cogs", "services", "db")
PRODUCT = sorted([ROOT / "bot.py", *(f for part in LAYERS for f in (ROOT / part).rglob("*.py"))])
MAY_IMPORT = {
    "bot": {"commands", "cogs", "services", "db"},
    "commands": {"commands", "cogs", "services", "db"},
    "cogs": {"cogs", "services", "db"},
    "services": {"services", "db"},
    "db": {"db"},
}
OURS = {*MAY_IMPORT, "playground", "tests", "benchmarks", "requirements"}
DISCORD_LIBRARIES = {"discord", "simcord"}
SQL_LIBRARIES = {"sqlite3", "aiosqlite"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def layer(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def parts(node: ast.AST) -> Sequence[ast.AST]:
    """Return a node and all below it."""
    return list(ast.walk(node))


def imports(node: ast.AST) -> Iterator[str]:
    """Return the full name of every module that is imported below a node."""
    for part in parts(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, "imports are absolute"
            yield part.module or ""


def tops(node: ast.AST) -> set[str]:
    return {module.partition(".")[0] for module in imports(node)}


def calls(node: ast.AST, *names: str) -> list[ast.Call]:
    """Return every call of a function or method of one of these names."""
    return [
        part
        for part in parts(node)
        if isinstance(part, ast.Call)
        and (
            (isinstance(part.func, ast.Attribute) and part.func.attr in names)
            or (isinstance(part.func, ast.Name) and part.func.id in names)
        )
    ]


def each_file(check: Callable[[Path], None]) -> Callable[[], None]:
    """Check every file of the product in one test: a hundred for each rule took ten seconds."""

    def check_all() -> None:
        for file in PRODUCT:
            try:
                check(file)
            except AssertionError as error:
                error.add_note(f"in {name(file)}")
                raise

    return check_all


def test_every_layer_has_files() -> None:
    assert {layer(file) for file in PRODUCT} == set(MAY_IMPORT)
    assert len(PRODUCT) > 30


@each_file
def test_no_layer_depends_on_one_above(file: Path) -> None:
    imported = tops(tree(file)) & OURS
    if name(file) == "commands/play.py":
        imported.discard("playground")  # see below
    assert imported <= MAY_IMPORT[layer(file)]


DEPENDENCIES: dict[str, tuple[str, ...]] = {
    "cogs.client": (),
    "cogs.songs": ("cogs.client",),
    "cogs.reports": ("cogs.client",),
    "cogs.operations": ("cogs.client", "cogs.songs"),
    "cogs.credits": ("cogs.client",),
    "cogs.settings": ("cogs.client", "cogs.credits"),
    "cogs.quota": ("cogs.client", "cogs.credits", "cogs.reports", "cogs.settings"),
    "services.audio": (),
    "services.providers": (),
    "services.settings": ("services.providers",),
    "services.credits": ("services.settings",),
    "services.operations": ("services.credits",),
    "services.songs": (
        *("services.audio", "services.credits", "services.operations"),
        *("services.providers", "services.settings"),
    ),
    "services.reports": ("services.credits", "services.settings"),
}
"""The packages of a layer, and those that each may import. Single files are shared."""


def package(module: str) -> str:
    """Return the subject in a layer that a module belongs to, or the layer alone."""
    found = ".".join(module.split(".")[:2])
    return found if found in DEPENDENCIES else found.partition(".")[0]


def test_packages_depend_only_on_those_listed() -> None:
    found = {
        (package(module_of(file)), package(imported))
        for file in PRODUCT
        if layer(file) in ("cogs", "services")
        for imported in imports(tree(file))
        if imported.partition(".")[0] == layer(file)
    }
    allowed = {(above, below) for above, belows in DEPENDENCIES.items() for below in belows}
    same = {(above, below) for above, below in found if above == below or below in LAYERS}
    assert found <= allowed | same
    graphlib.TopologicalSorter(DEPENDENCIES).prepare()  # raises of a cycle


INTERNALS = {
    "cogs/client/discord_internals.py",
    "db/file_connection.py",
    "playground/simcord_internals.py",
}
"""One module for each library whose private parts are used; ruff reports them (SLF001)."""


def test_private_parts_of_a_library_are_used_in_one_module() -> None:
    files = [*PRODUCT, *(ROOT / "playground").rglob("*.py")]
    using = {name(file) for file in files if "noqa: SLF001" in file.read_text("utf-8")}
    assert using <= INTERNALS


@each_file
def test_no_import_is_computed(file: Path) -> None:
    assert not calls(tree(file), "__import__", "import_module", "exec", "eval")


@each_file
def test_only_upper_layers_import_discord(file: Path) -> None:
    imported = tops(tree(file)) & DISCORD_LIBRARIES
    assert imported <= ({"discord"} if layer(file) in ("bot", "commands", "cogs") else set())


DRAWING = "services/reports/usage_plot.py"
"""Runs in a process that ends, since its library would stay in the bot's memory."""


@each_file
def test_drawing_runs_in_another_process(file: Path) -> None:
    assert "services.reports.usage_plot" not in set(imports(tree(file)))
    assert "matplotlib" not in tops(tree(file)) or name(file) == DRAWING


def test_only_the_play_command_imports_the_playground() -> None:
    module = tree(ROOT / "commands" / "play.py")
    where = [
        part.name
        for part in parts(module)
        if isinstance(part, Function) and "playground" in tops(part)
    ]
    assert where == ["play"]
    at_top = [part for part in module.body if not isinstance(part, Function)]
    assert not any("playground" in tops(part) for part in at_top)


def test_the_playground_does_not_depend_on_tests() -> None:
    for file in (ROOT / "playground").rglob("*.py"):
        assert not tops(tree(file)) & {"tests", "benchmarks"}, name(file)


# --- SQL ------------------------------------------------------------------------------------------

SQL = re.compile(
    r"\s*(SELECT\b.*\bFROM|INSERT\s+INTO|UPDATE\b.*\bSET|DELETE\s+FROM|CREATE\s+\w+|ALTER\s+TABLE"
    r"|DROP\s+\w+|PRAGMA|BEGIN\b|WITH\b.*\bAS\s*\()",
    re.DOTALL,
)


def texts(node: ast.AST) -> Iterator[str]:
    for part in parts(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_sql_is_recognised() -> None:
    assert SQL.match("\n  SELECT a FROM b")
    assert SQL.match("WITH x AS (SELECT 1)")
    assert not SQL.match("Select a genre from the list")


@each_file
def test_sql_is_in_one_layer(file: Path) -> None:
    if layer(file) == "db":
        return
    module = tree(file)
    assert not [text for text in texts(module) if SQL.match(text)]
    assert not calls(module, "execute", "executemany", "executescript", "execute_fetchall")


@each_file
def test_every_statement_is_a_literal_inside_its_callers_transaction(file: Path) -> None:
    if layer(file) != "db" or file.name in ("database.py", "migrate.py"):
        return
    module = tree(file)
    if name(file) != "db/connection.py":  # passes on the statements of the others
        statements = [
            c.args[0] for c in calls(module, "execute", "executemany", "execute_fetchall")
        ]
        statements += [call.args[1] for call in calls(module, "_songs", "_number", "_moved")]
        statements += [
            part.value
            for part in parts(module)
            if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "sql"
        ]
        for statement in statements:
            literal = isinstance(statement, ast.Constant) or ast.unparse(statement) == "sql"
            assert literal, f"{name(file)}:{statement.lineno}"
    assert not calls(module, "commit", "rollback", "executescript")
    assert not [text for text in texts(module) if re.match(r"\s*(BEGIN|COMMIT|ROLLBACK)\b", text)]


def test_only_the_database_module_connects() -> None:
    for file in PRODUCT:
        if calls(tree(file), "connect") and tops(tree(file)) & SQL_LIBRARIES:
            assert name(file) in ("db/database.py", "db/file_connection.py")


# --- importing does nothing -----------------------------------------------------------------------

ENVIRONMENT = {"environ", "getenv", "getenvb", "environb"}
HAS_EFFECTS = {
    *("Client", "AutoShardedBot", "Bot", "ClientSession", "new_event_loop", "get_event_loop"),
    *("create_task", "Thread", "Process", "Popen", "ThreadPoolExecutor", "ProcessPoolExecutor"),
    *("Lock", "Event", "Queue", "Semaphore", "open", "connect", "mkdir", "basicConfig", "Config"),
    *("load", "read_text", "read_bytes", "run", "now", "today", "time", "random"),
}


def at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Return what is executed when a module is imported."""
    for statement in body:
        if isinstance(statement, Function):
            yield from statement.decorator_list
            yield from statement.args.defaults
            yield from filter(None, statement.args.kw_defaults)
        elif isinstance(statement, ast.ClassDef):
            yield from statement.decorator_list
            yield from at_import(statement.body)
        elif not (isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)):
            yield statement


@each_file
def test_importing_a_module_runs_nothing(file: Path) -> None:
    for part in at_import(tree(file).body):
        assert not calls(part, *HAS_EFFECTS, *ENVIRONMENT), ast.unparse(part)
        assert not isinstance(part, ast.For | ast.While | ast.With | ast.AsyncWith)


@each_file
def test_only_the_configuration_reads_the_environment(file: Path) -> None:
    read = [
        part
        for part in parts(tree(file))
        if isinstance(part, ast.Attribute | ast.Name)
        and (part.attr if isinstance(part, ast.Attribute) else part.id) in ENVIRONMENT
    ]
    # The processes that encode and draw are given the few variables that they need to start.
    assert not read or name(file) == "services/child_process.py"


WATCHED_IMPORT = """
import asyncio, importlib, sqlite3, sys, threading
import aiohttp, aiosqlite, av, discord.ext.commands, mutagen.mp4, pydantic_settings
if sys.argv[1] == "services.reports.usage_plot":
    import matplotlib.figure, matplotlib.font_manager, matplotlib.backends.backend_agg
seen = []
def watch(event, args):
    if event in ("socket.__new__", "subprocess.Popen", "os.mkdir", "os.remove", "sqlite3.connect"):
        seen.append((event, args))
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        if not str(args[0]).endswith((".pyc", ".pyo")) and "__pycache__" not in str(args[0]):
            seen.append((event, args))
sys.addaudithook(watch)
before = threading.active_count()
for module in sys.argv[1:]:
    importlib.import_module(module)
assert threading.active_count() == before, threading.enumerate()
assert asyncio._get_running_loop() is None
assert not seen, seen
unwanted = ("playground", "simcord", "pytest")
if sys.argv[1] != "services.reports.usage_plot":
    unwanted += ("matplotlib", "numpy")
assert not [module for module in sys.modules if module.partition(".")[0] in unwanted]
"""


def module_of(file: Path) -> str:
    return name(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize(
    "modules",
    [[module_of(f) for f in PRODUCT if name(f) != DRAWING], [module_of(ROOT / DRAWING)]],
    ids=["bot", "draws"],
)
def test_importing_the_product_has_no_effects(modules: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT, *modules],
        cwd=ROOT,
        env={
            "PATH": "",
            "SYSTEMROOT": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


# --- names ----------------------------------------------------------------------------------------


def test_no_file_has_a_catch_all_name() -> None:
    for place in (*LAYERS, "playground", "tests", "benchmarks"):
        for file in (ROOT / place).rglob("*.py"):
            assert not re.fullmatch(r"_?(utils?|helpers?|common|misc)", file.stem), name(file)


# --- refusals -------------------------------------------------------------------------------------

SPOKEN_BY_COGS = ("DeniedBySettings", "InvalidRequest", "NotPermitted", "NotPossible")
"""A service raises a subclass with the facts; its sentence is in a subject's texts."""


@each_file
def test_services_write_no_sentences_in_refusals(file: Path) -> None:
    if layer(file) == "services":
        assert not calls(tree(file), *SPOKEN_BY_COGS)
