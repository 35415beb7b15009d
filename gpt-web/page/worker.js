// The worker: loads the program and the model, and writes. A step of a text takes about STEP
// milliseconds; between two steps the worker handles messages, so Stop waits for one step at most.
//
// The CPU engine starts at once. With the device `auto`, a GPU is tested after the first text, and
// takes over if it computes correctly.

import init, { Writer } from "./gpt_web.js";

const STEP = 12;
const MODEL = "bard.gguf";

let writer = null;
/** The number of the text in progress; 0 if there is none. */
let writing = 0;
/** Ends when the writer is free: it does one thing at a time. */
let free = Promise.resolve();

const post = (type, rest = {}) => self.postMessage({ type, ...rest });

/** Resolves after the messages that have arrived. A timer would wait for four milliseconds. */
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

function describe() {
  post("device", { device: writer.device(), reason: writer.reason() });
}

async function open({ device }) {
  const [gguf] = await Promise.all([bytes(MODEL), init()]);
  writer = await Writer.open(MODEL, gguf, device === "gpu" ? "gpu" : "cpu");
  describe();
  post("ready");
  if (device !== "auto") return;
  // The page asks for the first text now.
  await turn();
  await after(async () => {
    try {
      const other = await Writer.open(MODEL, gguf, "auto");
      writer.free();
      writer = other;
      describe();
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      post("device", { device: writer.device(), reason: sentence(error) });
    }
  });
}

/** Runs `task` when those before it are done. */
function after(task) {
  free = free.then(task);
  return free;
}

async function write({ id, prompt, tokens, temperature, seed }) {
  // A newer text has taken its place before it began.
  if (writing !== id) return;
  try {
    await writer.start(prompt, tokens, temperature, seed);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw error;
    writing = 0;
    post("refused", { id, message: sentence(error) });
    return;
  }
  const start = performance.now();
  let written = 0;
  while (writing === id) {
    const step = await writer.step(STEP);
    const { text: piece, ended } = step;
    written = step.tokens;
    step.free();
    const rate = (1000 * written) / (performance.now() - start);
    post("text", { id, piece, rate });
    if (ended) {
      writing = 0;
      post("end", { id, why: ended, tokens: written });
      return;
    }
    await turn();
  }
  post("text", { id, piece: writer.stop(), rate: null });
  post("end", { id, why: "stopped", tokens: written });
}

function sentence(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Ends the page's use of the model: after a trap its memory cannot be trusted. */
function fail(error) {
  writing = 0;
  const trap = error instanceof WebAssembly.RuntimeError;
  const what = trap ? "The program ran out of memory or failed" : sentence(error);
  post("failed", { message: `${what}. Reload the page to start again.` });
}

const HANDLERS = {
  open: (message) => open(message).catch(fail),
  stop: () => { writing = 0; },
  write: (message) => {
    writing = message.id;
    after(() => write(message)).catch(fail);
  },
};

self.onmessage = ({ data }) => HANDLERS[data.type](data);
