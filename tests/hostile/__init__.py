"""Raw bytes from people who mean harm."""
