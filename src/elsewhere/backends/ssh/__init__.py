"""PROVISION on hosts that a user can reach by SSH: what they are asked (fleet.py), and how their answers are read."""

from elsewhere.backends.ssh.fleet import Ssh, SshSettings

__all__ = ["Ssh", "SshSettings"]
