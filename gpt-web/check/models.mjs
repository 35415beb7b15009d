// Checks that the page opens models from a file, from a server whose connections end early, and
// from its store; and that it chats as the command line does.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { Cutting } from "./cutting.mjs";
import { withNumber, withTemplate } from "./gguf.mjs";
import { TASK, STOP, WATCH, check, fill, idle, status } from "./common.mjs";

const NAME = "odd.gguf";
/** A template for Bard, whose vocabulary has only a few characters. */
const TEMPLATE = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
/** The most tokens of an answer. */
const ANSWER = 60;

const modelStatus = 'document.getElementById("model-status").textContent';
const click = (selector) => `document.querySelector(${JSON.stringify(selector)}).click()`;
/** The turns of the conversation. */
const turns = '[...document.querySelectorAll("#talk li > :last-child")].map((e) => e.textContent)';
/** Whether some of a download has arrived. */
const part = 'document.getElementById("bar").value > 0';
const speed = 'document.getElementById("speed").textContent';
/** Names and sizes of the files in the page's store. */
const stored = `(async () => {
  const files = [];
  const walk = async (folder, path) => {
    for await (const [name, handle] of folder.entries()) {
      if (handle.kind === "directory") await walk(handle, path + name + "/");
      else files.push(path + name + " " + (await handle.getFile()).size);
    }
  };
  await walk(await navigator.storage.getDirectory(), "");
  return files;
})()`;

/** The answers of `gpt chat` to messages, in f32. */
function natively(gpt, file, messages, tokens) {
  const output = execFileSync(gpt, [
    "chat", "--weights", file, "--device", "cpu", "--dtype", "f32", "--temperature", 0,
    "--tokens", tokens,
  ], { encoding: "utf8", input: `${messages.join("\n")}\n`, stdio: ["pipe", "pipe", "ignore"] });
  return output;
}

async function download(page, url) {
  await page.value(fill({ url }));
  await page.value(click("#download"));
}

async function choose(page, file) {
  const { root } = await page.send("DOM.getDocument");
  const input = { nodeId: root.nodeId, selector: "#file" };
  const { nodeId } = await page.send("DOM.querySelector", input);
  await page.send("DOM.setFileInputFiles", { nodeId, files: [file] });
  const name = basename(file, ".gguf");
  await page.until(`${modelStatus} === ${JSON.stringify(`${name} is open.`)}`, 300);
}

/** Sends messages one after the other, and returns the answers as the command line prints them. */
async function converse(page, messages, tokens) {
  await page.value(fill({ tokens, temperature: 0 }));
  for (const prompt of messages) {
    await page.value(fill({ prompt }));
    await page.value(click("#write"));
    await page.until(idle, 600);
  }
  const said = await page.value(turns);
  return said.filter((_, i) => i % 2 === 1).map((answer) => `${answer}\n`).join("");
}

