// Sets the two hashes of the Content-Security-Policy in the built-in page to those of its style and its script.
// Run it after every edit of the page; with --check it only says whether they still fit.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const page = new URL("../../src/upstream/builtin/page.html", import.meta.url);

function mended(html) {
  const hash = (tag) => {
    const body = html.match(new RegExp(`<${tag}>(.*?)</${tag}>`, "s"))[1];
    return createHash("sha256").update(body).digest("base64");
  };
  return html
    .replace(/style-src 'sha256-[^']*'/, () => `style-src 'sha256-${hash("style")}'`)
    .replace(/script-src 'sha256-[^']*'/, () => `script-src 'sha256-${hash("script")}'`);
}

const html = readFileSync(page, "utf8");
const wanted = mended(html);
if (process.argv.includes("--check")) {
  if (html !== wanted) {
    console.error("page.html: its hashes do not fit its script and style; run node tests/clients/page_hashes.mjs");
    process.exitCode = 1;
  }
} else if (html !== wanted) {
  writeFileSync(page, wanted);
}
