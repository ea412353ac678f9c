"""A stand-in of Discord over real sockets: REST v10 and gateway v10 on 127.0.0.1.

Each module names the rules that it follows. What it leaves out, because this bot has no
use for it: message events, presences, voice, reactions, pins, webhooks other than interactions'.
"""

from .calls import Call
from .clock import Clock
from .faults import Fault, Hook
from .interactions import Interaction
from .limits import Limits
from .permissions import Permission
from .server import DiscordWire
from .state import Attachment, Channel, Guild, Member, Message, Role, User

__all__ = [
    "Attachment",
    "Call",
    "Channel",
    "Clock",
    "DiscordWire",
    "Fault",
    "Guild",
    "Hook",
    "Interaction",
    "Limits",
    "Member",
    "Message",
    "Permission",
    "Role",
    "User",
]
