"""Every refusal of the service, from the modules of the three layers that define them."""

from collections.abc import Iterator
from types import ModuleType

from accounts import errors as accounts_errors
from accounts.errors import AccountError
from handlers import errors as handlers_errors
from oneself.http.request import errors as request_errors

__all__ = ["ALL_REFUSALS", "ERROR_MODULES", "refusals_of"]

ERROR_MODULES = (accounts_errors, handlers_errors, request_errors)


def refusals_of(module: ModuleType) -> Iterator[type[AccountError]]:
    """Iterate over the classes that a module defines, kinds included."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, AccountError)
            and value.__module__ == module.__name__
        ):
            yield value


#: The classes with a code, by their names.
ALL_REFUSALS = {
    refusal.__name__: refusal
    for module in ERROR_MODULES
    for refusal in refusals_of(module)
    if refusal.code
}
