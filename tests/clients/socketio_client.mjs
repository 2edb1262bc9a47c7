// The real socket.io client through Bowline to two nodes that know nothing of each other: a request that meets the
// wrong one is answered with 400 "Session ID unknown". Round robin behind it, so that a client stays on purpose only.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { io } from "socket.io-client";

const ports = process.env.SOCKETIO_PORTS.split(",").map(Number);
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], "both, with an upgrade": ["polling", "websocket"] };

const checks = {};
for (const [name, transports] of Object.entries(TRANSPORTS)) {
  checks[`${name}: a client without cookies stays with its node`] = () => stays({ transports }, ports[0]);
  checks[`${name}: a client with cookies, as browsers are, stays with its node`] = () =>
    stays({ transports, withCredentials: true }, ports[0]);
  checks[`${name}: a client with cookies stays though every connection meets another Bowline`] = () =>
    alternating((port) => stays({ transports, withCredentials: true }, port));
}

checks["the cookie comes with the session, and not with every poll"] = async () => {
  const opened = await fetched("/socket.io/?EIO=4&transport=polling");
  assert.equal(opened.status, 200);
  assert.match(String(opened.cookie), /^bowline_[0-9a-f]{8}=[\w-]{32}; Path=\/; HttpOnly; SameSite=Lax$/);
  const { sid } = JSON.parse(opened.body.slice(1));
  const poll = await fetched(`/socket.io/?EIO=4&transport=polling&sid=${sid}`, "POST", "40");
  assert.deepEqual([poll.status, poll.body, poll.cookie], [200, "ok", undefined]);
};

// Twelve clients one after another, so that turns would deal them out; each asks who is there again and again.
async function stays(options, port) {
  const met = new Set();
  for (let number = 0; number < 12; number += 1) {
    const socket = io(`http://127.0.0.1:${port}`, { ...options, forceNew: true, reconnection: false });
    try {
      const failed = new Promise((_, reject) => {
        socket.on("connect_error", reject);
        socket.on("disconnect", (reason) => reject(new Error(reason)));
      });
      failed.catch(() => {});
      await Promise.race([once(socket, "connect"), failed]);
      const { engine } = socket.io;
      if (options.transports.length > 1 && engine.transport.name === "polling") {
        await Promise.race([new Promise((done) => engine.once("upgrade", done)), failed]);
        assert.equal(engine.transport.name, "websocket");
      }
      const node = await Promise.race([socket.emitWithAck("who"), failed]);
      for (let turn = 0; turn < 5; turn += 1) {
        assert.equal(await Promise.race([socket.emitWithAck("who"), failed]), node);
      }
      met.add(node);
    } finally {
      socket.disconnect();
    }
  }
  assert.equal(met.size, 2, "only one of the nodes was met");
}

// A stand-in for what spreads connections over several Bowlines: each connection to the next one.
async function alternating(act) {
  let turn = 0;
  const server = net.createServer((client) => {
    turn += 1;
    const bowline = net.connect(ports[turn % ports.length], "127.0.0.1");
    for (const [from, to] of [[client, bowline], [bowline, client]]) {
      from.pipe(to);
      from.on("error", () => to.destroy());
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  // Or a client's polls would share one connection, and meet one Bowline.
  http.globalAgent.keepAlive = false;
  http.globalAgent.options.keepAlive = false;
  try {
    await act(server.address().port);
    assert.ok(turn >= 12);
  } finally {
    server.close();
  }
}

function fetched(path, method = "GET", body = undefined) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port: ports[0], path, method, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (piece) => (text += piece));
      answer.on("end", () =>
        resolve({ status: answer.statusCode, body: text, cookie: answer.headers["set-cookie"]?.[0] }),
      );
    });
    request.on("error", reject).end(body);
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
