// Chromium between two origins: which pages may open WebSockets through Bowline, and which may read its answers.
// This program serves the other origin's pages (PAGE_PORT) and the upstream that is shared (API_PORT).
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { BOWLINE_PORT, ADMIN_PORT, PAGE_PORT, API_PORT } = process.env;
const BOWLINE = `http://127.0.0.1:${BOWLINE_PORT}`;
const SOCKETS = `ws://127.0.0.1:${BOWLINE_PORT}`;
// Both of another origin than Bowline's; only the first is listed.
const LISTED = `http://127.0.0.1:${PAGE_PORT}/`;
const FOREIGN = `http://localhost:${PAGE_PORT}/`;
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// What reached the upstream, as `METHOD PATH`.
let reached = [];
const folder = mkdtempSync(join(tmpdir(), "bowline-origins-"));

const checks = {
  async "a page of Bowline's own origin opens a WebSocket"(page) {
    await page.goto(`${BOWLINE}/public/page`);
    assert.equal(await socket(page, "/echo"), "open");
  },

  async "a page of another port of the same host does not"(page) {
    await page.goto(LISTED);
    await isRefused(() => socket(page, "/echo"));
  },

  async "nor does one of another host"(page) {
    await page.goto(FOREIGN);
    await isRefused(() => socket(page, "/echo"));
  },

  async "a listed page opens one, another page does not"(page) {
    await page.goto(LISTED);
    assert.equal(await socket(page, "/listed"), "open");
    await page.goto(FOREIGN);
    await isRefused(() => socket(page, "/listed"));
  },

  async "a sandboxed frame of the listed page has no origin, and is refused"(page) {
    await page.goto(`${LISTED}sandbox`);
    const frame = page.frames()[1];
    await isRefused(() => socket(frame, "/listed"));
  },

  async "a local file has no origin, and is refused"(page) {
    const file = join(folder, "page.html");
    writeFileSync(file, "<!doctype html><title>local</title>");
    await page.goto(pathToFileURL(file).href);
    await isRefused(() => socket(page, "/echo"));
  },

  async "a listed page reads the answer, with its cookies"(page) {
    await page.goto(`${BOWLINE}/public/cookie`);
    await page.goto(LISTED);
    const { body, told, hidden } = await fetched(page, "/shared", { credentials: "include" });
    assert.match(body, /cookie: session=1/);
    assert.equal(told, "yes");
    assert.equal(hidden, null, "a header that is not exposed");
  },

  async "and without them"(page) {
    await page.goto(LISTED);
    const { body } = await fetched(page, "/shared", { credentials: "omit" });
    assert.match(body, /cookie: none/);
  },

  async "a preflight for a listed method and header passes, and the upstream sees only the request"(page) {
    await page.goto(LISTED);
    for (const credentials of ["omit", "include"]) {
      reached = [];
      const { body } = await fetched(page, "/shared/put", { method: "PUT", headers: { "X-Asked": "1" }, credentials });
      assert.match(body, /PUT/);
      assert.deepEqual(reached, ["PUT /shared/put"]);
    }
  },

  async "another method, another header and Authorization do not get past theirs"(page) {
    await page.goto(LISTED);
    reached = [];
    const asked = [
      { method: "DELETE" },
      { headers: { "X-Other": "1" } },
      { headers: { Authorization: "Bearer x" } },
      { method: "PUT", headers: { "X-Asked": "1", "X-Other": "1" } },
    ];
    for (const options of asked) assert.equal(await fetched(page, "/shared", options), "TypeError");
    assert.deepEqual(reached, []);
  },

  async "a page that is not listed reads nothing, and its preflights stay here"(page) {
    await page.goto(FOREIGN);
    for (const credentials of ["omit", "include"]) {
      assert.equal(await fetched(page, "/shared", { credentials }), "TypeError");
    }
    reached = [];
    assert.equal(await fetched(page, "/shared", { method: "PUT" }), "TypeError");
    assert.deepEqual(reached, []);
  },

  async "what is for any page is read by any, without credentials"(page) {
    await page.goto(FOREIGN);
    const { body, told } = await fetched(page, "/public", {});
    assert.match(body, /GET \/public/);
    assert.equal(told, null);
    assert.equal(await fetched(page, "/public", { credentials: "include" }), "TypeError");
  },
};

// `open` or `error`, as the page sees it.
function socket(page, path) {
  return page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("error");
      }),
    SOCKETS + path,
  );
}

// Asserts that a socket fails, and that it was Bowline that said no.
async function isRefused(open) {
  const before = await refusals();
  assert.equal(await open(), "error");
  assert.equal(await refusals(), before + 1, "refused by somebody else");
}

async function refusals() {
  const text = await (await fetch(`http://127.0.0.1:${ADMIN_PORT}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.includes('cause="origin_refused"'));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").pop()), 0);
}

// What a page reads of an answer, or the name of the error that it gets instead.
function fetched(page, path, options) {
  return page.evaluate(
    async ([url, options]) => {
      try {
        const answer = await fetch(url, options);
        const { headers } = answer;
        return { body: await answer.text(), told: headers.get("x-told"), hidden: headers.get("x-hidden") };
      } catch (error) {
        return error.name;
      }
    },
    [BOWLINE + path, options],
  );
}

function serve(port, handler) {
  const server = http.createServer(handler);
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

const html = { "content-type": "text/html" };
const pages = await serve(PAGE_PORT, (request, response) => {
  const frame = request.url === "/sandbox" ? '<iframe sandbox="allow-scripts" srcdoc="framed"></iframe>' : "";
  response.writeHead(200, html).end(`<!doctype html><title>other</title>${frame}`);
});
// An upstream with a policy of its own, which must not be the one that counts.
const api = await serve(API_PORT, (request, response) => {
  if (request.url !== "/favicon.ico") reached.push(`${request.method} ${request.url}`);
  const cookie = request.url === "/public/cookie" ? { "set-cookie": "session=1; Path=/" } : {};
  const own = { "access-control-allow-origin": "*", "x-told": "yes", "x-hidden": "yes" };
  response.writeHead(200, { ...html, ...own, ...cookie });
  response.end(`${request.method} ${request.url} cookie: ${request.headers.cookie ?? "none"}`);
});

const binary = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => path && existsSync(path));
if (!binary) {
  console.log("FAILED Chromium is there: not found; install chromium or set CHROMIUM to its path");
  process.exit(1);
}

let failed = 0;
let browser;
try {
  browser = await chromium.launchPersistentContext(join(folder, "profile"), { executablePath: binary, args: FLAGS });
  const page = await browser.newPage();
  page.setDefaultTimeout(10_000);
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
  pages.close();
  api.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
