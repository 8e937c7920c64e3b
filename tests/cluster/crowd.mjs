// Many stock Socket.IO clients in one Node process, who talk all the time and keep what they see.
// A configuration comes as the first JSON line on stdin, then commands; reports go out as JSON
// lines on stdout. Its other half is crowd.py. It ends when stdin does.
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { io } = require("socket.io-client");

const ANSWER = 5000; // milliseconds for an ack; then it is asked again with the same id
const PAUSE = 100;
const RETURN = { reconnectionDelay: 100, reconnectionDelayMax: 1000, randomizationFactor: 0.5 };

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const tell = (kind, more) => process.stdout.write(JSON.stringify({ kind, ...more }) + "\n");

class Client {
  constructor(spec, url, transports, more = {}) {
    this.userId = spec.userId;
    this.logs = new Map(spec.sessions.map((id) => [id, { last: 0, seen: [], joined: false }]));
    this.faults = [];
    this.statuses = [];
    this.connects = 0;
    this.recovered = 0;
    this.socket = io(url, { ...RETURN, auth: { token: spec.token }, transports, multiplex: false, ...more });
    this.socket.on("connect", () => this.connected());
    this.socket.on("message:new", (message) => this.heard(message));
    this.socket.on("user:status", (status) => this.statuses.push({ ...status, at: Date.now() }));
    this.socket.on("disconnect", (reason) => {
      if (reason === "io server disconnect") this.faults.push("told to stay away");
    });
  }

  connected() {
    this.connects += 1;
    this.connectedAt = Date.now();
    if (this.socket.recovered) this.recovered += 1;
    for (const [id, log] of this.logs) {
      if (!this.socket.recovered) log.joined = false;
      if (!log.joined) this.join(id, log, this.socket.id);
    }
  }

  // Not emitWithAck: its promise tells of the ack later than of the event behind it. `take` is told
  // at once; null is no answer, and then it is asked again.
  ask(event, payload, take = () => {}) {
    return new Promise((resolve) => {
      this.socket.timeout(ANSWER).emit(event, payload, (error, answer) => {
        take(error ? null : answer);
        resolve(error ? null : answer);
      });
    });
  }

  async join(sessionId, log, connection) {
    const is_same = () => this.socket.connected && this.socket.id === connection;
    while (is_same() && !log.joined) {
      const since = log.epoch ? { epoch: log.epoch, seq: log.last } : undefined;
      const answer = await this.ask("session:join", { sessionId, since }, (found) => {
        if (!found?.ok || !is_same()) return;
        if (since && !found.recovered) this.faults.push(`${sessionId}: not recovered`);
        for (const message of found.messages) this.keep(log, message);
        log.epoch = found.epoch;
        log.last = Math.max(log.last, found.seq);
        log.joined = true;
        log.joinedAt = Date.now();
      });
      if (!answer?.ok) await sleep(answer?.error?.retryAfterMs ?? PAUSE);
    }
  }

  heard(message) {
    const log = this.logs.get(message.sessionId);
    // The ack of a join may be lost with its connection, and the next one recovered: what comes
    // then is behind what stood in that ack. The join is asked again, and tells all of it.
    if (!log.joined) return;
    if (message.seq !== log.last + 1) {
      this.faults.push(`${message.sessionId}: ${message.seq} came behind ${log.last}, ${this.story(log)}`);
    }
    this.keep(log, message);
  }

  // How a client came to where it is: what a fault is told with.
  story(log) {
    const { socket } = this;
    const how = `${socket.io.engine?.transport?.name}, connection ${this.connects} ${socket.recovered ? "recovered" : "new"}`;
    const ago = (time) => (time ? `${Date.now() - time} ms ago` : "never");
    return `on ${how} since ${ago(this.connectedAt)}, joined ${ago(log.joinedAt)}, last heard ${ago(log.heardAt)}`;
  }

  keep(log, message) {
    if (message.seq <= log.last) return;
    log.seen.push([message.seq, message.id, Date.now()]);
    log.last = message.seq;
    log.heardAt = Date.now();
  }

  async send(sessionId, content) {
    const clientMsgId = randomUUID();
    for (;;) {
      const answer = await this.ask("message:send", { sessionId, content, clientMsgId });
      if (answer?.ok) {
        const { id, seq } = answer.message;
        acked.push({ sessionId, id, seq, at: Date.now() });
        return;
      }
      if (answer && !answer.error.retryable) {
        refused.push({ sessionId, code: answer.error.code });
        return;
      }
      await sleep(answer?.error?.retryAfterMs ?? PAUSE);
    }
  }
}

const acked = [];
const refused = [];
const pending = new Set();
let clients = [];
let ghost = null;
let talking = null;
let count = 0;

const commands = {
  async open({ url, people, ghost: spec, ghostUrl }) {
    const transports = [["websocket"], ["polling", "websocket"], ["polling"]];
    clients = people.map((each, index) => new Client(each, url, transports[index % 3]));
    if (spec) ghost = new Client(spec, ghostUrl, ["websocket"], { reconnection: false });
    await until(() => [...clients, ghost].every((c) => [...c.logs.values()].every((log) => log.joined)));
  },
  talk({ every, sessions }) {
    talking = setInterval(() => {
      const sessionId = sessions[count % sessions.length];
      const members = clients.filter((client) => client.logs.has(sessionId));
      const sender = members[Math.floor(count / sessions.length) % members.length];
      const sent = sender.send(sessionId, `message ${(count += 1)}`);
      pending.add(sent);
      sent.then(() => pending.delete(sent));
    }, every);
  },
  async settle() {
    clearInterval(talking);
    await until(() => pending.size === 0);
    const heads = new Map();
    for (const { sessionId, seq } of acked) heads.set(sessionId, Math.max(seq, heads.get(sessionId) ?? 0));
    await until(() => clients.every((client) => [...client.logs].every(([id, log]) => log.last >= (heads.get(id) ?? 0))));
  },
  async present({ userIds }) {
    await until(async () => {
      const answers = await Promise.all(clients.map((c) => c.ask("users:status", { userIds })));
      return answers.every((a) => a?.ok && a.presence.every((each) => each.status === "ONLINE"));
    });
  },
  report() {
    const all = clients.map((client) => ({
      userId: client.userId,
      logs: Object.fromEntries([...client.logs].map(([id, log]) => [id, log.seen])),
      faults: client.faults,
      connects: client.connects,
      recovered: client.recovered,
      statuses: client.statuses,
    }));
    return { acked, refused, sent: count, clients: all };
  },
};

async function until(isSo) {
  while (!(await isSo())) await sleep(20);
}

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { do: name, ...more } = JSON.parse(line);
    tell("done", { name, result: (await commands[name](more)) ?? null });
  })
  .on("close", () => process.exit(0));
