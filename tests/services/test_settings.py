"""What the operator decides: every variable missing or wrong, and nothing that gives them away."""

import logging
import os
import pickle
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.errors import ConfigurationError
from services.settings import Settings, load

TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
KEY = "SG_0123456789abcdef"
NEEDED = {"DISCORD_TOKEN": TOKEN, "SEGMIND_API_KEY": KEY}
VARIABLES = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper() in VARIABLES:
            monkeypatch.delenv(name)


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
        *("SEGMIND_MODE", "SEGMIND_RPM", "SEGMIND_CONCURRENCY", "DATABASE_URL", "DATA_DIR"),
        *("DEFAULT_ALLOWANCE", "PRICE_SECONDS", "PRICE_STEPS"),
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
    assert (settings.server_daily_songs, settings.daily_songs) == (0, 10**9)
    assert settings.allowed_servers == {1574699336627912704, 2}
    networks = map(ip_network, ("198.18.0.0/15", "fd00::/8", "10.0.0.7/32"))
    assert settings.download_allow == {*networks, "storage.internal", "minio"}
    assert settings.operator_ids == {198622483471925248, 7}
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_one_is_named_with_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    given(monkeypatch)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    wants = Settings.model_fields[name.lower()].description
    assert complaint() == f"{name} is missing: it wants {wants}."


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
def test_a_wrong_one_is_named_with_what_it_wants_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given(monkeypatch, **{name: value})
    wants = Settings.model_fields[name.lower()].description
    words = complaint()
    assert words == f"{name} is wrong: it wants {wants}."
    if name in NEEDED and value.strip():
        assert value not in words


def test_every_variable_that_can_be_wrong_is_tried() -> None:
    assert {name for name, _ in WRONG} | {"DATA_DIR"} == set(VARIABLES)


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


def test_an_empty_variable_does_not_hide_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with compose, which passes on what is not set as empty."""
    (tmp_path / ".env").write_text(f"DISCORD_TOKEN={TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("DISCORD_TOKEN", "")
    assert load().discord_token.get_secret_value() == TOKEN


def test_a_file_that_is_no_text_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"DISCORD_TOKEN=\xff\xfe\n")
    assert complaint() == ".env can't be read: it wants text in UTF-8."


def test_a_secret_has_no_edges_of_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SEGMIND_API_KEY=f" {KEY}\n")
    assert load().segmind_api_key.get_secret_value() == KEY


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
