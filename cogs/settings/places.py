"""Where in the settings somebody is, and how buttons and forms say it. Pure.

All that a button or a form needs stands in its `custom_id`, so both outlive a restart of the bot.
What it says is never believed: who may do what is checked when it is used.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

ID = r"[0-8]?[0-9]{1,18}"
"""Discord's ids are 63 bits long, and so are the database's whole numbers."""


class Page(StrEnum):
    """What there is to look at."""

    CREDITS = "credits"
    ROLES = "roles"
    MEMBERS = "members"
    LIMITS = "limits"
    BLOCKED = "blocked"
    MORE = "more"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Place:
    """A page and its number, from 1; of `Page.MEMBER` the number is the member's id."""

    page: Page
    number: int = 1

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"

    @classmethod
    def parse(cls, page: str, number: str) -> Self:
        """From the parts of a `custom_id`.

        Raises:
            ValueError: there is no such page.
        """
        return cls(Page(page), int(number))


PLACE = rf"(?P<page>{'|'.join(Page)}):(?P<number>{ID})"
"""What `Place` writes, as the end of a `custom_id`."""


def tab_id(page: Page) -> str:
    """Of a button that opens a page."""
    return f"settings:tab:{page}:1"


def turn_id(place: Place) -> str:
    """Of a button that turns to another number of a page: beside the tabs, ids must differ."""
    return f"settings:turn:{place}"


def form_id(form: str, place: Place, subject_id: int = 0) -> str:
    """Of a form and of the button that opens it. `subject_id`: whom it is about, if anybody."""
    return f"settings:form:{form}:{subject_id}:{place}"


def act_id(act: str, place: Place, subject_id: int = 0) -> str:
    """Of a button that acts at once."""
    return f"settings:act:{act}:{subject_id}:{place}"


def look_up_id() -> str:
    """Of the menu that finds a member."""
    return "settings:member"