const same = (what, found, expected) => check(what, found === expected,
  found === expected ? "" : `${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);

/** Drops a file with the text `text` on the page. */
const drop = (page, name, text) => page.value(`(() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([${JSON.stringify(text)}], ${JSON.stringify(name)}));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(type + " is left to the browser");
  }
})()`);

async function files(page, gpt, odd) {
  await choose(page, odd);
  const messages = ["What is it", "My lord"];
  const found = await converse(page, messages, ANSWER);
  same("a model that the program compiles answers as the command line does", found,
    natively(gpt, odd, messages, ANSWER));
  await page.value(click("#forget"));
  check("a new conversation is empty", (await page.value(turns)).length === 0);

  await page.value(fill({ prompt: "caf\u00e9" }));
  await page.value(click("#write"));
  await page.until(`${idle} && ${status} !== "Writing"`);
  const refused = await page.value(`[${status}, document.getElementById("prompt").value]`);
  check("a message that is refused can be changed",
    refused[0].includes("\u00e9") && refused[1] === "caf\u00e9", refused[0]);

  await drop(page, "text.gguf", "This is no model.");
  await page.until(`${modelStatus}.includes("text.gguf")`);
  const said = await page.value(modelStatus);
  check("a dropped file that is not a model is refused", /not a GGUF/.test(said), said);
  await page.value(fill({ prompt: "My lord" }));
  await page.value(click("#write"));
  await page.until(`${idle} && ${status} !== "Writing"`);
  check("the model before it still answers", (await page.value(turns)).length === 2);
}

async function cuts(page, browser, address, server, size) {
  // The connection ends twice.
  server.cuts = [100_000, 1 << 20];
  await download(page, server.address(NAME));
  await page.until(part);
  check("nothing of a partial file is kept", (await page.value(stored)).length === 0);
  await page.until(`${modelStatus} === "odd is open."`, 120);
  const ranges = ["", "bytes=100000-", `bytes=${100_000 + (1 << 20)}-`];
  const asked = server.ranges.map((range) => range ?? "");
  check("a download resumes where the connection ended", asked.join() === ranges.join(),
    asked.join());
  const kept = await page.value(stored);
  check("a complete download is kept", kept.join() === `models/${NAME} ${size}`, kept.join());
  await page.value(click('[aria-label="Delete odd.gguf"]'));
  await page.until('document.getElementById("kept").hidden');
  const deleted = await page.value(modelStatus);
  check("a kept model can be deleted", (await page.value(stored)).length === 0, deleted);

  // The server does not answer for a while.
  server.cuts = [1 << 20, null, null, null, null, null];
  await download(page, server.address(NAME));
  await page.until('!document.getElementById("resume").hidden');
  const cut = await page.value(modelStatus);
  check("the page reports a download that cannot go on", cut.length > 20, cut);
  check("nothing of that download is kept", (await page.value(stored)).length === 0);
  await page.value(click("#resume"));
  await page.until(`${modelStatus} === "odd is open."`, 120);
  const last = server.ranges.at(-1);
  check("the download resumes where it ended", last === `bytes=${1 << 20}-`, String(last));
  await page.value(click('[aria-label="Delete odd.gguf"]'));
  await page.until('document.getElementById("kept").hidden');

  server.honest = false;
  await download(page, server.address(NAME));
  await page.until(`${modelStatus}.includes("SHA-256")`, 120);
  const damaged = await page.value(modelStatus);
  check("a damaged download is refused", (await page.value(stored)).length === 0, damaged);
  server.honest = true;

  await download(page, server.address(NAME));
  await page.until(part);
  await page.value(click("#cancel"));
  await page.until(`${modelStatus} === "Cancelled."`);
  await new Promise((resolve) => setTimeout(resolve, 200));
  check("a download can be cancelled", (await page.value(stored)).length === 0
    && await page.value('document.getElementById("transfer").hidden'));

  const origin = new URL(address).origin;
  await page.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1 << 20 });
  await download(page, server.address(NAME));
  await page.until(`${modelStatus}.startsWith("odd is open.")`, 120);
  const full = await page.value(modelStatus);
  const room = /not kept, because the browser has no room for its 2\.\d MB/;
  check("the page reports a full device in a sentence", room.test(full), full);
  check("nothing is kept on a full device", (await page.value(stored)).length === 0);
  await page.send("Storage.overrideQuotaForOrigin", { origin });

  const absent = `${address}absent.gguf`;
  await download(page, absent);
  await page.until(`${modelStatus}.includes("404")`);
  check("the page reports a file that is not there", true, await page.value(modelStatus));

  // A kept model is still there at the next visit.
  await download(page, server.address(NAME));
  await page.until(`${modelStatus} === "odd is open."`, 120);
  const next = await browser.page();
  await next.open(address);
  await next.until(`document.querySelector('[aria-label="Open odd.gguf"]') !== null`);
  await next.value(click('[aria-label="Open odd.gguf"]'));
  await next.until(`${modelStatus} === "odd is open."`, 120);
  check("a kept model opens at the next visit", true);
  await next.close();
}

/** SmolLM2-135M-Instruct, whose file is not in the repository. */
async function smollm2(page, gpt, file, look) {
  const began = Date.now();
  await choose(page, file);
  console.log(`       SmolLM2 is open after ${Date.now() - began} ms`);
  const messages = ["What is the capital of France?", "And of Italy?", "Tell me about Rome."];
  const found = await converse(page, messages, 48);
  console.log(`       ${await page.value(speed)}`);
  same("SmolLM2 answers as the command line does", found, natively(gpt, file, messages, 48));
  await look("chat");

  // Stop is pressed once while it reads a long message, and once while it writes.
  for (const [what, prompt, when] of [
    ["reading", "The quick brown fox jumps over the lazy dog. ".repeat(40), 'said === ""'],
    ["writing", "Tell me a story.", 'said.length > 20'],
  ]) {
    await page.value(click("#forget"));
    await page.value(fill({ prompt, tokens: 200 }));
    const took = await page.value(`new Promise((resolve) => {
      const stop = document.getElementById("stop");
      ${click("#write")};
      let pressed = null;
      const begun = performance.now();
      const watch = () => {
        const said = document.querySelector("#talk li:last-child > :last-child").textContent;
        if (pressed === null && performance.now() > begun + 500 && ${when}) {
          pressed = performance.now();
          stop.click();
        }
        if (stop.disabled) resolve(pressed === null ? Infinity : performance.now() - pressed);
        else setTimeout(watch, 1);
      };
      watch();
    })`);
    check(`Stop takes little time while SmolLM2 is ${what}`, took <= STOP, `${took.toFixed(0)} ms`);
  }
}

/**
 * Runs all these checks. `look` takes pictures. `large` is a file of SmolLM2-135M-Instruct, or
 * undefined.
 */
export async function models(browser, address, { gpt, site, large, look }) {
  const folder = await mkdtemp(join(tmpdir(), "gpt-web-models-"));
  const bard = await readFile(join(site, "bard.gguf"));
  const bytes = withNumber(withTemplate(bard, TEMPLATE), "llama.context_length", 192);
  const odd = join(folder, NAME);
  await writeFile(odd, bytes);
  const server = await Cutting.start(bytes);
  try {
    const page = await browser.page();
    await page.before(WATCH);
    await page.open(address);
    await page.until(idle);
    await files(page, gpt, odd);
    await cuts(page, browser, address, server, bytes.length);
    const nodes = await page.accessible();
    for (const name of ["Open odd.gguf", "Delete odd.gguf", "New conversation", "Download"]) {
      check(`a screen reader finds the button ${name}`,
        nodes.some((node) => node.role === "button" && node.name === name));
    }
    const roles = ["button", "textbox", "spinbutton", "progressbar", "region"];
    const unnamed = nodes.filter(({ role, name }) => roles.includes(role) && name === "");
    check("all controls have names", unnamed.length === 0, unnamed.map(({ role }) => role).join());
    await look(page, "models");
    if (large) await smollm2(page, gpt, large, (name) => look(page, name));
    else console.log("left out: SmolLM2; SMOLLM2 names its file, SmolLM2-135M-Instruct.Q4_1.gguf");
    const tasks = await page.value("tasks");
    check("no task of the page is long with other models", tasks.every((task) => task <= TASK),
      tasks.map((task) => `${task.toFixed(0)} ms`).join(", "));
    // The browser itself reports connections that end, and the file that is not there.
    const errors = page.errors.filter((error) => !/^Failed to load resource/.test(error));
    check("the page reports no error with other models", errors.length === 0, errors.join("; "));
    await page.close();
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
}
