"""The load generator of chatd: what a delivery, a stored message and a connection cost.

`accounting` reads the operating system's books, `daemon` starts what is measured, `wires` speak a
server's protocol, `swarm` holds thousands of sockets, `scenarios` are the stories, `floor` is what
the kernel alone would take, `report` prints. Another server needs another wire, nothing else.
"""
