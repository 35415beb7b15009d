// The worker: loads the program and a model, and writes. A step of a text takes about STEP
// milliseconds; between two steps the worker handles messages, so Stop waits for one step at most.
//
// The CPU engine starts at once, unless the device is `gpu`. With the device `auto`, a GPU is
// tested after the first text, and replaces the CPU engine if it computes correctly. `opening.js`
// opens other models.

import init, { ModelFile, Writer } from "./gpt_web.js";
import { Opening } from "./opening.js";
import * as store from "./store.js";

const STEP = 12;
const MODEL = "bard.gguf";

let writer = null;
/** The number of the text in progress; 0 if there is none. */
let writing = 0;
/** Resolves when the writer is free, as it runs one task at a time. */
let free = Promise.resolve();
/** Opens other models; null until the program is loaded. */
let opening = null;
let device = "auto";

const post = (type, rest = {}) => self.postMessage({ type, ...rest });

/** Resolves when the messages that have arrived are handled. A timer would wait for 4 ms. */
const turn = (() => {
  const { port1, port2 } = new MessageChannel();
  const waiting = [];
  port1.onmessage = () => waiting.shift()();
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(null);
  });
})();

async function bytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server did not send ${url}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function bard(gguf) {
  const file = new ModelFile(MODEL, gguf.length);
  file.append(gguf);
  return file;
}

function describe() {
  post("device", { device: writer.device(), reason: writer.reason() });
}

/** Replaces the writer. */
function take(other) {
  writer?.free();
  writer = other;
  describe();
}

async function open() {
  const [gguf, { memory }] = await Promise.all([bytes(MODEL), init()]);
  take(await Writer.open(bard(gguf), device === "gpu" ? "gpu" : "cpu"));
  const first = writer;
  opening = new Opening(memory, { post, load, fail, sentence });
  post("ready");
  post("kept", { files: await store.list().catch(() => []) });
  if (device !== "auto") return;
  // The page asks for the first text now.
  await turn();
  await after(async () => {
    // Another model was opened in the meantime.
    if (writer !== first) return;
    try {
      take(await Writer.open(bard(gguf), "auto"));
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      post("device", { device: writer.device(), reason: sentence(error) });
    }
  });
}

/** Replaces the model with that of `file`. */
function load(file) {
  writing = 0;
  return after(async () => {
    take(await Writer.open(file, device));
    return { name: writer.model(), chat: writer.can_chat(), context: writer.context() };
  });
}

/** Runs `task` after the tasks before it have ended, whether or not they failed. */
function after(task) {
  const done = free.then(task);
  free = done.catch(() => {});
  return done;
}

async function write({ id, prompt, tokens, temperature, seed }) {
  // A newer text has replaced this one before it began.
  if (writing !== id) return;
  let dropped = 0;
  try {
    if (writer.can_chat()) dropped = writer.ask(prompt, tokens, temperature, seed);
    else writer.start(prompt, tokens, temperature, seed);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw error;
    writing = 0;
    post("refused", { id, message: sentence(error) });
    return;
  }
  let [start, written] = [performance.now(), 0];
  while (writing === id) {
    // The speed is that of writing, without the time to read the prompt.
    if (written === 0) start = performance.now();
    const step = await writer.step(STEP);
    const { text: piece, ended } = step;
    written = step.tokens;
    step.free();
    const rate = written > 0 ? (1000 * written) / (performance.now() - start) : null;
    post("text", { id, piece, rate });
    if (ended) {
      writing = 0;
      post("end", { id, why: ended, tokens: written, dropped });
      return;
    }
    await turn();
  }
  post("text", { id, piece: writer.stop(), rate: null });
  post("end", { id, why: "stopped", tokens: written, dropped });
}

/** An error as a sentence. The name of a file at its beginning stays as it is. */
function sentence(error) {
  const text = error instanceof Error ? error.message : String(error);
  return /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** Ends the page's use of the model: after a trap its memory cannot be trusted. */
function fail(error) {
  writing = 0;
  const trap = error instanceof WebAssembly.RuntimeError;
  const what = trap ? "The program ran out of memory or failed" : sentence(error);
  post("failed", { message: `${what}. Reload the page to start again.` });
}

const HANDLERS = {
  open: (message) => {
    device = message.device;
    open().catch(fail);
  },
  stop: () => { writing = 0; },
  write: (message) => {
    writing = message.id;
    after(() => write(message)).catch(fail);
  },
  forget: () => {
    writing = 0;
    after(() => writer.forget()).catch(fail);
  },
  file: ({ file }) => opening?.file(file),
  kept: ({ name }) => opening?.kept(name),
  url: ({ url }) => opening?.url(url),
  resume: () => opening?.resume(),
  cancel: () => opening?.cancel(),
  remove: ({ name }) => opening?.remove(name),
};

self.onmessage = ({ data }) => HANDLERS[data.type](data);
