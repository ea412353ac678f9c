"""The documents are checked against the code."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import discord
import pytest
from discord import app_commands
from pydantic.fields import FieldInfo

from bot import GRACE, LAST_EDITS, composed
from cogs.client.client import Client
from commands.run import GOODBYE
from playground.discord import PlaygroundConfig
from services.config import Config

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
OPERATING = ROOT / "docs" / "operating.md"
EXAMPLE = ROOT / ".env.example"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECRETS = ("discord_token", "segmind_api_key")

PERMISSIONS = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
INVITATION = discord.Permissions(**dict.fromkeys(PERMISSIONS, True))

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
# A path of ours: a known folder in front, or a file of the root with its ending.
PATH = re.compile(
    r"(?:(?:commands|cogs|services|db|playground|tests|benchmarks|docs|requirements|\.ci|\.github)/[\w./-]*"
    r"|[\w.-]+\.(?:md|py|toml|yaml|example)|Dockerfile|Makefile)"
)

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda file: file.relative_to(ROOT).as_posix()
)
each_setting = pytest.mark.parametrize("name", Config.model_fields)


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def row_of(name: str, document: Path) -> str:
    """Return the line of a table that begins with this setting."""
    found = [line for line in text(document).splitlines() if line.startswith(f"| `{name}` |")]
    assert len(found) == 1, f"{document.name} has {len(found)} rows for {name}"
    return found[0]


def shown(field: FieldInfo) -> str:
    """Return a default as it is written in an environment."""
    return "" if field.default in (None, frozenset()) else str(field.default)


def example() -> dict[str, str]:
    """Return every variable of `.env.example`, also those that are commented out."""
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", text(EXAMPLE), re.MULTILINE)
    assert len(lines) == len(dict(lines)), "a variable is there twice"
    return dict(lines)


# --- settings -------------------------------------------------------------------------------------


@each_setting
def test_every_variable_is_documented_with_its_default_and_what_is_expected(name: str) -> None:
    field = Config.model_fields[name]
    _, _, default, expected, _ = row_of(name.upper(), README).split("|")
    in_operating = row_of(name.upper(), OPERATING).split("|")[2]
    if field.is_required():
        assert "must be set" in default
        assert in_operating.strip() == "must be set"
    else:
        written = f"`{shown(field)}`" if shown(field) else "empty"
        assert default.strip() == in_operating.strip() == written
    assert expected.strip() == field.description


def test_the_example_has_every_variable_and_only_secrets_have_to_be_filled_in() -> None:
    assert set(example()) == {name.upper() for name in Config.model_fields}
    required = re.findall(r"^([A-Z_]+)=", text(EXAMPLE), re.MULTILINE)
    assert required == [name.upper() for name in Config.model_fields if name in SECRETS]


@pytest.mark.parametrize("uncommented", [False, True], ids=["as it is", "every line uncommented"])
def test_the_example_parses_into_the_defaults(
    uncommented: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.lower() in Config.model_fields:
            monkeypatch.delenv(name)
    lines = text(EXAMPLE)
    if uncommented:
        lines = re.sub(r"^#([A-Z_]+=)", r"\1", lines, flags=re.MULTILINE)
    for secret in SECRETS:
        lines = lines.replace(f"\n{secret.upper()}=\n", f"\n{secret.upper()}=of-{secret}\n")
    (tmp_path / ".env").write_text(lines, encoding="utf-8")

    settings = Config()

    for name, field in Config.model_fields.items():
        value = getattr(settings, name)
        if name in SECRETS:
            assert value.get_secret_value() == f"of-{name}"
        else:
            assert value == field.default


# --- commands and permissions ---------------------------------------------------------------------


def leaves(client: Client) -> Iterator[str]:
    for command in client.tree.walk_commands():
        if not isinstance(command, app_commands.Group):
            yield command.qualified_name


async def test_the_readme_has_every_command_and_no_other(tmp_path: Path) -> None:
    config = PlaygroundConfig(  # with an operator, whose commands are there only for one
        discord_token="x",
        segmind_api_key="y",
        operator_ids="1",
        database_url=f"sqlite:///{tmp_path / 'songs.db'}",
        data_dir=tmp_path,
    )
    async with composed(config) as application:
        await application.add_cogs()
    listed = re.findall(r"^\| `/([a-z ]+)` \|", text(README), re.MULTILINE)
    assert sorted(listed) == sorted(leaves(application.client))


def test_the_invitation_asks_for_what_a_post_takes() -> None:
    expected = discord.utils.oauth_url(
        "YOUR_APPLICATION_ID", permissions=INVITATION, scopes=("bot", "applications.commands")
    )
    assert expected in text(README).split()
    assert f"**{INVITATION.value}**" in text(README)


def test_the_readme_names_each_permission_of_the_invitation() -> None:
    rows = re.findall(r"^\| ([A-Z][^|`]+) \|", text(README), re.MULTILINE)
    named = [name for row in rows for name in row.split(", ")]
    assert [name for name in named if name in PERMISSIONS.values()] == list(PERMISSIONS.values())


def test_the_invitation_asks_for_what_song_checks() -> None:
    """`check_can_post` reads these from the interaction: one that it adds has to be invited."""
    checked = {
        node.attr
        for node in ast.walk(ast.parse(text(ROOT / "cogs" / "client" / "permissions.py")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "mine"
    }
    # Only for voice channels and locked threads, where managers give these as well.
    assert checked - {"connect", "manage_threads"} == set(PERMISSIONS)


# --- names in documents ---------------------------------------------------------------------------


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    commands = re.findall(r"(?:`|^ {4})make ([a-z]+)", text(document), re.MULTILINE)
    assert set(commands) <= targets


def test_the_readme_has_every_make_target() -> None:
    targets = re.findall(r"^([a-z]+):.*##", text(ROOT / "Makefile"), re.MULTILINE)
    assert targets
    for target in targets:
        assert f"make {target}" in text(README)


@each_document
def test_every_path_that_is_named_exists(document: Path) -> None:
    if document.parent.name == "decisions":
        return  # they keep the names of their day
    words = {word for code in CODE.findall(text(document)) for word in code.split()}
    named = {word for word in words if PATH.fullmatch(word)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


@each_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    if document.parent.name == "decisions":
        return
    named = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", text(document))
    files = {file: text(ROOT / file) for file, _ in named if (ROOT / file).exists()}
    missing = [
        f"{file}::{test}" for file, test in named if f"def {test}(" not in files.get(file, "")
    ]
    assert missing == []


@each_document
def test_every_relative_link_resolves(document: Path) -> None:
    links = LINK.findall(FENCE.sub("", text(document)))
    assert [link for link in links if not resolves(document, link)] == []


def resolves(document: Path, link: str) -> bool:
    if "://" in link:
        return True
    path, _, anchor = link.partition("#")
    target = (document.parent / path) if path else document
    if target.is_dir() or not target.exists() or not anchor:
        return target.exists()
    return anchor in {anchor_of(heading) for heading in HEADING.findall(text(target))}


def anchor_of(heading: str) -> str:
    """Return it as GitHub does: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_picture_of_states_has_each_transition() -> None:
    baseline = text(ROOT / "db" / "migrations" / "0010_baseline.sql")
    inserted = re.search(r"INSERT INTO song_transitions .*?;\n", baseline, re.DOTALL)
    assert inserted is not None
    allowed = re.findall(r"\('(\w+)',\s+'(\w+)'\)", inserted[0])
    _, _, page = text(ROOT / "docs" / "architecture.md").partition("stateDiagram-v2")
    drawn = re.findall(r"^    (\w+) --> (\w+)", page.partition("```")[0], re.MULTILINE)
    assert sorted(drawn) == sorted((before, after) for after, before in allowed)


