"""People who work with the page, and what each may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import UserId


class Role(StrEnum):
    """What a user is."""

    VIEWER = "viewer"
    RECEPTION = "reception"
    TECHNOLOGIST = "technologist"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Permission(StrEnum):
    """What a page or an action asks for."""

    VIEW_ORDERS = "view-orders"
    SEND_ORDERS = "send-orders"  # send and recall
    CHANGE_ORDERS = "change-orders"  # cancel, complete, relink
    VIEW_MESSAGES = "view-messages"  # raw messages and deliveries
    RETRY = "retry"  # replay messages, retry deliveries
    MANAGE_USERS = "manage-users"
    VIEW_AUDIT = "view-audit"
    MANAGE_MAPPINGS = "manage-mappings"  # see and activate mapping modules


_ALL = frozenset(Permission)

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.VIEW_ORDERS}),
    Role.RECEPTION: frozenset({Permission.VIEW_ORDERS, Permission.SEND_ORDERS}),
    Role.TECHNOLOGIST: frozenset(
        {Permission.VIEW_ORDERS, Permission.SEND_ORDERS, Permission.CHANGE_ORDERS, Permission.VIEW_MESSAGES}
    ),
    Role.ADMIN: _ALL,
    Role.AUDITOR: frozenset({Permission.VIEW_ORDERS, Permission.VIEW_MESSAGES, Permission.VIEW_AUDIT}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may log in."""

    id: UserId
    name: str
    role: Role
    created_at: datetime

    def may(self, permission: Permission) -> bool:
        """Whether the role allows it."""
        return permission in PERMISSIONS[self.role]
