"""What the operator decides: every variable missing or wrong, and nothing that gives them away."""

import logging
import os
import pickle
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.config import Config, load
from services.errors import ConfigurationError

TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
KEY = "SG_0123456789abcdef"
NEEDED = {"DISCORD_TOKEN": TOKEN, "SEGMIND_API_KEY": KEY}
VARIABLES = [name.upper() for name in Config.model_fields]


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper() in VARIABLES:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the machine's; there is none yet."""
    folder = tmp_path / "secrets"
    monkeypatch.setattr("services.config.SECRETS_DIR", folder)
    return folder


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in (NEEDED | variables).items():
        monkeypatch.setenv(name, value)


def complaint() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load()
    # Neither the error nor what it came from carries a value into a trace.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    return str(refused.value)


def test_the_variables_are_those_of_the_contract() -> None:
    assert set(VARIABLES) == {
        *("DISCORD_TOKEN", "DISCORD_API_URL", "SEGMIND_API_KEY", "SEGMIND_API_URL"),
        *("DISCORD_TOKEN_FILE", "SEGMIND_API_KEY_FILE"),
        *("SEGMIND_MODE", "SEGMIND_RPM", "SEGMIND_CONCURRENCY", "DATABASE_URL", "DATA_DIR"),
        *("DEFAULT_ALLOWANCE", "PRICE_SECONDS", "PRICE_STEPS"),
        *("DEFAULT_COOLDOWN", "MEMBER_HOURLY_REFUNDS"),
        *("SERVER_DAILY_SONGS", "DAILY_SONGS", "ALLOWED_SERVERS", "DOWNLOAD_ALLOW"),
        *("OPERATOR_IDS", "LOG_LEVEL", "LOG_FORMAT"),
    }


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    settings = load()
    assert settings.discord_token.get_secret_value() == TOKEN
    assert settings.segmind_api_key.get_secret_value() == KEY
    assert settings.discord_api_url == "https://discord.com/api/v10"
    assert settings.segmind_api_url == "https://api.segmind.com"
    assert (settings.segmind_mode, settings.segmind_rpm, settings.segmind_concurrency) == (
        "async",
        50,
        8,
    )
    assert settings.database_path == Path("data/songs.db")
    assert settings.data_dir == Path("data")
    assert settings.default_allowance == 10
    assert (settings.price_seconds, settings.price_steps) == (30, 50)
    assert (settings.default_cooldown, settings.member_hourly_refunds) == (5, 10)
    assert (settings.server_daily_songs, settings.daily_songs) == (100, 500)
    assert settings.allowed_servers == settings.operator_ids == frozenset()
    assert settings.download_allow == frozenset()
    assert (settings.log_level, settings.log_format) == ("INFO", "text")


def test_everything_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        DISCORD_API_URL="http://127.0.0.1:8080/api/v10/",
        SEGMIND_API_URL="http://localhost:9/",
        SEGMIND_MODE="sync",
        SEGMIND_RPM="5",
        SEGMIND_CONCURRENCY="1",
        DATABASE_URL="sqlite:////srv/songs.db",
        DATA_DIR="/srv/data",
        DEFAULT_ALLOWANCE="0",
        PRICE_SECONDS="60",
        PRICE_STEPS="1000",
        DEFAULT_COOLDOWN="604800",
        MEMBER_HOURLY_REFUNDS="0",
        SERVER_DAILY_SONGS="0",
        DAILY_SONGS="1000000000",
        ALLOWED_SERVERS="1574699336627912704,2",
        DOWNLOAD_ALLOW="198.18.0.0/15, Storage.Internal., fd00::/8,10.0.0.7,minio",
        OPERATOR_IDS=" 198622483471925248, 7,",
        LOG_LEVEL="debug",
        LOG_FORMAT="json",
    )
    settings = load()
    assert settings.discord_api_url == "http://127.0.0.1:8080/api/v10"
    assert settings.segmind_api_url == "http://localhost:9"
    assert (settings.segmind_mode, settings.segmind_rpm, settings.segmind_concurrency) == (
        "sync",
        5,
        1,
    )
    assert settings.database_path == Path("/srv/songs.db")
    assert settings.data_dir == Path("/srv/data")
    assert settings.default_allowance == 0
    assert (settings.price_seconds, settings.price_steps) == (60, 1_000)
    assert (settings.default_cooldown, settings.member_hourly_refunds) == (604_800, 0)
    assert (settings.server_daily_songs, settings.daily_songs) == (0, 10**9)
    assert settings.allowed_servers == {1574699336627912704, 2}
    networks = map(ip_network, ("198.18.0.0/15", "fd00::/8", "10.0.0.7/32"))
    assert settings.download_allow == {*networks, "storage.internal", "minio"}
    assert settings.operator_ids == {198622483471925248, 7}
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_one_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    given(monkeypatch)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    expected = Config.model_fields[name.lower()].description
    assert complaint() == f"{name} is missing: expected {expected}."


