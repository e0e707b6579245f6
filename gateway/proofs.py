"""What the configuration says of proving who one is becomes what the edges are given."""

from gateway.fhir import credentials
from gateway.fhir.auth import Basic, Bearer, Credential, Header
from gateway.fhir.credentials import Certificate, ClientSecret, SignedClaim
from gateway.proof_sections import Proof
from gateway.sections import Auth


def proof_of(auth: Proof) -> credentials.Proof | None:
    """How we prove ourselves to a server; None when we do not, or by a certificate alone."""
    if auth.oauth2 is not None:
        one = auth.oauth2
        return ClientSecret(
            client_id=one.client_id,
            secret=one.client_secret,
            scope=one.scope,
            token_url=one.token_url or "",
            sends=one.send,
        )
    if auth.smart_backend is not None:
        smart = auth.smart_backend
        return SignedClaim(
            client_id=smart.client_id, keys=smart.keys, scope=smart.scope, token_url=smart.token_url or ""
        )
    return credential_of(Auth(bearer=auth.bearer, basic=auth.basic, header=auth.header))


def inbound_credential(auth: Auth) -> Bearer | Basic | None:
    """What whoever sends to us proves itself by; None when nothing is asked."""
    credential = credential_of(auth)
    assert not isinstance(credential, Header)  # the settings refuse it for a source
    return credential


def certificate_of(auth: Proof) -> Certificate | None:
    mtls = auth.mtls
    return Certificate(certificate=mtls.certificate, key=mtls.key) if mtls is not None else None


def credential_of(auth: Auth) -> Credential | None:
    """How one side proves who it is; None when it does not."""
    if auth.bearer is not None:
        return Bearer(token=auth.bearer)
    if auth.basic is not None:
        return Basic(user=auth.basic[0], password=auth.basic[1])
    return Header(name=auth.header[0], value=auth.header[1]) if auth.header is not None else None
