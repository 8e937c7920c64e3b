"""The peer on asyncio; what it imports is installed in its own virtual environment only."""
