"""Several daemons: on one store and one Redis in one process, and as processes with all faults."""
