"""SHIP: the files by which a boot text and the agent that it starts speak, and the words by which one is known."""

from __future__ import annotations

KEPT = "kept"
"""In the agent's directory: on this machine a task has failed; what stands in it is the machine's term, in seconds."""
HOLDS = "elsewhere: kept"
"""How the last words of a machine begin that stays to be looked at."""
SWITCH = "switch"
"""The deadline file, in the agent's directory: `<seconds left> <serial>`, replaced as a whole by a living agent."""
LOG = "boot.log"
"""In the agent's directory: what the boot said, which also goes where it went before."""
AGENT = ("cffi", "cloudpickle", "cryptography", "msgspec", "platformdirs", "psutil")
"""What an agent imports besides our own package, whatever its channel."""
