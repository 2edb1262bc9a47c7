// Chromium over TLS: the page comes by HTTP/2, and so do its WebSockets, all on one connection (RFC 8441).
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const ORIGIN = `https://localhost:${process.env.SECURE_PORT}`;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const SOCKETS = 50;

const checks = {
  async "the page comes by HTTP/2"(page) {
    const protocol = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
    assert.equal(protocol, "h2");
  },

  async "fifty WebSockets share the page's connection"(page) {
    const before = await metrics();
    const ends = await page.evaluate(talk, { path: "/echo", count: SOCKETS });
    assert.deepEqual(ends, Array(SOCKETS).fill("echoed, 1000, clean"));
    const after = await metrics();
    assert.equal(after.bowline_http2_tunnels_total - before.bowline_http2_tunnels_total, SOCKETS);
    assert.equal(after.bowline_accepted_total, before.bowline_accepted_total);
  },

  async "a close is over at once, and the next WebSocket still comes by HTTP/2"(page) {
    for (let turn = 0; turn < 5; turn += 1) {
      const before = await metrics();
      const began = Date.now();
      assert.deepEqual(await page.evaluate(talk, { path: "/python", count: 1 }), ["echoed, 1000, clean"]);
      // A browser that sees no END_STREAM waits for two seconds, and one that sees a reset goes back to HTTP/1.1.
      assert.ok(Date.now() - began < 1900, `took ${Date.now() - began} ms`);
      assert.equal((await metrics()).bowline_http2_tunnels_total - before.bowline_http2_tunnels_total, 1);
    }
  },

  async "what is no WebSocket fails, and the others live"(page) {
    const [end] = await page.evaluate(talk, { path: "/", count: 1 });
    assert.equal(end, "silent, 1006, not clean");
    assert.deepEqual(await page.evaluate(talk, { path: "/echo", count: 1 }), ["echoed, 1000, clean"]);
  },
};

/** Runs in the page: opens sockets, has each echo a message, closes it; tells how each ended. */
function talk({ path, count }) {
  const one = (number) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${location.origin.replace("https", "wss")}${path}`);
      let echoed = false;
      socket.onopen = () => socket.send(`socket ${number}`);
      socket.onmessage = ({ data }) => {
        echoed = data === `socket ${number}`;
        socket.close(1000, "bye");
      };
      socket.onclose = ({ code, wasClean }) =>
        resolve(`${echoed ? "echoed" : "silent"}, ${code}, ${wasClean ? "clean" : "not clean"}`);
    });
  return Promise.all(Array.from({ length: count }, (_, number) => one(number)));
}

/** What Bowline counts, without what has labels. */
async function metrics() {
  const page = await (await fetch(`http://127.0.0.1:${process.env.ADMIN_PORT}/metrics`)).text();
  const lines = page.split("\n").filter((line) => line && !line.startsWith("#") && !line.includes("{"));
  return Object.fromEntries(lines.map((line) => line.split(" ")).map(([name, value]) => [name, Number(value)]));
}

const binary = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => path && existsSync(path));
if (!binary) {
  console.log("FAILED Chromium is there: not found; install chromium or set CHROMIUM to its path");
  process.exit(1);
}

let failed = 0;
let browser;
try {
  browser = await chromium.launch({ executablePath: binary, args: FLAGS });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  // Of its origin, and opens no WebSocket of its own.
  await page.goto(`${ORIGIN}/nothing`);
  // The answer to what the browser asks by itself is not to be mistaken for a new connection.
  await page.evaluate(() => fetch("/favicon.ico").then((answer) => answer.text()));
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(page);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${String(error).split("\n")[0]}`);
      console.error(error);
    }
  }
} catch (error) {
  failed += 1;
  console.log(`FAILED Chromium runs: ${String(error).split("\n")[0]}`);
  console.error(error);
} finally {
  await browser?.close();
}
process.exit(failed ? 1 : 0);
