"""chatd: a real-time chat server on Trio."""

from importlib.metadata import version

__version__ = version("chatd")
