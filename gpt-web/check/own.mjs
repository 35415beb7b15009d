// Opens the page of the documentation in Chromium: `node own.mjs SITE`.

import { argv, env, exit } from "node:process";

import { Chromium } from "./chromium.mjs";
import { check, failed } from "./common.mjs";
import { serve } from "./serve.mjs";

/** The number of characters that the page must write. Bard's context has room for more. */
const LEAST = 100;

const { server, address } = await serve(argv[2]);
const browser = await Chromium.start(env.CHROMIUM ?? "chromium");
try {
  const page = await browser.page();
  await page.open(address);
  const text = 'document.getElementById("text").textContent';
  await page.until(`${text}.length >= ${LEAST}`);
  check("a page of your own writes", page.errors.length === 0, page.errors.join("; "));
} finally {
  await browser.close();
  server.close();
}
exit(failed === 0 ? 0 : 1);
