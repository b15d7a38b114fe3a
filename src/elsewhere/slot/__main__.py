"""Where a slot begins: `PYTHON .../slot/__main__.py DOWN WAKE`, two descriptors; or `... check FD`: only a question;
or `... boxed SOCKET`, in a container; or `... keep PLAN DOWN WAKE`, before one.

Gives this package its name without importing its parent, and leaves nothing of ours on sys.path.
"""

import os
import sys


def _adopt(directory):  # type: ignore[no-untyped-def]
    """Make `elsewhere.slot` importable; `elsewhere` itself stays the user's, or whatever the boot words say."""
    from importlib import import_module
    from importlib.machinery import ModuleSpec

    def part(name):  # type: ignore[no-untyped-def]
        # `from elsewhere.slot import wire` would otherwise load `elsewhere` first, if there is one.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return import_module("elsewhere.slot." + name)
        except ModuleNotFoundError as error:
            raise AttributeError(name) from error

    package = type(sys)("elsewhere.slot")
    package.__path__ = [directory]
    package.__package__ = "elsewhere.slot"
    package.__spec__ = ModuleSpec("elsewhere.slot", None, is_package=True)
    package.__spec__.submodule_search_locations = [directory]
    package.__getattr__ = part  # type: ignore[method-assign]
    sys.modules["elsewhere.slot"] = package


def _main():  # type: ignore[no-untyped-def]
    directory = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0] or ".") == directory:
        del sys.path[0]
    _adopt(directory)  # type: ignore[no-untyped-call]
    from importlib import import_module

    first, second, *more = sys.argv[1:]
    sys.argv[:] = [""]
    if first == "check":
        import_module("elsewhere.slot.check").check(int(second))
    elif first == "keep":
        import_module("elsewhere.slot.keeper").keep(second, *map(int, more))
    elif first == "boxed":
        import_module("elsewhere.slot.serve").serve(*import_module("elsewhere.slot.door").come_in(second))
    else:
        import_module("elsewhere.slot.serve").serve(int(first), int(second))


if __name__ == "__main__":
    _main()  # type: ignore[no-untyped-call]
