"""Numbered SQL files, applied in order by `chatd.store.migrate` and never changed afterwards."""
