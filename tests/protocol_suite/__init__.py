"""The cases of the protocols' own test suites, against the layers without chat.

They follow `test-suite/` of github.com/socketio/engine.io-protocol and of socket.io-protocol, and
talk to `python -m chatd.testing.echo` as a process, over real ports.
"""
