"""The operator's configuration: each variable missing or invalid, and secrets that stay hidden."""

import logging
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.config import Config, load
from services.errors import ConfigurationError

TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
KEY = "SG_0123456789abcdef"
REQUIRED = {"DISCORD_TOKEN": TOKEN, "SEGMIND_API_KEY": KEY}
UNREADABLE = (
    "can't be read ({}): expected the path of a file that holds nothing but the secret and that "
    "the bot's user may read."
)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.lower() in Config.model_fields:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the machine's; there is none yet."""
    folder = tmp_path / "secrets"
    monkeypatch.setattr("services.config.SECRETS_DIR", folder)
    return folder


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in (REQUIRED | variables).items():
        monkeypatch.setenv(name, value)


def secrets() -> tuple[str, str]:
    config = load()
    assert config.secrets == tuple(
        value.get_secret_value() for _, value in config if isinstance(value, SecretStr)
    )
    return config.discord_token.get_secret_value(), config.segmind_api_key.get_secret_value()


def error_text() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load()
    # Neither the error nor its cause has a value in its traceback.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    return str(refused.value)


VALID: list[tuple[str, str, Any]] = [
    ("DISCORD_API_URL", "http://127.0.0.1:8080/api/v10/", "http://127.0.0.1:8080/api/v10"),
    ("SEGMIND_API_URL", "http://localhost:9/", "http://localhost:9"),
    ("SEGMIND_MODE", "sync", "sync"),
    ("SEGMIND_RPM", "5", 5),
    ("SEGMIND_CONCURRENCY", "1", 1),
    ("DATABASE_URL", "sqlite:////srv/songs.db", "sqlite:////srv/songs.db"),
    ("DATA_DIR", "/srv/data", Path("/srv/data")),
    ("DEFAULT_ALLOWANCE", "0", 0),
    ("PRICE_SECONDS", "60", 60),
    ("PRICE_STEPS", "1000", 1_000),
    ("DEFAULT_COOLDOWN", "604800", 604_800),
    ("MEMBER_HOURLY_REFUNDS", "0", 0),
    ("SERVER_DAILY_SONGS", "0", 0),
    ("DAILY_SONGS", "1000000000", 10**9),
    ("ALLOWED_SERVERS", "1574699336627912704,2", {1574699336627912704, 2}),
    ("OPERATOR_IDS", " 198622483471925248, 7,", {198622483471925248, 7}),
    (
        "DOWNLOAD_ALLOW",
        "198.18.0.0/15, Storage.Internal., fd00::/8,10.0.0.7,minio",
        {
            *map(ip_network, ("198.18.0.0/15", "fd00::/8", "10.0.0.7/32")),
            *("storage.internal", "minio"),
        },
    ),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_FORMAT", "json", "json"),
]


@pytest.mark.parametrize(("name", "value", "parsed"), VALID, ids=[name for name, _, _ in VALID])
def test_valid_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str, parsed: Any) -> None:
    given(monkeypatch, **{name: value})
    assert getattr(load(), name.lower()) == parsed


