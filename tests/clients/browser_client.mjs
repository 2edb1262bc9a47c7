// Chromium on the built-in page through Bowline: the rows, their colours, the clicks and the keys of a newcomer.
// Leaves screenshots in $SCREENSHOTS.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const address = `http://127.0.0.1:${process.env.BOWLINE_PORT}/`;
const pictures = process.env.SCREENSHOTS ?? tmpdir();
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

const GREEN = "rgb(226, 247, 213)";
const WHITE = "rgb(255, 255, 255)";
const YELLOW = "rgb(255, 248, 204)";
const RED = "rgb(255, 220, 216)";

const checks = {
  async "the page's Content-Security-Policy fits its script and style"() {
    execFileSync("node", [new URL("page_hashes.mjs", import.meta.url).pathname, "--check"], { stdio: "pipe" });
  },

  async "a newcomer sees a green and a white row at once"(page) {
    await row(page, "sent").waitFor();
    await row(page, "received").waitFor();
    assert.equal(await text(row(page, "sent"), ".data"), "Hello through Bowline");
    assert.equal(await text(row(page, "received"), ".data"), "Hello through Bowline");
    assert.equal(await page.locator("#connect").textContent(), "Disconnect");
  },

  async "sent is light green, received white, open light yellow"(page) {
    assert.equal(await background(row(page, "sent")), GREEN);
    assert.equal(await background(row(page, "received")), WHITE);
    assert.equal(await background(row(page, "control")), YELLOW);
    assert.equal(await page.locator("#frames tr[data-kind=error]").count(), 0);
  },

  async "a message sent by a click comes back, with its length and time"(page) {
    await page.locator("#message").fill("clicked, grüße");
    await page.locator("#send").click();
    const back = page.locator("#frames tr[data-kind=received]", { hasText: "clicked, grüße" });
    await back.waitFor();
    assert.equal(await text(back, ".length"), "16 B");
    assert.match(await text(back, ".time"), /^\d\d:\d\d:\d\d\.\d{3}$/);
    assert.match(await page.locator("#totals").textContent(), /sent 2 .*received 2 .*round trip \d/);
  },

  async "Enter sends, and the arrow keys walk the rows"(page) {
    await page.locator("#message").fill("by key");
    await page.keyboard.press("Enter");
    const back = page.locator("#frames tr[data-kind=received]", { hasText: "by key" });
    await back.waitFor();
    await back.focus();
    await page.keyboard.press("Enter");
    assert.equal(await back.getAttribute("aria-selected"), "true");
    assert.equal(await page.locator("#content").textContent(), "by key");
    await page.keyboard.press("Home");
    assert.match(await page.locator("#content").textContent(), /^Connecting to ws:/);
    await page.keyboard.press("ArrowDown");
    assert.match(await page.locator("#content").textContent(), /^Open: \/echo/);
  },

  async "10 KiB and hex go as binary and come back whole"(page) {
    await page.locator("#send-10k").click();
    const large = page.locator("#frames tr[data-kind=received]", { hasText: "10.0 KiB" });
    await large.waitFor();
    await large.click();
    const dump = await page.locator("#content").textContent();
    assert.equal(dump.split("\n").length, 640);
    assert.match(dump, /^000000 {2}00 01 02 03/);
    await page.locator("#message").fill("00 FF 7e");
    await page.locator("#send-hex").click();
    const small = page.locator("#frames tr[data-kind=received]", { hasText: "00 ff 7e" });
    await small.waitFor();
    assert.equal(await text(small, ".length"), "3 B");
  },

  async "the filter hides rows and shows them again"(page) {
    const shown = page.locator("#frames tbody tr:visible");
    const all = await shown.count();
    await page.locator("#filter").fill("clicked");
    assert.equal(await shown.count(), 2);
    await page.locator("#filter").fill("");
    assert.equal(await shown.count(), all);
  },

  async "nothing a peer says becomes markup"(page) {
    await page.locator("#message").fill("<img src=x onerror=alert(1)><b>bold</b>");
    await page.locator("#send").click();
    const back = page.locator("#frames tr[data-kind=received]", { hasText: "<b>bold</b>" });
    await back.waitFor();
    await back.click();
    assert.equal(await page.locator("#frames img, #frames b, #content *").count(), 0);
  },

  async "disconnect ends with a clean close, light yellow"(page) {
    await page.screenshot({ path: join(pictures, "page.png") });
    await page.locator("#connect").click();
    const end = page.locator("#frames tr[data-kind=control]", { hasText: "Closed: 1000 (normal)" });
    await end.waitFor();
    assert.equal(await background(end), YELLOW);
    assert.equal(await page.locator("#connect").textContent(), "Connect");
    assert.ok(await page.locator("#send").isDisabled());
  },

  async "a path without a WebSocket gives a light red row"(page) {
    await page.locator("#path").fill("/no-socket-here");
    await page.locator("#connect").click();
    const failure = row(page, "error");
    await failure.waitFor();
    assert.equal(await background(failure), RED);
    await page.screenshot({ path: join(pictures, "page-error.png") });
  },

  async "a subprotocol and permessage-deflate agreed through the proxy are shown"(page) {
    await page.locator("#clear").click();
    await page.locator("#path").fill("/node");
    await page.locator("#protocol").fill("superchat, chat");
    await page.locator("#connect").click();
    const open = page.locator("#frames tr[data-kind=control]", { hasText: "Open: /node" });
    await open.waitFor();
    assert.match(await text(open, ".data"), /subprotocol chat; permessage-deflate/);
    await page.locator("#message").fill("close 4002 enough");
    await page.locator("#send").click();
    await page.locator("#frames tr[data-kind=control]", { hasText: "Closed: 4002: enough" }).waitFor();
  },

  async "at phone width nothing is cut off and the rows stay readable"(page) {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.reload();
    await row(page, "received").waitFor();
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
    assert.ok((await row(page, "received").locator(".data").boundingBox()).width > 120);
    for (const id of ["#connect", "#send", "#message", "#filter"]) assert.ok(await page.locator(id).isVisible(), id);
    await page.screenshot({ path: join(pictures, "page-phone.png") });
  },

  async "the browser's console stays silent"(_, told) {
    // The refused path above is told by the browser itself; anything else is a fault of the page.
    assert.deepEqual(told.filter((line) => !line.includes("/no-socket-here")), []);
  },
};

function row(page, kind) {
  return page.locator(`#frames tr[data-kind=${kind}]`).first();
}

async function text(within, part) {
  return (await within.locator(part).textContent()).trim();
}

function background(which) {
  return which.evaluate((element) => getComputedStyle(element).backgroundColor);
}

const binary = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => path && existsSync(path));
if (!binary) {
  console.log("FAILED Chromium is there: not found; install chromium or set CHROMIUM to its path");
  process.exit(1);
}

const profile = mkdtempSync(join(tmpdir(), "bowline-chromium-"));
let failed = 0;
let browser;
try {
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: binary,
    args: FLAGS,
    viewport: { width: 1100, height: 760 },
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(10_000);
  const told = [];
  page.on("console", (message) => told.push(message.text()));
  page.on("pageerror", (error) => told.push(String(error)));
  await page.goto(address);
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(page, told);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${String(error.stderr ?? error).split("\n")[0]}`);
      console.error(error);
      await page.screenshot({ path: join(pictures, `failed-${failed}.png`) }).catch(() => {});
    }
  }
} catch (error) {
  failed += 1;
  console.log(`FAILED Chromium runs: ${String(error).split("\n")[0]}`);
  console.error(error);
} finally {
  await browser?.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