# --- proofs ---------------------------------------------------------------------------------------

PROVEN = {"reliability": ROOT / "docs/reliability.md", "security": ROOT / "docs/security.md"}
TESTED = re.compile(r"tests/(\w+)/(test_\w+)\.py::(test_\w+)(?:\[([^\]]+)\])?")
NOT_PROOFS = {"test_guarantees", "test_crash_points"}
"""They test the tools of the proofs."""
IN_PARTS = {"fault", "permission"}
"""A test with a parameter of this name has a line for each: what breaks in many ways."""


def proofs(kind: str) -> Iterator[tuple[str, str, str, str]]:
    """List (kind, module, test, part or nothing) of all proofs of a kind."""
    for file in (ROOT / "tests" / kind).glob("test_*.py"):
        if file.stem in NOT_PROOFS:
            continue
        module = importlib.import_module(f"tests.{kind}.{file.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_") and test.__module__ == module.__name__:
                for part in parts_of(test) or [""]:
                    yield kind, file.stem, name, part


def parts_of(test: Callable[..., object]) -> list[str]:
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    return [part for mark in marks if mark.args[0] in IN_PARTS for part in mark.args[1]]


def table_rows(document: Path) -> list[list[str]]:
    """Return the cells of each line of a document's tables, without the headings."""
    lines = [line for line in text(document).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("what is tried", "threat")]