def test_database_path(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    assert load().database_path == Path("data/songs.db")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////srv/songs.db")
    assert load().database_path == Path("/srv/songs.db")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_variable_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    given(monkeypatch, **{name: value or ""})
    if value is None:
        monkeypatch.delenv(name)
    expected = Config.model_fields[name.lower()].description
    assert error_text() == f"{name} is missing: expected {expected}."


INVALID = {
    "DISCORD_TOKEN": ("two words", "   ", "t\u00f6ken-1234", "line\nbreak", "'quoted-as-in-sh'"),
    "SEGMIND_API_KEY": ("SG_ 0123", '"SG_0123"', "SG_\\n"),
    "DISCORD_API_URL": ("discord.example", "ftp://discord.example"),
    "SEGMIND_API_URL": ("https://",),
    "SEGMIND_MODE": ("later",),
    "SEGMIND_RPM": ("0", "many", "1.5"),
    "SEGMIND_CONCURRENCY": ("-1",),
    "DATABASE_URL": ("postgres://me:secret@db/songs", "sqlite:///", "sqlite:///:memory:"),
    "DEFAULT_ALLOWANCE": ("-1", "1000001", "unlimited"),
    "PRICE_SECONDS": ("0", "1001"),
    "PRICE_STEPS": ("0", "0.5"),
    "DEFAULT_COOLDOWN": ("604801",),
    "MEMBER_HOURLY_REFUNDS": ("-1",),
    "SERVER_DAILY_SONGS": ("-1",),
    "DAILY_SONGS": ("1000000001", "none"),
    "ALLOWED_SERVERS": ("my server", "0"),
    "DOWNLOAD_ALLOW": ("10.0.0.1/8", "10.0.0", "https://s/", "a b", "*.s"),
    "OPERATOR_IDS": ("me", "7,8.5", "-7"),
    "LOG_LEVEL": ("LOUD",),
    "LOG_FORMAT": ("xml",),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in INVALID.items() for value in values]
)
def test_invalid_variable_is_named_with_what_is_expected_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given(monkeypatch, **{name: value})
    expected = Config.model_fields[name.lower()].description
    text = error_text()
    assert text == f"{name} is invalid: expected {expected}."
    if name in REQUIRED and value.strip():
        assert value not in text


def test_every_variable_that_can_be_invalid_is_tried() -> None:
    paths = {"DATA_DIR", "DISCORD_TOKEN_FILE", "SEGMIND_API_KEY_FILE"}
    assert INVALID.keys() | paths == {name.upper() for name in Config.model_fields}


def test_each_invalid_variable_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SEGMIND_RPM="x", OPERATOR_IDS="a,b,c", DISCORD_TOKEN="")
    names = [line.split()[0] for line in error_text().splitlines()]
    assert names == ["DISCORD_TOKEN", "SEGMIND_RPM", "OPERATOR_IDS"]


def test_white_space_around_a_secret_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SEGMIND_API_KEY=f" {KEY}\n")
    assert secrets() == (TOKEN, KEY)


def test_secrets_are_in_no_form_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given(monkeypatch)
    config = load()
    logging.getLogger(__name__).warning("config: %s", config)
    for form in (repr(config), str(config), config.model_dump_json(), caplog.text):
        assert TOKEN not in form
        assert KEY not in form


# --- .env -----------------------------------------------------------------------------------------


def test_environment_has_precedence_over_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable counts as not set, as compose passes on what is not set."""
    (tmp_path / ".env").write_text(
        f"# a comment\nDISCORD_TOKEN={TOKEN}\nSEGMIND_API_KEY='{KEY}'\n"
        "SEGMIND_RPM=5\nLOG_LEVEL=\nSOMETHING_ELSE=1\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SEGMIND_RPM", "7")
    monkeypatch.setenv("DISCORD_TOKEN", "")
    assert secrets() == (TOKEN, KEY)
    assert (load().segmind_rpm, load().log_level) == (7, "INFO")


@pytest.mark.parametrize("line", ["{}={}", "export {}={}", '{} = "{}"', "{}='{}'  # a comment"])
@pytest.mark.parametrize(("start", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_env_file_as_people_write_it(tmp_path: Path, line: str, start: str, end: str) -> None:
    """python-dotenv 526 and 637."""
    lines = [line.format(name, value) for name, value in REQUIRED.items()]
    (tmp_path / ".env").write_bytes((start + end.join(lines) + end).encode())
    assert secrets() == (TOKEN, KEY)


@pytest.mark.parametrize(
    "content", [b"DISCORD_TOKEN=\xff\xfe\n", f"DISCORD_TOKEN={TOKEN}\r\n".encode("utf-16")]
)
def test_env_file_that_is_not_utf_8(tmp_path: Path, content: bytes) -> None:
    """PowerShell's `echo` writes UTF-16 (motdotla/dotenv 445, subosito/gotenv 25)."""
    (tmp_path / ".env").write_bytes(content)
    assert error_text() == ".env can't be read: expected UTF-8 text."


