// The worker: loads the program and the model, and writes. A step of a text takes about STEP
// milliseconds; between two steps the worker handles messages, so Stop waits for one step at most.

import init, { Choice, Writer } from "./gpt_web.js";

const STEP = 12;

let writer = null;
/** The number of the text in progress; 0 if there is none. */
let writing = 0;

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

async function open() {
  const [gguf] = await Promise.all([bytes("bard.gguf"), init()]);
  writer = Writer.open("bard.gguf", gguf);
  post("ready", {
    model: writer.model(),
    device: writer.device(),
    reason: writer.reason(),
    context: writer.context(),
  });
}

async function write({ id, prompt, tokens, temperature, seed }) {
  const choice = new Choice(tokens, temperature, seed);
  try {
    writer.start(prompt, choice);
  } catch (error) {
    post("refused", { id, message: sentence(error) });
    return;
  } finally {
    choice.free();
  }
  writing = id;
  const start = performance.now();
  let written = 0;
  while (writing === id) {
    const step = writer.step(STEP);
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
  // Stopped, unless a newer text has taken its place.
  if (writing === 0) {
    post("text", { id, piece: writer.stop(), rate: null });
    post("end", { id, why: "stopped", tokens: written });
  }
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

self.onmessage = ({ data }) => {
  if (data.type === "stop") writing = 0;
  else if (data.type === "write") write(data).catch(fail);
};

open().catch(fail);
