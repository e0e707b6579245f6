"""Every error the gateway raises on purpose.

GatewayError
├── Malformed     what a peer sent cannot be read
├── Refused       what a peer asked is understood and not allowed
├── NotFound      the thing named is not there
├── Conflict      the thing named is not in a state that allows it
├── Invalid       a person's input or a configuration is wrong
└── Unavailable   a peer or our own store cannot be reached now; trying again may help

A message names the field, never its value: "accession (ORC-3.1): absent".
"""


class GatewayError(Exception):
    """Something a person can act on: what, where and what to do."""


class Malformed(GatewayError):
    """What a peer sent cannot be read."""


class Refused(GatewayError):
    """What a peer asked is understood and not allowed."""


class NotFound(GatewayError):
    """The thing named is not there."""


class Conflict(GatewayError):
    """The thing named is not in a state that allows what was asked."""


class Invalid(GatewayError):
    """A person's input or a configuration is wrong. `faults` holds every fault found, one line each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Unavailable(GatewayError):
    """A peer or our own store cannot be reached now; trying again may help.

    `retry_after_s` is the peer's own wish, None when it gave none.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
