"""Who may read: programs by a token, people by their session."""

from dataclasses import dataclass

from starlette.requests import Request

from gateway.flow.admit import admitted
from gateway.flow.grant import granted
from gateway.flow.ports import Ports
from gateway.model.errors import GatewayError, Refused
from gateway.model.token import Scope
from gateway.model.user import Permission


class Unproven(GatewayError):
    """Whoever asks has not shown who that is. `challenge` is what WWW-Authenticate says. Source: RFC 6750 3."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody who may read."""

    actor: str  # as the audit trail names one
    sees_doubtful: bool  # studies whose link to their order a person has yet to settle


_REALM = 'Bearer realm="dicom-web"'


def reader(ports: Ports, request: Request, *, cookie: str) -> Reader:
    """Who asks. A token that is shown decides, whatever session is open beside it.

    Raises Unproven when nothing good is shown, Refused when it does not open this.
    """
    shown = request.headers.get("authorization")
    if shown is not None:
        return _program(ports, shown)
    user = admitted(ports, request.cookies[cookie]) if request.cookies.get(cookie) else None
    if user is None:
        raise Unproven("a token (Authorization: Bearer ...) or a login is needed", _REALM)
    if not user.may(Permission.VIEW_ORDERS):
        raise Refused(f"your role ({user.role}) does not allow it; ask an administrator")
    return Reader(actor=f"user:{user.name}", sees_doubtful=True)


def _program(ports: Ports, shown: str) -> Reader:
    scheme, _, secret = shown.partition(" ")
    token = granted(ports, secret.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise Unproven("the token is unknown or was revoked", f'{_REALM}, error="invalid_token"')
    if token.scope is not Scope.DICOMWEB:
        raise Refused("the token does not open DICOMweb")
    return Reader(actor=token.actor, sees_doubtful=False)