@pytest.mark.parametrize("kind", PROVEN)
def test_each_proof_is_a_line_and_each_line_has_a_proof(kind: str) -> None:
    assert set(TESTED.findall(text(PROVEN[kind]))) == set(proofs(kind))


@pytest.mark.parametrize("document", PROVEN.values(), ids=PROVEN)
def test_each_line_names_its_test(document: Path) -> None:
    assert [row for row in table_rows(document) if ".py::test_" not in " ".join(row)] == []


def test_each_line_of_reliability_has_a_figure() -> None:
    rows = table_rows(PROVEN["reliability"])
    assert [row for row in rows if len(row) != 4 or not re.search(r"\d", row[3])] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(file.name for file in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    listed = LINK.findall(text(folder / "README.md"))
    assert listed == pages
    for name in pages:
        title = HEADING.search(text(folder / name))
        assert title is not None
        assert title[1].startswith(name[:4])
        assert f"[{title[1]}]({name})" in text(folder / "README.md")


# --- the image ------------------------------------------------------------------------------------


def copied() -> list[str]:
    """Return what the Dockerfile copies from the work tree."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", text(ROOT / "Dockerfile"), re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_the_image_gets_what_it_copies() -> None:
    let_in = re.findall(r"^!(.+)$", text(ROOT / ".dockerignore"), re.MULTILINE)
    assert sorted(copied()) == sorted(let_in)
    for source in let_in:
        assert (ROOT / source).exists()


def test_the_image_holds_all_that_the_bot_imports() -> None:
    """A missing module is noticed here, not at the start of a server."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(ROOT), *(Path(name).stem for name in copied())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tests" not in done.stdout
    assert "playground" not in done.stdout
    assert "bot" in done.stdout.split()


IMPORTS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bot, services.audio.encoder
root = Path(sys.argv[1])
files = {name.partition('.')[0]: Path(getattr(module, '__file__', None) or '/')
         for name, module in list(sys.modules.items())}
ours = {name for name, file in files.items()
        if file.is_relative_to(root) and not file.is_relative_to(root / '.venv')}
assert ours <= set(sys.argv[2:]), ours
print(*sorted(ours))
"""


def test_the_image_and_compose_agree_on_where_the_data_is() -> None:
    image, compose = text(ROOT / "Dockerfile"), text(ROOT / "compose.yaml")
    for name, value in (("DATABASE_URL", "sqlite:////data/songs.db"), ("DATA_DIR", "/data")):
        assert f"{name}={value}" in image
        assert f"{name}: {value}" in compose
    assert "\nVOLUME /data\n" in image
    assert "- data:/data" in compose


def test_a_stop_reaches_the_bot_and_has_time() -> None:
    image, compose = text(ROOT / "Dockerfile"), text(ROOT / "compose.yaml")
    assert '\nCMD ["python", "bot.py", "run"]\n' in image
    assert 'CMD ["python", "bot.py", "health"]' in image
    (patience,) = re.findall(r"stop_grace_period: (\d+)s", compose)
    assert int(patience) > GRACE + LAST_EDITS + GOODBYE
    assert f"--stop-timeout {patience} " in text(README)
    assert re.search(r"^USER \d+:\d+$", image, re.MULTILINE)


def test_ci_runs_what_a_desk_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.name == "nt" or os.access(script, os.X_OK)
    (called,) = re.findall(r"^make (.+)$", text(script), re.MULTILINE)
    assert [word for word in called.split() if not word.startswith("--")] == ["lint", "test"]


def test_ci_uses_actions_by_commit() -> None:
    """A tag can be moved to other code, a commit can't; the comment has its version."""
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    used = [line for file in workflows for line in re.findall(r"uses: (.+)", text(file))]
    assert used
    assert [line for line in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", line)] == []
