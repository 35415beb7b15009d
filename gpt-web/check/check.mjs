// Checks the page in Chromium: `node check.mjs SITE GPT PICTURES`. SITE is the folder that
// `.ci/web` makes, GPT the `gpt` program of the same commit, and PICTURES a folder for screenshots.
// The texts and logits of the page are compared with those of GPT. The variable CHROMIUM names the
// browser, and SMOLLM2 a file of SmolLM2-135M-Instruct; without it, the checks of that model are
// left out. The status is 1 if a check fails.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { argv, env, exit } from "node:process";
import { gzipSync } from "node:zlib";

import { Chromium } from "./chromium.mjs";
import { STOP, TASK, WATCH, check, failed, fill, idle, status } from "./common.mjs";
import { models } from "./models.mjs";
import { serve } from "./serve.mjs";

/** The most bytes of the program after gzip, without weights. */
const MOST_BYTES = 2_000_000;
/** The most milliseconds from navigation to the first text. */
const FIRST_TEXT = 2000;
const PROMPT = "ROMEO:\n";
const TOKENS = 240;

const [site, gpt, pictures] = argv.slice(2);

/** The JSON that a command of `gpt` prints in its last line, run on the CPU. */
function native(...parameters) {
  const output = execFileSync(gpt, [...parameters, "--device", "cpu", "--json"], {
    encoding: "utf8", maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "ignore"],
  });
  return JSON.parse(output.trim().split("\n").at(-1));
}

/** The sum of squared differences over the sum of the squares of `expected`. */
function nmse(found, expected) {
  let [difference, square] = [0, 0];
  expected.forEach((value, i) => {
    difference += (found[i] - value) ** 2;
    square += value ** 2;
  });
  return found.length === expected.length ? difference / square : Infinity;
}

const written = 'document.getElementById("written").textContent';

async function size() {
  const packed = gzipSync(await readFile(join(site, "gpt_web_bg.wasm")), { level: 9 }).length;
  check("the program is small", packed <= MOST_BYTES, `${packed} bytes after gzip`);
}

async function welcome(page, address) {
  await page.before(WATCH);
  await page.open(address);
  await page.until('performance.getEntriesByName("first-text").length > 0');
  const first = await page.value('performance.getEntriesByName("first-text")[0].startTime');
  check("the first text appears soon", first <= FIRST_TEXT,
    `${first.toFixed(0)} ms after navigation`);
  await page.until(idle);
  check("the first text ends", /^Done: 250 tokens/.test(await page.value(status)),
    await page.value(status));
  const speed = await page.value('document.getElementById("speed").textContent');
  check("the page says how fast it writes", /^\d+ tokens per second$/.test(speed), speed);
  const device = await page.value('document.getElementById("device").textContent');
  // Chromium's only adapter here is software, which the page does not use.
  await page.until('/software/.test(document.getElementById("reason").textContent)');
  const reason = await page.value('document.getElementById("reason").textContent');
  check("the page names its device and the reason", device.length > 3 && reason.length > 3,
    `${device} (${reason})`);
  const origins = await page.value(`[...new Set(performance.getEntriesByType("resource")
    .map(({ name }) => new URL(name).origin))].filter((origin) => origin !== location.origin)`);
  check("nothing comes from elsewhere", origins.length === 0, origins.join(" "));
}

// The page uses Bard's 8-bit weights and rounds the inputs of products to 16 bits, which
// changes none of these texts. On AVX-512, `gpt` rounds inputs to 8 bits, which does. So texts and
// logits are compared with those of `gpt` with the weights converted to f32.
const EXACT = ["--dtype", "f32"];

