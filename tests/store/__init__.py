"""Tests of the store: one contract, kept by PostgreSQL and by its twin in memory."""
