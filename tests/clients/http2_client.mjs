// Node's own HTTP/2 through Bowline, without TLS: requests, and WebSockets by extended CONNECT (RFC 8441). No library
// speaks both, so the few frames that are needed are made here.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";

const ORIGIN = `http://127.0.0.1:${process.env.BOWLINE_PORT}`;

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

const checks = {
  async "the server says that it takes extended CONNECT"() {
    await withSession(async (session) => assert.equal(session.remoteSettings.enableConnectProtocol, true));
  },

  async "requests pass beside each other"() {
    await withSession(async (session) => {
      const answers = await Promise.all(Array.from({ length: 50 }, () => fetched(session, { ":path": "/" })));
      for (const { status, body } of answers) {
        assert.equal(status, 200);
        assert.match(body, /<title>Bowline/);
      }
    });
  },

  async "messages of every size come back"() {
    await withSession(async (session) => {
      for (const path of ["/echo", "/python", "/node"]) {
        const socket = await Socket.open(session, path);
        for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) await socket.echoes(BINARY, randomBytes(size));
        await socket.echoes(TEXT, Buffer.from("grüße, 世界, 🪢"));
        await socket.close(1000);
      }
    });
  },

  async "a ping gets its pong"() {
    await withSession(async (session) => {
      const socket = await Socket.open(session, "/python");
      socket.send(PING, Buffer.from("are you there"));
      const { opcode, payload } = await socket.frame();
      assert.equal(opcode, PONG);
      assert.equal(payload.toString(), "are you there");
      await socket.close(1000);
    });
  },

  async "the client's close code comes back, and the stream ends without a reset"() {
    await withSession(async (session) => {
      const socket = await Socket.open(session, "/python");
      await socket.close(4001);
      assert.equal(socket.stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
    });
  },

  async "fifty sockets on one connection each get their own messages"() {
    await withSession(async (session) => {
      const sockets = await Promise.all(Array.from({ length: 50 }, () => Socket.open(session, "/echo")));
      await Promise.all(
        sockets.map(async (socket, number) => {
          for (let turn = 0; turn < 20; turn += 1) await socket.echoes(TEXT, Buffer.from(`socket ${number}, turn ${turn}`));
          await socket.close(1000);
        }),
      );
    });
  },

  async "thousands of small messages at once come back in order"() {
    await withSession(async (session) => {
      const socket = await Socket.open(session, "/echo");
      for (let number = 0; number < 5000; number += 1) socket.send(TEXT, Buffer.from(String(number)));
      for (let number = 0; number < 5000; number += 1) {
        assert.equal((await socket.frame()).payload.toString(), String(number));
      }
      await socket.close(1000);
    });
  },

  async "what is no WebSocket server's answer is no tunnel"() {
    await withSession(async (session) => {
      const stream = session.request(handshake("/"));
      const [head] = await once(stream, "response");
      assert.ok(head[":status"] >= 400, `status ${head[":status"]}`);
      stream.close();
    });
  },

  async "an unknown protocol is not implemented"() {
    await withSession(async (session) => {
      const stream = session.request({ ...handshake("/echo"), ":protocol": "connect-udp" });
      const [head] = await once(stream, "response");
      assert.equal(head[":status"], 501);
      stream.close();
    });
  },
};

function handshake(path) {
  return { ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": "13", origin: ORIGIN };
}

class Socket {
  constructor(stream) {
    this.stream = stream;
    this.frames = parsed(stream);
  }

  static async open(session, path) {
    const stream = session.request(handshake(path));
    const [head] = await once(stream, "response");
    assert.equal(head[":status"], 200);
    return new Socket(stream);
  }

  send(opcode, payload) {
    const length = payload.length;
    let head;
    if (length < 126) head = Buffer.from([0x80 | opcode, 0x80 | length]);
    else if (length < 65536) head = Buffer.from([0x80 | opcode, 0xfe, length >> 8, length & 0xff]);
    else {
      head = Buffer.alloc(10);
      head[0] = 0x80 | opcode;
      head[1] = 0xff;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    const mask = randomBytes(4);
    this.stream.write(Buffer.concat([head, mask, payload.map((byte, at) => byte ^ mask[at % 4])]));
  }

  async frame() {
    const { value, done } = await this.frames.next();
    assert.ok(!done, "the stream ended");
    return value;
  }

  /** Whatever frames it comes back in. */
  async echoes(opcode, payload) {
    this.send(opcode, payload);
    const pieces = [];
    for (;;) {
      const frame = await this.frame();
      pieces.push(frame.payload);
      if (frame.fin) break;
    }
    assert.ok(Buffer.concat(pieces).equals(payload), `not the ${payload.length} bytes that were sent`);
  }

  async close(code) {
    this.send(CLOSE, Buffer.from([code >> 8, code & 0xff]));
    const frame = await this.frame();
    assert.equal(frame.opcode, CLOSE);
    assert.equal(frame.payload.readUInt16BE(), code);
    assert.ok((await this.frames.next()).done);
    this.stream.end();
    if (!this.stream.closed) await once(this.stream, "close");
  }
}

async function* parsed(stream) {
  let bytes = Buffer.alloc(0);
  for await (const chunk of stream) {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      if (bytes.length < 2) break;
      let [length, at] = [bytes[1] & 0x7f, 2];
      if (length === 126) [length, at] = [bytes.length < 4 ? Infinity : bytes.readUInt16BE(2), 4];
      else if (length === 127) [length, at] = [bytes.length < 10 ? Infinity : Number(bytes.readBigUInt64BE(2)), 10];
      if (bytes.length < at + length) break;
      yield { fin: bytes[0] >> 7 === 1, opcode: bytes[0] & 15, payload: bytes.subarray(at, at + length) };
      bytes = bytes.subarray(at + length);
    }
  }
}

async function withSession(act) {
  const session = http2.connect(ORIGIN);
  session.on("error", () => {});
  try {
    await once(session, "remoteSettings");
    await act(session);
  } finally {
    session.destroy();
  }
}

async function fetched(session, headers) {
  const stream = session.request(headers);
  const answered = once(stream, "response");
  let body = "";
  stream.setEncoding("utf8").on("data", (text) => (body += text));
  const [head] = await answered;
  if (!stream.readableEnded) await once(stream, "end");
  return { status: head[":status"], body };
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
// A connection left open by a failed check must not keep this process.
process.exit(failed ? 1 : 0);