async function texts(page) {
  const generate = ["generate", "--prompt", PROMPT, "--tokens", TOKENS, ...EXACT];
  const { text } = native(...generate, "--temperature", 0);
  await page.value(fill({ prompt: PROMPT, tokens: TOKENS, temperature: 0 }));
  await page.value('document.getElementById("write").click()');
  await page.until(idle);
  const found = await page.value(written);
  check("greedy text is the command line's", found === text,
    found === text ? "" : `${JSON.stringify(found)} is not ${JSON.stringify(text)}`);

  // One seed gives the same text on the page and on the command line.
  await page.value(fill({ temperature: 0.8, seed: 7 }));
  await page.value('document.getElementById("write").click()');
  await page.until(idle);
  const again = await page.value(written);
  const drawn = native(...generate, "--temperature", 0.8, "--seed", 7).text;
  check("text sampled with a seed is the command line's", again === drawn,
    again === drawn ? "" : `${JSON.stringify(again)} is not ${JSON.stringify(drawn)}`);
}

async function numbers(page, address) {
  const text = "ROMEO:\nBut soft, what light through yonder window breaks?";
  const { logits } = native("logits", "--prompt", text, ...EXACT);
  for (const [dtype, bound] of [["f32", 1e-11], ["q8", 2.5e-7]]) {
    const found = await page.value(`(async () => {
      const { default: init, ModelFile, Writer } = await import("${address}gpt_web.js");
      await init();
      const gguf = new Uint8Array(await (await fetch("bard.gguf")).arrayBuffer());
      const file = new ModelFile("bard.gguf", gguf.length);
      file.append(gguf);
      const writer = await Writer.open(file, "cpu", "${dtype}");
      return [...await writer.logits(${JSON.stringify(text)})];
    })()`);
    const error = nmse(found, logits.flat());
    check(`logits in ${dtype} are the command line's`, error <= bound,
      `NMSE ${error.toExponential(1)} of ${found.length}`);
  }
}

/**
 * Checks greedy text on WebGPU. A prompt of one token needs no prefill kernels, each of which takes
 * SwiftShader most of a minute to compile.
 */
async function gpu(page, address) {
  const [prompt, tokens] = ["J", 40];
  const { text } = native("generate", "--prompt", prompt, "--tokens", tokens, "--temperature", 0,
    ...EXACT);
  const found = await page.value(`(async () => {
    const { default: init, ModelFile, Writer } = await import("${address}gpt_web.js");
    await init();
    const gguf = new Uint8Array(await (await fetch("bard.gguf")).arrayBuffer());
    const file = new ModelFile("bard.gguf", gguf.length);
    file.append(gguf);
    const writer = await Writer.open(file, "gpu");
    writer.start("${prompt}", ${tokens}, 0, 0);
    for (let text = "";;) {
      const step = await writer.step(12);
      text += step.text;
      if (step.ended) return { text, gpu: writer.is_gpu() };
    }
  })()`);
  const same = found.gpu && found.text === text;
  check("greedy text on WebGPU is the command line's", same,
    same ? "" : `${JSON.stringify(found)} is not ${JSON.stringify(text)}`);
}

async function stop(page) {
  await page.value(fill({ tokens: 250, temperature: 0.8 }));
  // Stop is pressed when the first text appears.
  const took = await page.value(`new Promise((resolve) => {
    const written = document.getElementById("written");
    const stop = document.getElementById("stop");
    document.getElementById("write").click();
    let pressed = null;
    const watch = () => {
      if (pressed === null && written.textContent !== "") {
        pressed = performance.now();
        stop.click();
      }
      if (pressed !== null && stop.disabled) resolve(performance.now() - pressed);
      else setTimeout(watch, 1);
    };
    watch();
  })`);
  const said = await page.value(status);
  const tokens = Number(/^Stopped after (\d+) tokens?$/.exec(said)?.[1]);
  check("Stop stops", tokens < 250, said);
  check("Stop takes little time", took <= STOP, `${took.toFixed(0)} ms`);
  await page.value("new Promise((resolve) => setTimeout(resolve, 300))");
  const length = (await page.value(written)).length;
  check("nothing is written after Stop", length === tokens, `${length} characters`);
}