def test_env_file_that_the_bot_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    (tmp_path / ".env").touch()
    given(monkeypatch)
    monkeypatch.setattr("dotenv.main.open", refuse, raising=False)
    assert error_text() == ".env can't be read: Permission denied. Let the bot's user read it."


# --- secrets in files -----------------------------------------------------------------------------


@pytest.fixture
def token_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The key is in the environment, the token in a file that a variable names."""
    file = tmp_path / "token"
    file.touch()
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    return file


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n\n"])
def test_a_variable_names_the_file_of_a_secret(token_file: Path, end: str) -> None:
    token_file.write_bytes(f"{TOKEN}{end}".encode())
    assert secrets() == (TOKEN, KEY)


def test_env_file_can_name_the_files_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "key").write_text(KEY)
    # As in .env.example: what is left empty counts as not set.
    (tmp_path / ".env").write_text(
        "DISCORD_TOKEN=\nSEGMIND_API_KEY=\nDISCORD_TOKEN_FILE=token\nSEGMIND_API_KEY_FILE=key\n"
    )
    assert secrets() == (TOKEN, KEY)


def test_a_secret_in_place_of_its_path_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, DISCORD_TOKEN_FILE=TOKEN)
    monkeypatch.delenv("DISCORD_TOKEN")
    reason = UNREADABLE.format("No such file or directory")
    assert error_text() == f"DISCORD_TOKEN_FILE {reason}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not one word"),
        (b"words " * 500, "it is not one word"),
        (b"\xff\xfe secret", "it is not one word"),
        (b"x" * 5_000, "File too large"),  # its beginning was taken for the token
        (None, "Is a directory"),  # as Docker makes where the file to mount is missing
    ],
)
def test_file_without_the_secret(token_file: Path, content: bytes | None, reason: str) -> None:
    if content is None:
        token_file.unlink()
        token_file.mkdir()
    else:
        token_file.write_bytes(content)
    assert error_text() == f"DISCORD_TOKEN_FILE {UNREADABLE.format(reason)}"


def test_file_of_zeros_is_no_secret(token_file: Path) -> None:
    token_file.write_bytes(bytes(100))  # of a disk that lost its content
    assert error_text().startswith("DISCORD_TOKEN is invalid")


def test_a_secret_and_its_file_are_one_too_many(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", TOKEN)
    monkeypatch.setenv("SEGMIND_API_KEY_FILE", "nowhere")
    assert error_text().splitlines() == [
        "DISCORD_TOKEN and DISCORD_TOKEN_FILE are both set: remove one of them.",
        "SEGMIND_API_KEY and SEGMIND_API_KEY_FILE are both set: remove one of them.",
    ]


@pytest.mark.parametrize("upper", [False, True])
def test_secrets_of_a_container_are_found_by_their_names(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch, upper: bool
) -> None:
    secrets_dir.mkdir()
    for name, value in REQUIRED.items():
        (secrets_dir / (name if upper else name.lower())).write_text(f"{value}\n")
    (secrets_dir / "of_another_program").write_text("x")
    assert secrets() == (TOKEN, KEY)
    # The environment has precedence; and a variable may name the very same file.
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_other")
    file = secrets_dir / ("DISCORD_TOKEN" if upper else "discord_token")
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    assert secrets() == (TOKEN, "SG_other")


def test_folder_of_another_programs_secrets_is_not_read(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_dir.mkdir()
    given(monkeypatch)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "iterdir", lambda _: pytest.fail("it was read"))
    assert secrets() == (TOKEN, KEY)


def test_secret_of_a_container_that_the_bot_may_not_read(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    secrets_dir.mkdir()
    file = secrets_dir / "discord_token"
    file.write_text(TOKEN)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        text = error_text()
    assert text == f"{file} can't be read: Permission denied. Let the bot's user read it."


def test_secret_of_a_container_that_is_not_utf_8(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_dir.mkdir()
    (secrets_dir / "discord_token").write_bytes(b"\xff")
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    assert error_text() == f"A secret in {secrets_dir} can't be read: expected UTF-8 text."
