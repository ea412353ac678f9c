"""The operator's configuration: from the environment, `.env`, or files with secrets."""

import errno
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

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
"""Bytes: a longer file holds something else, and is not read completely."""

_SQLITE = "sqlite:///"
_ADDRESS = TypeAdapter(HttpUrl)


def _check_url(url: str) -> str:
    _ADDRESS.validate_python(url)
    return url.rstrip("/")


def _check_one_word(secret: SecretStr) -> SecretStr:
    word = secret.get_secret_value().strip()
    # Docker's env files keep quotes. What JSON escapes could not be redacted in a log line.
    valid = word.isascii() and word.isprintable() and not any(c in " \"'\\" for c in word)
    if not word or not valid:
        raise ValueError("not one word")
    return SecretStr(word)


def _check_sqlite_url(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if path in ("", url, ":memory:"):  # a song must survive a restart
        raise ValueError("not an SQLite file's address")
    return url


def _parse_reachable(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | str:
    """Parse a network, or a host name, which becomes lower case.

    Raises:
        ValueError: neither.
    """
    name = text.lower().rstrip(".")
    # A name whose last part is all digits is an invalid address.
    if re.fullmatch(r"(?:[a-z0-9_-]{1,63}\.)*(?!\d+$)[a-z0-9-]{1,63}", name):
        return name
    return ipaddress.ip_network(text)


Reachable = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network | str, PlainValidator(_parse_reachable)
]
Ids = Annotated[frozenset[PositiveInt], NoDecode]
Address = Annotated[str, AfterValidator(_check_url)]
Secret = Annotated[SecretStr, AfterValidator(_check_one_word)]


class _NamedFiles(PydanticBaseSettingsSource):
    """Secrets in files named by variables like `DISCORD_TOKEN_FILE`, as containers do."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[None, str, bool]:  # noqa: ARG002 - pydantic's form
        """Find nothing: `__call__` finds all fields together."""
        return None, field_name, False

    def __call__(self) -> dict[str, str]:
        """Read the secrets whose files are named.

        Raises:
            ConfigurationError: one line for each that can't be read or is set twice.
        """
        found, problems = {}, []
        for name in SECRETS:
            variable = f"{name}_file".upper()
            if (path := self.current_state.get(variable.lower())) is None:
                continue
            if name in self.current_state:
                problems.append(f"{name.upper()} and {variable} are both set: remove one of them.")
                continue
            try:
                found[name] = _read_word(path)
            except (OSError, ValueError) as error:
                # The path is not shown: it may be the secret itself, put in the wrong place.
                why = (isinstance(error, OSError) and error.strerror) or "it is not one word"
                problems.append(
                    f"{variable} can't be read ({why}): expected the path of a file that holds "
                    "nothing but the secret and that the bot's user may read."
                )
        if problems:
            raise ConfigurationError("\n".join(problems)) from None
        return found


def _read_word(path: str) -> str:
    """Read the one word in a file.

    Raises:
        OSError, ValueError: the file can't be read, or holds something else.
    """
    with Path(path).open("rb") as file:
        content = file.read(LONGEST_SECRET + 1)
    if len(content) > LONGEST_SECRET:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    (word,) = content.decode().split()
    return word


def _integer(default: int, low: int, high: int | None, unit: str) -> Any:  # noqa: ANN401 - pydantic's form
    bounds = f"of {low} or more" if high is None else f"from {low} to {high:,}"
    return Field(default, ge=low, le=high, description=f"an integer {bounds} ({unit})")


class Config(BaseSettings):
    """The operator's configuration. A field's description says which values are valid.

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
    segmind_rpm: int = _integer(50, 1, None, "requests per minute")
    segmind_concurrency: int = _integer(8, 1, None, "songs at the API at the same time")
    database_url: Annotated[str, AfterValidator(_check_sqlite_url)] = Field(
        "sqlite:///data/songs.db",
        description="sqlite:/// and a path, like sqlite:///data/songs.db",
    )
    data_dir: Path = Field(Path("data"), description="a folder's path")
    default_allowance: int = _integer(
        10, 0, 1_000_000, "credits per day for each member, where a server has not decided"
    )
    price_seconds: int = _integer(30, 1, 1_000, "seconds of a song for one credit")
    price_steps: int = _integer(50, 1, 1_000, "steps for one credit")
    default_cooldown: int = _integer(
        5, 0, 604_800, "seconds between a member's songs, where a server has not decided"
    )
    member_hourly_refunds: int = _integer(
        10,
        *(0, 1_000_000),
        "songs per hour that a member cancels or that fail because of their request; 0: no limit",
    )
    server_daily_songs: int = _integer(
        100, 0, 1_000_000_000, "songs per day (UTC) from one server; 0: no limit"
    )
    daily_songs: int = _integer(
        500, 0, 1_000_000_000, "songs per day (UTC) from all servers together; 0: no limit"
    )
    allowed_servers: Ids = Field(
        frozenset(),
        description="Discord server ids, separated by commas; empty allows every server",
    )
    operator_ids: Ids = Field(frozenset(), description="Discord user ids, separated by commas")
    download_allow: Annotated[frozenset[Reachable], NoDecode] = Field(
        frozenset(),
        description="networks and host names, separated by commas, like "
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
        """Return the sources, the one that wins first."""
        named = _NamedFiles(settings_cls)
        return init_settings, env_settings, dotenv_settings, named, file_secret_settings

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret, so that no log line shows one."""
        return tuple(getattr(self, name).get_secret_value() for name in SECRETS)

    @property
    def database_path(self) -> Path:
        """The database's path, relative to the working directory unless absolute."""
        return Path(self.database_url.removeprefix(_SQLITE))


def load() -> Config:
    """Read the configuration.

    Raises:
        ConfigurationError: one line for each variable that is missing or invalid, with its name
            and the expected value, never the value it had.
    """
    # Most machines have no such folder, or one that belongs to another program.
    readable = SECRETS_DIR.is_dir() and os.access(SECRETS_DIR, os.R_OK | os.X_OK)
    try:
        return Config(_secrets_dir=SECRETS_DIR if readable else None)
    except SettingsError as error:
        raise ConfigurationError(_describe_unreadable(error.__cause__)) from None
    except ValidationError as error:
        # `from None`: the cause would carry the values, secrets among them.
        raise ConfigurationError("\n".join(_describe_invalid(error))) from None
    except UnicodeDecodeError:
        raise ConfigurationError(".env can't be read: expected UTF-8 text.") from None
    except OSError as error:
        raise ConfigurationError(_describe_unreadable(error)) from None


def _describe_unreadable(error: BaseException | None) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} can't be read: {error.strerror}. Let the bot's user read it."
    return f"A secret in {SECRETS_DIR} can't be read: expected UTF-8 text."


def _describe_invalid(error: ValidationError) -> list[str]:
    lines = {}
    for problem in error.errors(include_input=False, include_context=False):
        name = str(problem["loc"][0])
        fault = "missing" if problem["type"] == "missing" else "invalid"
        expected = Config.model_fields[name].description
        lines[name] = f"{name.upper()} is {fault}: expected {expected}."
    return list(lines.values())
