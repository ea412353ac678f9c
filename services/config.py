"""The one settings object: from the environment, from `.env`, or from files with secrets."""

import errno
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    PlainValidator,
    PositiveInt,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from services.errors import ConfigurationError

SECRETS_DIR = Path("/run/secrets")
"""Where Docker, Podman and Kubernetes put secrets, each in a file with its variable's name."""
SECRETS = ("discord_token", "segmind_api_key")
LONGEST_SECRET = 4_096
"""Bytes: a file that is longer holds something else, and is not read whole."""

_SQLITE = "sqlite:///"
_ADDRESS = TypeAdapter(HttpUrl)


def _address(url: str) -> str:
    _ADDRESS.validate_python(url)
    return url.rstrip("/")


def _one_word(secret: SecretStr) -> SecretStr:
    word = secret.get_secret_value().strip()
    # Docker's env files keep quotes; and what JSON would escape could not be found in a log line.
    fits = word.isascii() and word.isprintable() and not any(c in " \"'\\" for c in word)
    if not word or not fits:
        raise ValueError("not one word")
    return SecretStr(word)


def _sqlite(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if path in ("", url, ":memory:"):  # a song must survive a restart
        raise ValueError("not an SQLite file's address")
    return url


def _reachable(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | str:
    """A network, or the name of a host in lower case.

    Raises:
        ValueError: neither.
    """
    name = text.lower().rstrip(".")
    # The last part of a name is never all digits: that would be an address, and this one is wrong.
    if re.fullmatch(r"(?:[a-z0-9_-]{1,63}\.)*(?!\d+$)[a-z0-9-]{1,63}", name):
        return name
    return ipaddress.ip_network(text)


Reachable = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network | str, PlainValidator(_reachable)
]
Address = Annotated[str, AfterValidator(_address)]
Secret = Annotated[SecretStr, AfterValidator(_one_word)]


class _NamedFiles(PydanticBaseSettingsSource):
    """Secrets in files that variables name, as containers do: `DISCORD_TOKEN_FILE` and the like."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[None, str, bool]:  # noqa: ARG002 - pydantic's form
        """Nothing: the fields are found together."""
        return None, field_name, False

    def __call__(self) -> dict[str, str]:
        """The secrets whose files are named.

        Raises:
            ConfigurationError: one line for each that can't be read, or is set twice.
        """
        found, wrong = {}, []
        for name in SECRETS:
            variable = f"{name}_file".upper()
            if (path := self.current_state.get(variable.lower())) is None:
                continue
            if name in self.current_state:
                wrong.append(f"{name.upper()} and {variable} are both set: remove one of them.")
                continue
            try:
                found[name] = _content(path)
            except (OSError, ValueError) as error:
                # The path is not shown: it may be the secret itself, put in the wrong place.
                why = (isinstance(error, OSError) and error.strerror) or "it is not one word"
                wrong.append(
                    f"{variable} can't be read ({why}): expected the path of a file that holds "
                    "nothing but the secret and that the bot's user may read."
                )
        if wrong:
            raise ConfigurationError("\n".join(wrong)) from None
        return found


def _content(path: str) -> str:
    """The one word in a file.

    Raises:
        OSError, ValueError: the file can't be read, or holds something else.
    """
    with Path(path).open("rb") as file:
        content = file.read(LONGEST_SECRET + 1)
    if len(content) > LONGEST_SECRET:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    (word,) = content.decode().split()
    return word


class Settings(BaseSettings):
    """What the operator decides. A field's description says what its variable wants.

    Secrets are `SecretStr`: they show as stars wherever the object is printed or logged.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    discord_token: Secret = Field(
        description="the bot's token, from the Bot page of your application in Discord's "
        "developer portal"
    )
    discord_token_file: Path | None = Field(
        None, description="the path of a file that holds the bot's token, in place of DISCORD_TOKEN"
    )
    discord_api_url: Address = Field(
        "https://discord.com/api/v10",
        description="an http or https address, like https://discord.com/api/v10",
    )
    segmind_api_key: Secret = Field(
        description="the song API's key, from your Segmind account (it begins with SG_)"
    )
    segmind_api_key_file: Path | None = Field(
        None, description="the path of a file that holds the key, in place of SEGMIND_API_KEY"
    )
    segmind_api_url: Address = Field(
        "https://api.segmind.com",
        description="the song API's root, like https://api.segmind.com",
    )
    segmind_mode: Literal["async", "sync"] = Field("async", description="async or sync")
    segmind_rpm: int = Field(
        50, ge=1, description="the account's requests a minute, a whole number from 1"
    )
    segmind_concurrency: int = Field(
        8, ge=1, description="songs at the API at once, a whole number from 1"
    )
    database_url: Annotated[str, AfterValidator(_sqlite)] = Field(
        "sqlite:///data/songs.db",
        description="sqlite:/// and a path, like sqlite:///data/songs.db",
    )
    data_dir: Path = Field(Path("data"), description="a folder's path")
    default_allowance: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="credits a day for each member where a server has not decided, a whole number "
        "from 0 to 1,000,000",
    )
    price_seconds: int = Field(
        30,
        ge=1,
        le=1_000,
        description="the seconds of a song that one credit pays, a whole number from 1 to 1,000",
    )
    price_steps: int = Field(
        50,
        ge=1,
        le=1_000,
        description="the steps that one credit pays, a whole number from 1 to 1,000",
    )
    default_cooldown: int = Field(
        5,
        ge=0,
        le=604_800,
        description="seconds that a member waits from one song to the next where a server has not "
        "decided, a whole number from 0 to 604,800",
    )
    member_hourly_refunds: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="songs that one member may cancel, or have fail for what they requested, in an "
        "hour, a whole number from 0 to 1,000,000; 0 is no limit",
    )
    server_daily_songs: int = Field(
        100,
        ge=0,
        le=1_000_000_000,
        description="songs a day (UTC) that one server may submit, a whole number from 0; 0 is no "
        "limit",
    )
    daily_songs: int = Field(
        500,
        ge=0,
        le=1_000_000_000,
        description="songs a day (UTC) that all servers together may submit, a whole number from "
        "0; 0 is no limit",
    )
    allowed_servers: Annotated[frozenset[PositiveInt], NoDecode] = Field(
        frozenset(),
        description="Discord server ids with commas between them; empty allows every server",
    )
    operator_ids: Annotated[frozenset[PositiveInt], NoDecode] = Field(
        frozenset(), description="Discord user ids with commas between them"
    )
    download_allow: Annotated[frozenset[Reachable], NoDecode] = Field(
        frozenset(),
        description="networks and host names with commas between them, like "
        "198.18.0.0/15,storage.internal",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json")

    @field_validator("operator_ids", "allowed_servers", "download_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What comes first goes before what comes after it."""
        named = _NamedFiles(settings_cls)
        return init_settings, env_settings, dotenv_settings, named, file_secret_settings

    @property
    def database_path(self) -> Path:
        """Where the database is, relative to the working directory unless absolute."""
        return Path(self.database_url.removeprefix(_SQLITE))


def load() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: one line for each variable that is missing or wrong, naming it and what
            it wants, never what it held.
    """
    # Others' containers and machines have no such folder, or one that is not for us.
    there = SECRETS_DIR.is_dir() and os.access(SECRETS_DIR, os.R_OK | os.X_OK)
    try:
        return Settings(_secrets_dir=SECRETS_DIR if there else None)
    except SettingsError as error:
        raise ConfigurationError(_unreadable(error.__cause__)) from None
    except ValidationError as error:
        # `from None`: the cause would carry the values, secrets among them.
        raise ConfigurationError("\n".join(_lines(error))) from None
    except UnicodeDecodeError:
        raise ConfigurationError(".env can't be read: it wants text in UTF-8.") from None
    except OSError as error:
        raise ConfigurationError(_unreadable(error)) from None


def _unreadable(error: BaseException | None) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} can't be read: {error.strerror}. Let the bot's user read it."
    return f"A secret in {SECRETS_DIR} can't be read: expected UTF-8 text."


def _lines(error: ValidationError) -> list[str]:
    lines = {}
    for problem in error.errors(include_input=False, include_context=False):
        name = str(problem["loc"][0])
        wrong = "is missing" if problem["type"] == "missing" else "is wrong"
        wanted = Settings.model_fields[name].description
        lines[name] = f"{name.upper()} {wrong}: it wants {wanted}."
    return list(lines.values())