WRONG = [
    ("DISCORD_TOKEN", "two words"),
    ("DISCORD_TOKEN", "   "),
    ("DISCORD_TOKEN", "t\u00f6ken-1234"),
    ("DISCORD_TOKEN", "line\nbreak"),
    ("DISCORD_TOKEN", "'quoted-as-in-a-shell'"),
    ("SEGMIND_API_KEY", "SG_ 0123"),
    ("SEGMIND_API_KEY", '"SG_0123"'),
    ("SEGMIND_API_KEY", "SG_\\n"),
    ("DISCORD_API_URL", "discord.example"),
    ("DISCORD_API_URL", "ftp://discord.example"),
    ("SEGMIND_API_URL", "https://"),
    ("SEGMIND_MODE", "later"),
    ("SEGMIND_RPM", "0"),
    ("SEGMIND_RPM", "many"),
    ("SEGMIND_RPM", "1.5"),
    ("SEGMIND_CONCURRENCY", "-1"),
    ("DATABASE_URL", "postgres://me:secret@db/songs"),
    ("DATABASE_URL", "sqlite:///"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("DEFAULT_ALLOWANCE", "-1"),
    ("DEFAULT_ALLOWANCE", "1000001"),
    ("DEFAULT_ALLOWANCE", "unlimited"),
    ("PRICE_SECONDS", "0"),
    ("PRICE_SECONDS", "1001"),
    ("PRICE_STEPS", "0"),
    ("PRICE_STEPS", "0.5"),
    ("DEFAULT_COOLDOWN", "604801"),
    ("MEMBER_HOURLY_REFUNDS", "-1"),
    ("SERVER_DAILY_SONGS", "-1"),
    ("DAILY_SONGS", "1000000001"),
    ("DAILY_SONGS", "none"),
    ("ALLOWED_SERVERS", "my server"),
    ("ALLOWED_SERVERS", "0"),
    *(("DOWNLOAD_ALLOW", wrong) for wrong in ("10.0.0.1/8", "10.0.0", "https://s/", "a b", "*.s")),
    ("OPERATOR_IDS", "me"),
    ("OPERATOR_IDS", "7,8.5"),
    ("OPERATOR_IDS", "-7"),
    ("LOG_LEVEL", "LOUD"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_one_is_named_with_what_is_expected_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given(monkeypatch, **{name: value})
    expected = Config.model_fields[name.lower()].description
    words = complaint()
    assert words == f"{name} is invalid: expected {expected}."
    if name in NEEDED and value.strip():
        assert value not in words


UNTYPED = {"DATA_DIR", "DISCORD_TOKEN_FILE", "SEGMIND_API_KEY_FILE"}
"""Any text is a path. What can be wrong with the files comes below."""


def test_every_variable_that_can_be_wrong_is_tried() -> None:
    assert {name for name, _ in WRONG} | UNTYPED == set(VARIABLES)


def test_each_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SEGMIND_RPM="x", OPERATOR_IDS="a,b,c", DISCORD_TOKEN="")
    lines = complaint().splitlines()
    assert [line.split()[0] for line in lines] == ["DISCORD_TOKEN", "SEGMIND_RPM", "OPERATOR_IDS"]


def test_the_file_is_read_and_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        f"# a comment\nDISCORD_TOKEN={TOKEN}\nSEGMIND_API_KEY='{KEY}'\n"
        "SEGMIND_RPM=5\nLOG_LEVEL=\nSOMETHING_ELSE=1\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SEGMIND_RPM", "7")
    settings = load()
    assert settings.discord_token.get_secret_value() == TOKEN
    assert settings.segmind_api_key.get_secret_value() == KEY
    assert settings.segmind_rpm == 7
    assert settings.log_level == "INFO"


@pytest.mark.parametrize("line", ["{}={}", "export {}={}", '{} = "{}"', "{}='{}'  # a comment"])
@pytest.mark.parametrize(("start", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_lines_as_others_write_them(tmp_path: Path, line: str, start: str, end: str) -> None:
    """python-dotenv 526 and 637."""
    lines = [line.format("DISCORD_TOKEN", TOKEN), line.format("SEGMIND_API_KEY", KEY)]
    (tmp_path / ".env").write_bytes((start + end.join(lines) + end).encode())
    settings = load()
    assert settings.discord_token.get_secret_value() == TOKEN
    assert settings.segmind_api_key.get_secret_value() == KEY


def test_an_empty_variable_does_not_hide_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with compose, which passes on what is not set as empty."""
    (tmp_path / ".env").write_text(f"DISCORD_TOKEN={TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("DISCORD_TOKEN", "")
    assert load().discord_token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    "content", [b"DISCORD_TOKEN=\xff\xfe\n", f"DISCORD_TOKEN={TOKEN}\r\n".encode("utf-16")]
)
def test_a_file_that_is_no_text_is_said_plainly(tmp_path: Path, content: bytes) -> None:
    """PowerShell's `echo` writes UTF-16 (motdotla/dotenv 445, subosito/gotenv 25)."""
    (tmp_path / ".env").write_bytes(content)
    assert complaint() == ".env can't be read: expected UTF-8 text."


def test_a_secret_has_no_edges_of_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SEGMIND_API_KEY=f" {KEY}\n")
    assert load().segmind_api_key.get_secret_value() == KEY


# --- secrets in files -----------------------------------------------------------------------------


def in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> Path:
    """The key is in the environment, the token in a file that a variable names."""
    file = tmp_path / "token"
    file.write_bytes(content)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    return file


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n\n"])
def test_a_variable_names_the_file_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    in_files(monkeypatch, tmp_path, f"{TOKEN}{end}".encode())
    assert load().discord_token.get_secret_value() == TOKEN


def test_env_can_name_the_files_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "key").write_text(KEY)
    # As .env.example stands there: what is left empty counts as not set.
    (tmp_path / ".env").write_text(
        "DISCORD_TOKEN=\nSEGMIND_API_KEY=\nDISCORD_TOKEN_FILE=token\nSEGMIND_API_KEY_FILE=key\n"
    )
    settings = load()
    assert settings.discord_token.get_secret_value() == TOKEN
    assert settings.segmind_api_key.get_secret_value() == KEY


EXPECTED = "expected the path of a file that holds nothing but the secret and that the bot's user"


def test_a_file_that_is_missing_is_said_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    # A common slip: the secret itself where its path belongs.
    monkeypatch.setenv("DISCORD_TOKEN_FILE", TOKEN)
    said = complaint()
    assert said.startswith(
        f"DISCORD_TOKEN_FILE can't be read (No such file or directory): {EXPECTED}"
    )
    assert TOKEN not in said


@pytest.mark.parametrize("what", ["folder", "no text", "no path", "too long"])
def test_a_file_that_can_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    file = in_files(monkeypatch, tmp_path, b"\xff\xfe secret")
    if what == "folder":
        file.unlink()
        file.mkdir()  # as Docker makes where the file to mount is missing
    elif what == "no path":
        monkeypatch.setenv("DISCORD_TOKEN_FILE", "x" * 5_000)
    elif what == "too long":
        file.write_bytes(b"x" * 5_000)  # its beginning was taken for the token
    (line,) = complaint().splitlines()
    assert line.startswith("DISCORD_TOKEN_FILE can't be read (")
    assert "secret\n" not in line


@pytest.mark.parametrize("content", [b"", b"words " * 500])
def test_a_file_without_the_secret_is_said_without_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    in_files(monkeypatch, tmp_path, content)
    said = complaint()
    assert said.startswith(f"DISCORD_TOKEN_FILE can't be read (it is not one word): {EXPECTED}")
    assert "words" not in said


def test_control_characters_are_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_files(monkeypatch, tmp_path, bytes(100))  # of a disk that lost its content
    assert complaint().startswith("DISCORD_TOKEN is invalid")


def test_a_secret_and_its_file_are_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_files(monkeypatch, tmp_path, TOKEN.encode())
    monkeypatch.setenv("DISCORD_TOKEN", TOKEN)
    monkeypatch.setenv("SEGMIND_API_KEY_FILE", "nowhere")
    assert complaint().splitlines() == [
        "DISCORD_TOKEN and DISCORD_TOKEN_FILE are both set: remove one of them.",
        "SEGMIND_API_KEY and SEGMIND_API_KEY_FILE are both set: remove one of them.",
    ]


@pytest.mark.parametrize("upper", [False, True])
def test_secrets_of_a_container_are_found_by_their_names(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch, upper: bool
) -> None:
    secrets_dir.mkdir()
    for name, value in NEEDED.items():
        (secrets_dir / (name if upper else name.lower())).write_text(f"{value}\n")
    (secrets_dir / "of_another_program").write_text("x")
    settings = load()
    assert settings.discord_token.get_secret_value() == TOKEN
    assert settings.segmind_api_key.get_secret_value() == KEY
    # The environment goes first; and a variable may name the very same file.
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_other")
    file = secrets_dir / ("DISCORD_TOKEN" if upper else "discord_token")
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    settings = load()
    assert settings.segmind_api_key.get_secret_value() == "SG_other"
    assert settings.discord_token.get_secret_value() == TOKEN


def test_a_folder_of_secrets_that_is_not_for_us_does_not_matter(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_dir.mkdir()
    given(monkeypatch)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "iterdir", lambda _: pytest.fail("it was looked into"))
    assert load().discord_token.get_secret_value() == TOKEN


def test_a_secret_of_a_container_that_is_not_for_the_bots_user_is_said(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    secrets_dir.mkdir()
    (secrets_dir / "discord_token").write_text(TOKEN)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setattr(Path, "read_text", refuse)
    file = secrets_dir / "discord_token"
    assert complaint() == f"{file} can't be read: Permission denied. Let the bot's user read it."
    monkeypatch.undo()


def test_a_secret_of_a_container_that_is_no_text_is_said(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_dir.mkdir()
    (secrets_dir / "discord_token").write_bytes(b"\xff")
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    assert complaint() == f"A secret in {secrets_dir} can't be read: expected UTF-8 text."


def test_an_env_that_can_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    (tmp_path / ".env").touch()
    given(monkeypatch)
    monkeypatch.setattr("dotenv.main.open", refuse, raising=False)
    assert complaint() == ".env can't be read: Permission denied. Let the bot's user read it."


# --- what may be seen of it -----------------------------------------------------------------------


def test_nothing_can_be_changed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.segmind_rpm = 7  # type: ignore[misc]


def test_secrets_are_in_no_form_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given(monkeypatch)
    settings = load()
    logging.getLogger(__name__).warning("settings: %s", settings)
    for form in (repr(settings), str(settings), settings.model_dump_json(), caplog.text):
        assert TOKEN not in form
        assert KEY not in form


def test_a_copy_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    assert pickle.loads(pickle.dumps(load())) == load()
