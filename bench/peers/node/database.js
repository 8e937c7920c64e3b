"use strict";
// PostgreSQL: where it is comes from PGHOST, PGUSER and PGDATABASE.

const { Pool, types } = require("pg");

// bigint as a number: a session's seq stays far below 2 ** 53.
types.setTypeParser(types.builtins.INT8, Number);

// Connections are kept when idle: each new one would have to prepare its statements again.
const pool = new Pool({ max: Number(process.env.POOL_SIZE ?? 8), idleTimeoutMillis: 0 });
pool.on("error", (error) => console.error(error)); // of an idle connection; the pool replaces it

/** Run one named (server-side prepared) statement and return its rows. */
async function rows(name, text, values) {
  return (await pool.query({ name, text, values })).rows;
}

/** Run `work(client)` in a transaction. */
async function transaction(work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

module.exports = { pool, rows, transaction };
