"""The two errors of identity: no valid token, or a token without the scope.

`Unauthenticated` has the same text whatever was wrong, so that the answer does not show how close a forged
token came. The reason is in the debug log.
"""

from app.errors import DomainError, ErrorKind


class Unauthenticated(DomainError):
    kind = ErrorKind.UNAUTHENTICATED
    code = "unauthenticated"
    title = "A valid access token is required"

    def __init__(self) -> None:
        super().__init__("Send a valid access token as `Authorization: Bearer <token>`.")


class ScopeMissing(DomainError):
    kind = ErrorKind.FORBIDDEN
    code = "scope_missing"
    title = "The access token lacks a scope"

    def __init__(self, required_scope: str) -> None:
        super().__init__(
            f"This request requires an access token with the scope {required_scope}.",
            facts={"required_scope": required_scope},
        )
