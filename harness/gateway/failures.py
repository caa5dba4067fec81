"""How a request to the endpoint can fail."""


class PassingError(Exception):
    """A failure that another try may not see. `retry_after`: seconds the endpoint asks for."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EndpointError(Exception):
    """The endpoint failed for good; the text is for the operator, not for the agent."""


class RejectedError(Exception):
    """The endpoint says that the request is wrong: the agent gets its answer as it is."""

    def __init__(self, status: int, body: bytes, message: str, *, overflow: bool) -> None:
        """`overflow`: the messages and the answer do not fit into the model's context."""
        super().__init__(message)
        self.status = status
        self.body = body
        self.overflow = overflow


class RefusedError(Exception):
    """The gateway does not pass a request on; the text is for the agent."""

    def __init__(self, message: str, *, status: int = 400, kind: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code
