"""The catalogue of the wire: client events, server events and the answers between them.

A client event is an operation's command: REST bodies, query strings and socket payloads are all
validated by it. Names are those of protocol.md; a model's alias is its wire name. One module a
part of the protocol, what only the server says in `server`.
"""
