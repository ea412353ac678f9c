"""Turn refusals into sentences: one dispatch by type, which each subject's `texts` adds to."""

from functools import singledispatch

from services.errors import OutOfRange, Refusal, TooLong

NOTHING_SPENT = "Nothing was spent."


@singledispatch
def refusal_text(refusal: Refusal) -> str:
    """Return the sentence for a refusal.

    A subject's `texts` module registers those of its services (`@refusal_text.register`). A refusal
    that `cogs` raises brings its own sentence.
    """
    return str(refusal)


@refusal_text.register
def _(refusal: OutOfRange) -> str:
    return f"`{refusal.name}` must be between {_number(refusal.low)} and {_number(refusal.high)}."


@refusal_text.register
def _(refusal: TooLong) -> str:
    return f"`{refusal.name}` has {refusal.length:,} characters; the limit is {refusal.limit:,}."


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def credits_text(amount: int) -> str:
    """Return `1 credit` or `2 credits`."""
    return counted(amount, "credit")


def songs_text(count: int) -> str:
    """Return `1 song` or `2 songs`."""
    return counted(count, "song")


def counted(count: int, noun: str) -> str:
    """Return `1 song` or `2 songs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