async function keyboard(page) {
  await page.value('document.activeElement.blur(); scrollTo(0, 0)');
  const order = [];
  for (let i = 0; i < 6; i++) {
    await page.press("Tab");
    const name = await page.value('document.activeElement.id || document.activeElement.localName');
    if (name === "body") break;
    order.push(name);
  }
  const expected = ["prompt", "summary", "write", "text"];
  check("Tab reaches what can be used", order.slice(0, 4).join() === expected.join(), order.join());
  await page.value(fill({ tokens: 250 }));
  await page.value('document.getElementById("prompt").focus()');
  await page.press("Enter", "\r");
  await page.until(`${status} !== "" && !document.getElementById("stop").disabled`);
  await page.press("Escape");
  await page.until(idle);
  const said = await page.value(status);
  check("Enter writes and Escape stops", said.startsWith("Stopped"), said);
}

async function reader(page) {
  const nodes = await page.accessible();
  const roles = ["button", "textbox", "spinbutton", "region", "DisclosureTriangle"];
  const unnamed = nodes.filter(({ role, name }) => roles.includes(role) && name === "");
  check("controls have names", unnamed.length === 0, unnamed.map(({ role }) => role).join(" "));
  for (const [role, name] of [
    ["button", "Write"], ["button", "Stop"], ["textbox", "Prompt"], ["region", "Text"],
    ["heading", "A GPT in this page"],
  ]) {
    check(`a screen reader finds the ${role} ${name}`,
      nodes.some((node) => node.role === role && node.name === name));
  }
  check("a screen reader finds the status", nodes.some(({ role }) => role === "status"));
}

async function refusals(page, address, missing, browser) {
  await page.value(fill({ prompt: "caf\u00e9" }));
  await page.value('document.getElementById("write").click()');
  await page.until(idle);
  const said = await page.value(status);
  check("a character that Bard does not know is refused", said.includes("\u00e9"), said);
  await page.value(fill({ prompt: PROMPT }));
  await page.value('document.getElementById("write").click()');
  await page.until(idle);
  const last = await page.value(status);
  check("the page still works after a refusal", /^Done/.test(last), last);

  missing.add("/bard.gguf");
  const other = await browser.page();
  await other.open(address);
  await other.until('document.getElementById("status")?.classList.contains("failed")');
  const failure = await other.value(status);
  check("the page reports a model that cannot be loaded", failure.includes("bard.gguf"), failure);
  missing.clear();
  await other.close();
}

/** Takes pictures of the page at the widths of a phone and of a desktop, in light and in dark. */
async function look(page, name) {
  await mkdir(pictures, { recursive: true });
  for (const [width, height] of [[390, 844], [1280, 800]]) {
    for (const scheme of ["light", "dark"]) {
      await page.look(width, height, scheme);
      const wide = await page.value("document.documentElement.scrollWidth");
      check(`the page fits ${width} pixels: ${name}, ${scheme}`, wide <= width, `${wide} wide`);
      await writeFile(join(pictures, `${name}-${width}-${scheme}.png`), await page.picture());
    }
  }
}

const missing = new Set();
const { server, address } = await serve(site, 0, missing);
const browser = await Chromium.start(env.CHROMIUM ?? "chromium");
try {
  await size();
  const page = await browser.page();
  await welcome(page, address);
  await texts(page);
  await stop(page);
  await keyboard(page);
  await reader(page);
  await refusals(page, address, missing, browser);
  await look(page, "page");
  const tasks = await page.value("tasks");
  check("no task of the page is long", tasks.every((task) => task <= TASK),
    tasks.map((task) => `${task.toFixed(0)} ms`).join(", "));
  check("the page reports no error", page.errors.length === 0, page.errors.join("; "));
  await models(browser, address, { gpt, site, large: env.SMOLLM2, look });
  // These run in a separate tab, because here the program runs on the page's own thread.
  const other = await browser.page();
  await other.open(address);
  await other.until(idle);
  await numbers(other, address);
  await gpu(other, address);
} finally {
  await browser.close();
  server.close();
}
const count = `${failed} ${failed === 1 ? "check" : "checks"}`;
console.log(failed === 0 ? "all checks passed" : `${count} failed`);
exit(failed === 0 ? 0 : 1);
