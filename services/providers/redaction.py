"""Make text from outside safe for a log line: short, on one line, without what opens anything."""

import re

MAX_LOGGED = 400


def redact(text: str, secret: str) -> str:
    """Return one short line for the log, without the secret and without queries."""
    return one_line(without_queries(without_secret(text, secret)), MAX_LOGGED)


def without_secret(text: str, secret: str) -> str:
    """Replace the account's key."""
    return text.replace(secret, "[key]") if secret else text


def one_line(text: str, longest: int) -> str:
    """Return it as printable characters on one line, cut off at `longest` of them."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "\u2026"


def without_queries(text: str) -> str:
    """Remove the queries of addresses: absolute or relative, plain or as JSON escapes them."""
    return re.sub(r"[^\s\"'<>]+", lambda word: _without_query(word[0]), text)


def _without_query(word: str) -> str:
    address = re.split(r"[?#]|\\u003f", word, maxsplit=1, flags=re.IGNORECASE)[0]
    return address if "/" in address else word
