"""The only place with SQL: the pool, the migrations, one file per noun, and the memory twin."""
