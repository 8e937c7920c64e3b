"""Everything that owns a nursery or lives in one."""
