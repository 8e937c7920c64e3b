// One Node process with many stock Socket.IO clients: commands come as JSON lines on stdin, what
// happens to the clients goes out as JSON lines on stdout, in the order in which it happened.
// Its other half is js.py. It ends when stdin does.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { io } = require("socket.io-client");

const RETURN_SOON = { reconnectionDelay: 50, reconnectionDelayMax: 200, randomizationFactor: 0 };
const NEVER = 600_000; // milliseconds, far beyond a test
const sockets = new Map();

function tell(client, kind, more) {
  process.stdout.write(JSON.stringify({ client, kind, ...more }) + "\n");
}

function follow(client, socket) {
  const transport = () => socket.io.engine.transport.name;
  socket.on("connect", () => {
    const { id: sid, _pid: pid, recovered } = socket;
    tell(client, "connect", { sid, pid, recovered: Boolean(recovered), transport: transport() });
  });
  socket.on("disconnect", (reason) => {
    tell(client, "disconnect", { reason, active: socket.active });
  });
  socket.on("connect_error", ({ message, data }) => {
    tell(client, "connect_error", { message, data, active: socket.active });
  });
  socket.onAny((name, ...args) => tell(client, "event", { name, args }));
  socket.io.on("open", () => {
    socket.io.engine.once("upgrade", () => tell(client, "upgrade", { transport: transport() }));
  });
}

const commands = {
  // `resume` is what a client keeps of an earlier connection, here given to another client.
  open({ client, url, options, resume }) {
    const socket = io(url, { ...RETURN_SOON, multiplex: false, ...options });
    if (resume) {
      Object.assign(socket, { _pid: resume.pid, _lastOffset: resume.offset });
    }
    sockets.set(client, socket);
    follow(client, socket);
  },
  emit({ client, event, args, ack }) {
    const socket = sockets.get(client);
    if (ack === null) {
      socket.emit(event, ...args);
      return;
    }
    // Not emitWithAck: its promise tells of the ack later than of the event behind it. The time is
    // for the error at a disconnect, which only who sets one is told.
    socket.timeout(NEVER).emit(event, ...args, (error, answer) => {
      tell(client, error ? "lost" : "ack", { ack, answer });
    });
  },
  // It talks until it is upgraded and `count` messages longer, however long that takes; `window`
  // of them are under way at once: the rest follow the acks.
  burst({ client, sessionId, count, window }) {
    const socket = sockets.get(client);
    let next = 0;
    let end = Infinity;
    let unanswered = 0;
    const sendOne = () => {
      if (next === end) {
        return;
      }
      const number = next++;
      const message = { sessionId, content: `message ${number}` };
      unanswered++;
      socket.emit("message:send", message, (answer) => {
        unanswered--;
        tell(client, "sent", { number, answer });
        sendOne();
        if (unanswered === 0) {
          tell(client, "over", { count: next });
        }
      });
    };
    socket.io.engine.once("upgrade", () => {
      end = next + count;
    });
    for (let started = 0; started < window; started++) {
      sendOne();
    }
  },
  // The client gives its transport up, and comes back by `url` at once.
  move({ client, url }) {
    const { io: manager } = sockets.get(client);
    manager.uri = url;
    manager.engine.close();
  },
  leave({ client }) {
    sockets.get(client).disconnect();
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on("close", () => process.exit(0));
