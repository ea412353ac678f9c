"""Pages of the panel, and how buttons and forms name them. Pure.

All that a button or a form needs is in its `custom_id`, so both outlive a restart of the bot. What
it says is never trusted: permissions are checked when it is used.
"""

from dataclasses import dataclass

from cogs.client.components import ID
from services.settings.catalogue import Topic

MEMBER_MENU = "settings:member"
MEMBER = "member"
"""The page that explains one member's credits."""


@dataclass(frozen=True, slots=True)
class PanelPage:
    """A topic and the number of its page, from 1; of `MEMBER` the number is the member's id."""

    name: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


PAGE = rf"(?P<page>{'|'.join((*Topic, MEMBER))}):(?P<number>{ID})"
"""What `PanelPage` writes, as the end of a `custom_id`."""


def tab_id(topic: str) -> str:
    """Name a button that opens a topic."""
    return f"settings:tab:{topic}:1"


def turn_id(page: PanelPage) -> str:
    """Name a button that turns to another page: ids must differ from those of the tabs."""
    return f"settings:turn:{page}"


def form_id(form: str, page: PanelPage, subject_id: int = 0) -> str:
    """Name a form and its button. `subject_id`: the role or member that it is about."""
    return f"settings:form:{form}:{subject_id}:{page}"


def act_id(act: str, key: str, page: PanelPage, subject_id: int = 0) -> str:
    """Name a button that changes a setting at once: `on`, or `reset` to the default."""
    return f"settings:act:{act}:{key}:{subject_id}:{page}"
