"""Compares the signature of a handler with its operation, when the service starts."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from handlers.context import ClientContext, Context, DatabaseContext, PrincipalContext, UserContext
from oneself.document import OperationSpec

#: The type of a body whose members are the applications' own.
_OPEN_BODY = dict[str, Any]


def context_of(
    spec: OperationSpec, handler: Callable[..., Any], arguments: Mapping[str, Any]
) -> Any:
    """Return the context that a handler takes as its first parameter.

    `arguments` are the types of the operation's arguments by name; that of a body is the name of
    its schema.

    Raises:
        TypeError: The handler's signature is not that of the operation.
    """
    hints = get_type_hints(handler)
    context, *names = inspect.signature(handler).parameters
    types = {name: hints[name] for name in names}
    if problems := [*differences(spec, hints[context], types, arguments)]:
        message = f"{spec.operation_id}: the handler is not the operation's: {'; '.join(problems)}"
        raise TypeError(message)
    return hints[context]


def differences(
    spec: OperationSpec, context: Any, types: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Iterator[str]:
    """Yield where a handler's context and types differ from its operation's, in words."""
    if context not in _contexts_of(spec):
        yield f"its context is {context}"
    if different := types.keys() ^ arguments.keys():
        yield f"its parameters differ: {', '.join(sorted(different))}"
    for name in types.keys() & arguments.keys():
        if not _is_of_type(types[name], arguments[name]):
            yield f"its {name} is a {types[name]}, not a {arguments[name]}"


def _contexts_of(spec: OperationSpec) -> tuple[Any, ...]:
    if spec.accepted:
        return (UserContext, PrincipalContext) if spec.method == "get" else (UserContext,)
    if spec.takes_client:
        return (ClientContext,)
    return (DatabaseContext, Context)


def _is_of_type(hint: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return hint == _OPEN_BODY or getattr(hint, "__name__", None) == expected
    return bool(hint == expected)
