"""chatd beside the stacks that people would otherwise pick, on one machine in one run.

`node/` is Express with Socket.IO, `python/` is Starlette with python-socketio; both keep the same
promises as chatd where the scenarios look, on the same PostgreSQL. `fleet` starts them, `scenarios`
tell every server the same story, `report` sets the figures side by side.
"""
