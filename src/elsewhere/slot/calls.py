"""What came down the pipe, made into a call of the user's function: bodies decoded, sealed things opened.

Nothing is judged here: see attempts.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elsewhere.slot import entry, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FUNCTIONS = 256
"""So many functions of calls are kept open, the last that were named first."""


class Unreadable(Exception):
    """The arguments of a task cannot be read here."""


class Broken:
    """Stands for a body that is not JSON."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Calls:
    """The ways to call the function of a job. Only while `phase` is INSIDE may a signal raise."""

    OWN, INSIDE, WAITING = range(3)

    words: dict[str, Any]
    function: Callable[..., Any]
    worker: Any

    def __init__(self) -> None:
        self.phase = self.OWN
        self.functions: dict[str, Any] = {}

    def decode(self, deliveries: list[Any]) -> list[Any]:
        """The bodies. All in one text: they are whole JSON values, checked when they were added to the ledger."""
        from json import loads

        if len(deliveries) > 1:
            try:
                found = loads(b"[%b]" % b",".join([delivery[3] for delivery in deliveries]))
                if len(found) == len(deliveries):
                    return found  # type: ignore[no-any-return]
            except (ValueError, RecursionError):
                pass
        found = []
        for delivery in deliveries:
            try:
                found.append(loads(delivery[3]))
            except (ValueError, RecursionError) as error:
                found.append(Broken(str(error)))
        return found

    def call_data(self, _delivery: Any, data: Any) -> Any:
        return self.function(**data)

    def call_seed(self, delivery: Any, data: Any) -> Any:
        return self.function(delivery[2], data, self.worker)

    def call(self, _delivery: Any, data: Any) -> Any:
        name = data.get("function", "")
        function = self.functions.get(name) or self.open_function(name)
        if "args" in data:
            return function(*data["args"], **data["kwargs"])
        args, kwargs = self.arguments(data)
        return function(*args, **kwargs)

    def open_function(self, name: str) -> Any:
        """The function that a call names, a sealed pickle in the store; "" is the job's own. Opened once."""
        words = self.words
        self.phase = self.OWN
        try:
            found = entry.plain(values.open_pickle(words["store"], words["key"], name or words["target"]))
        except Exception as error:
            raise Unreadable(f"the function cannot be read here: {type(error).__name__}: {error}") from error
        finally:
            self.phase = self.INSIDE
        if len(self.functions) >= _FUNCTIONS:
            del self.functions[next(iter(self.functions))]
        self.functions[name] = found
        return found

    def arguments(self, data: Any) -> Any:
        words = self.words
        self.phase = self.OWN
        try:
            if "stored" in data:
                return values.open_pickle(words["store"], words["key"], data["stored"])
            from binascii import a2b_base64

            return values.load(values.unseal(words["key"], a2b_base64(data["pickle"])))
        except Exception as error:
            raise Unreadable(f"the arguments cannot be read here: {type(error).__name__}: {error}") from error
        finally:
            self.phase = self.INSIDE
