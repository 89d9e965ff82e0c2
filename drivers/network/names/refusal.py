"""Why the process does not do what it was told. What crosses the socket is the name of the engine's error and its message."""


class Refusal(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
