"""What Discord's error codes mean: one table."""

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from cogs.client.answers import (
    REFUSALS,
    TOO_LARGE,
    TRANSIENT_CODES,
    map_discord_errors,
    outcome_unknown,
)
from db.records import Reason
from services.errors import CannotPost, PostUncertain, Scope, TooLargeToPost


def refused(status: int, code: int) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="no")
    kind = {403: discord.Forbidden, 404: discord.NotFound}.get(status, discord.HTTPException)
    return kind(response, {"code": code, "message": "no"})


@pytest.mark.parametrize(
    ("status", "code", "scope", "reason"),
    [
        # GAwesomeBot 125, modmailbot 730, discord-api-docs 5128 and 7796
        (400, 20009, Scope.MESSAGE, Reason.EXPLICIT),
        (403, 400001, Scope.SERVER, Reason.UPLOADS_LIMITED),
        (404, 10003, Scope.CHANNEL, Reason.CHANNEL_GONE),
        (404, 10004, Scope.SERVER, Reason.NOT_IN_SERVER),
        (403, 50001, Scope.CHANNEL, Reason.NO_ACCESS),
        (403, 50013, Scope.CHANNEL, Reason.NO_PERMISSION),
        (400, 40058, Scope.CHANNEL, Reason.WRONG_KIND),
        (403, 20026, Scope.EVERYBODY, Reason.BOT_RESTRICTED),
        (400, 50035, Scope.EVERYBODY, Reason.BAD_MESSAGE),
        (400, 999_999, Scope.EVERYBODY, "refused, 400, code 999999"),
        (403, 999_999, Scope.CHANNEL, "refused, 403, code 999999"),
        (404, 999_999, Scope.CHANNEL, "refused, 404, code 999999"),
    ],
)
def test_a_refusal_means_what_its_code_says(
    status: int, code: int, scope: Scope, reason: str
) -> None:
    with pytest.raises(CannotPost) as caught, map_discord_errors("the post"):
        raise refused(status, code)
    assert caught.value.scope is scope
    assert str(caught.value) == reason


@pytest.mark.parametrize(("status", "code"), [(413, 0), (413, 40005), (400, 50045), (400, 40005)])
def test_too_large_is_transcoded_again(status: int, code: int) -> None:
    with pytest.raises(TooLargeToPost), map_discord_errors("the post"):
        raise refused(status, code)


@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_a_transient_code_says_nothing_about_the_message(code: int) -> None:
    error = refused(400, code)
    assert outcome_unknown(error)
    with pytest.raises(PostUncertain), map_discord_errors("the post"):
        raise error


def test_each_code_has_one_meaning() -> None:
    assert not REFUSALS.keys() & TRANSIENT_CODES
    assert not REFUSALS.keys() & TOO_LARGE
    assert not TRANSIENT_CODES & TOO_LARGE
