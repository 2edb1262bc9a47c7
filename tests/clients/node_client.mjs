// Node `ws` through Bowline: to the built-in echo, and to a Python upstream for what that one does not do.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { WebSocket } from "ws";

const port = Number(process.env.BOWLINE_PORT);
const ECHO = `ws://127.0.0.1:${port}/echo`;
const PYTHON = `ws://127.0.0.1:${port}/python`;
const SECURE = `wss://localhost:${process.env.SECURE_PORT}/echo`;
const MIB = 1 << 20;

const checks = {
  async "text comes back"() {
    await withSocket(ECHO, {}, async (socket) => {
      for (const text of ["hello", "", "grüße, 世界, 🪢"]) await echoes(socket, text);
    });
  },

  async "text comes back over TLS"() {
    await withSocket(SECURE, { ca: readFileSync(process.env.AUTHORITY) }, async (socket) => {
      for (const text of ["hello", "grüße, 世界, 🪢"]) await echoes(socket, text);
    });
  },

  async "binary comes back"() {
    await withSocket(ECHO, {}, async (socket) => {
      for (const size of [0, 1, 125, 126, 65535, 65536]) await echoes(socket, randomBytes(size));
    });
  },

  async "a message of 1 MiB comes back"() {
    await withSocket(ECHO, {}, async (socket) => {
      await echoes(socket, randomBytes(MIB));
      await echoes(socket, "b".repeat(MIB));
    });
  },

  async "a ping gets its pong"() {
    await withSocket(ECHO, {}, async (socket) => {
      socket.ping("are you there");
      const [payload] = await once(socket, "pong");
      assert.equal(payload.toString(), "are you there");
    });
  },

  async "a message sent in fragments comes back whole, with a ping between them"() {
    for (const address of [ECHO, PYTHON]) {
      await withSocket(address, { perMessageDeflate: false }, async (socket) => {
        const pong = once(socket, "pong");
        const answer = once(socket, "message");
        socket.send("one ", { fin: false });
        socket.ping("between");
        socket.send("two ", { fin: false });
        socket.send("", { fin: false });
        socket.send("three", { fin: true });
        assert.equal((await pong)[0].toString(), "between");
        const [data, isBinary] = await answer;
        assert.equal(data.toString(), "one two three");
        assert.equal(isBinary, false);
      });
    }
  },

  async "fragments of 64 KiB come back as one message of 1 MiB"() {
    await withSocket(ECHO, { perMessageDeflate: false }, async (socket) => {
      const whole = randomBytes(MIB);
      const answer = once(socket, "message");
      for (let at = 0; at < MIB; at += 65536) {
        socket.send(whole.subarray(at, at + 65536), { binary: true, fin: at + 65536 === MIB });
      }
      assert.ok((await answer)[0].equals(whole));
    });
  },

  async "the client's close code and reason come back"() {
    for (const address of [ECHO, PYTHON]) {
      const socket = await opened(address);
      socket.close(4001, "done for today");
      const [code, reason] = await once(socket, "close");
      assert.equal(code, 4001);
      assert.equal(reason.toString(), "done for today");
    }
  },

  async "the upstream's close code and reason arrive"() {
    const socket = await opened(PYTHON);
    socket.send("close 4002 enough, grüße");
    const [code, reason] = await once(socket, "close");
    assert.equal(code, 4002);
    assert.equal(reason.toString(), "enough, grüße");
  },

  async "a close without a code stays without one"() {
    const socket = await opened(ECHO);
    socket.close();
    const [code] = await once(socket, "close");
    assert.equal(code, 1005);
  },

  async "permessage-deflate is negotiated and works"() {
    await withSocket(PYTHON, { perMessageDeflate: { threshold: 0 } }, async (socket) => {
      assert.match(socket.extensions, /^permessage-deflate/);
      await echoes(socket, "compress me ".repeat(1000));
      await echoes(socket, randomBytes(70000));
      await echoes(socket, "z".repeat(MIB));
    });
  },

  async "the chosen subprotocol comes back"() {
    const socket = await opened(PYTHON, ["superchat", "chat"]);
    assert.equal(socket.protocol, "chat");
    socket.close();
    await once(socket, "close");
  },

  async "a hundred sockets at once each get their own messages"() {
    await Promise.all(
      Array.from({ length: 100 }, (_, number) =>
        withSocket(number % 2 ? ECHO : PYTHON, {}, async (socket) => {
          for (let turn = 0; turn < 20; turn += 1) await echoes(socket, `socket ${number}, turn ${turn}`);
        }),
      ),
    );
  },

  async "an upgrade that the upstream refuses is forwarded as its plain answer"() {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    socket.on("error", () => {});
    const [, answer] = await once(socket, "unexpected-response");
    // The page is no WebSocket server: whatever it says, it is not a 101 and not Bowline's own failure.
    assert.ok(answer.statusCode >= 200 && answer.statusCode < 500, `status ${answer.statusCode}`);
    answer.destroy();
  },

  async "plain HTTP passes beside the sockets, on one kept connection"() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let turn = 0; turn < 3; turn += 1) {
      const { status, body } = await fetched(agent, "/");
      assert.equal(status, 200);
      assert.match(body, /<title>Bowline/);
    }
    agent.destroy();
  },
};

async function opened(address, protocols, options) {
  const socket = new WebSocket(address, protocols, { maxPayload: 4 * MIB, ...options });
  await once(socket, "open");
  return socket;
}

async function withSocket(address, options, act) {
  const socket = await opened(address, [], options);
  try {
    await act(socket);
    socket.close(1000);
    const [code] = await once(socket, "close");
    assert.equal(code, 1000);
  } finally {
    socket.terminate();
  }
}

async function echoes(socket, message) {
  const answer = once(socket, "message");
  socket.send(message);
  const [data, isBinary] = await answer;
  assert.equal(isBinary, typeof message !== "string");
  assert.ok(data.equals(Buffer.from(message)), `${data.length} bytes came back for ${Buffer.byteLength(message)}`);
}

function fetched(agent, path) {
  return new Promise((resolve, reject) => {
    http
      .get({ host: "127.0.0.1", port, path, agent }, (answer) => {
        let body = "";
        answer.setEncoding("utf8").on("data", (text) => (body += text));
        answer.on("end", () => resolve({ status: answer.statusCode, body }));
      })
      .on("error", reject);
  });
}

async function within(milliseconds, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done in ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await within(40_000, check());
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${String(error).split("\n")[0]}`);
    console.error(error);
  }
}
// A socket left open by a failed check must not keep this process.
process.exit(failed ? 1 : 0);
