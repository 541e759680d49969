"""Why a request is not answered, in the form of OpenAI's errors."""


class Refusal(Exception):
    """status: of HTTP. param: the field at fault, as `messages[0].role`. code: a word for programs. headers: of the answer."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers or {}

    def body(self) -> dict:
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def missing(param: str, what: str) -> Refusal:
    return Refusal(400, f"{param} is missing; give {what}", param, "missing_required_parameter")


def wrong_type(param: str, value, what: str) -> Refusal:
    return Refusal(400, f"{param} is {shown(value)}; give {what}", param, "invalid_type")


def wrong_value(param: str, value, what: str) -> Refusal:
    return Refusal(400, f"{param} is {shown(value)}; give {what}", param, "invalid_value")


def shown(value) -> str:
    """A JSON value as an error repeats it: containers by their kind, texts up to 60 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "...")
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else f"{value}"[:60]
