"""`chatd chat`: a line-based terminal client, for people at a terminal and for pipes."""

from __future__ import annotations


async def run_terminal(
    url: str,
    email: str,
    password: str | None,
    session: str | None,
    *,
    register: bool = False,
    name: str | None = None,
) -> int:
    """Chat over standard input and output until the input ends; return the exit status.

    Args:
        url: `http://host:port` of the server.
        email: of the account.
        password: of the account; None asks for it at the terminal.
        session: id, name or number of the session to open at once.
        register: open the account first.
        name: shown to others, with `register`.
    """
    # The daemon's command line imports this module, and needs neither client nor HTTP library.
    from chatd.terminal.run import Login, run  # noqa: PLC0415 - see above

    return await run(url, Login(email, password, name, is_new=register), session)
