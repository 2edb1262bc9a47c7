const T=Date.now();
import { chromium } from "playwright-core";
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox","--disable-gpu","--disable-quic"] });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
page.on("console", m => console.log("console:", m.text()));
await page.goto("https://localhost:18443/nothing");
await page.waitForTimeout(1500);
console.log(await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol));
const out = await page.evaluate(() => new Promise((resolve) => {
  const sockets = []; let done = 0;
  for (let i = 0; i < 1; i++) {
    const s = new WebSocket("wss://localhost:18443/echo");
    s.onopen = () => s.send("hello " + i);
    s.onmessage = (e) => { sockets.push(e.data); s.close(1000, "bye"); };
    s.onclose = (e) => { if (++done === 1) resolve([sockets.length, e.code, e.wasClean]); };
    s.onerror = () => console.log("error " + i);
  }
  setTimeout(() => resolve(["late", sockets.length, done]), 8000);
}));
console.log(JSON.stringify(out));
console.log((await (await fetch("http://127.0.0.1:19943/metrics")).text()).split("\n").filter(l => /^bowline_(http2|accepted|connections|tunnels_opened|tunnels_ended|tunnel_close_codes)/.test(l)).join("\n"));
await browser.close();
