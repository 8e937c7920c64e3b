"use strict";
// The chat that chatd is measured against, as it is usually built on Node: Express for REST,
// Socket.IO for what is live, pg for PostgreSQL, one process. Where the pages of these libraries
// recommend something for speed or memory, it is done.

const { createServer } = require("node:http");
const { promisify } = require("node:util");

const express = require("express");
const { Server } = require("socket.io");

const { HttpError, authenticate, verifyToken } = require("./auth");
const chat = require("./chat");
const { pool } = require("./database");

const app = express();
app.disable("x-powered-by");
app.disable("etag"); // a page of messages is not asked for twice
app.use(express.json({ limit: "1mb" }));

app.get("/readyz", async (request, response) => {
  await pool.query("SELECT 1");
  response.json({ ok: true });
});

app.post("/auth/register", async (request, response) => {
  response.status(201).json(await chat.register(request.body));
});

app.post("/chat/sessions", authenticate, async (request, response) => {
  const session = await chat.createSession(request.userId, request.body);
  response.status(201).json({ session });
});

app.get("/chat/sessions/:id/messages", authenticate, async (request, response) => {
  const { beforeSeq, limit } = request.query;
  response.json(await chat.history(request.userId, request.params.id, beforeSeq, limit));
});

app.use((error, request, response, next) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  const status = error.status ?? 500;
  if (status >= 500) console.error(error);
  const code = error instanceof HttpError ? error.code : status < 500 ? "validation" : "internal";
  response.status(status).json({ error: { code } });
});

const server = createServer(app);
const io = new Server(server, { serveClient: false }); // perMessageDeflate is off by default

// Socket.IO keeps each connection's upgrade request alive for `handshake`; nobody reads it later.
// https://socket.io/docs/v4/memory-usage/
io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

io.use((socket, next) => {
  try {
    socket.data.userId = verifyToken(socket.handshake.auth.token);
    next();
  } catch {
    next(new Error("invalid_token"));
  }
});

io.on("connection", (socket) => {
  // An event's answer is its acknowledgement: {ok, data} or {ok, error: {code}}.
  const on = (event, handler) => {
    socket.on(event, async (payload, acknowledge) => {
      if (typeof acknowledge !== "function") return;
      try {
        await handler(payload, (data) => acknowledge({ ok: true, data }));
      } catch (error) {
        if (!(error instanceof HttpError)) console.error(error);
        const code = error instanceof HttpError ? error.code : "internal";
        acknowledge({ ok: false, error: { code } });
      }
    });
  };

  on("session:join", async (payload, answer) => {
    const { sessionId } = payload ?? {};
    await chat.checkMember(socket.data.userId, sessionId);
    socket.join(sessionId); // before the page is read: what is sent meanwhile comes twice, not never
    answer(await chat.joinPage(socket.data.userId, sessionId));
  });

  on("message:send", async (payload, answer) => {
    const { message, duplicate } = await chat.send(socket.data.userId, payload);
    answer({ message, duplicate });
    if (!duplicate) io.to(message.sessionId).emit("message:new", message);
  });
});

process.once("SIGTERM", async () => {
  await promisify(io.close.bind(io))();
  await pool.end();
});

server.listen(Number(process.env.PORT), "127.0.0.1");
