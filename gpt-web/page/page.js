// The page: a form, the text, and what is known about the device. The model runs in `worker.js`;
// here messages become text. Text is added once a frame, so no task of the page is long.

const $ = (id) => document.getElementById(id);
const [form, text, given, written] = ["form", "text", "given", "written"].map($);
const [writeButton, stopButton, status] = ["write", "stop", "status"].map($);

const worker = new Worker("worker.js", { type: "module" });

/** The text that is being written, by its number; messages about earlier ones are dropped. */
let current = 0;
/** Text that came since the last frame. */
let waiting = "";
/** What the page had seen when the text started, for its speed. */
let speed = null;

function say(sentence, failed = false) {
  status.textContent = sentence;
  status.classList.toggle("failed", failed);
}

/** Enables what can be done now. */
function show(state) {
  const writing = state === "writing";
  writeButton.disabled = state === "loading" || state === "failed" || writing;
  stopButton.disabled = !writing;
  text.setAttribute("aria-busy", String(writing));
}

function frame() {
  if (waiting === "") return;
  if (!performance.getEntriesByName("first-text").length) performance.mark("first-text");
  written.append(waiting);
  waiting = "";
  written.normalize();
  if (speed) $("speed").textContent = `${speed.toFixed(0)} tokens per second`;
}

function add(piece) {
  if (waiting === "") requestAnimationFrame(frame);
  waiting += piece;
}

function write() {
  const prompt = $("prompt").value;
  const seed = $("seed").value;
  current += 1;
  given.textContent = prompt;
  written.textContent = waiting = "";
  speed = null;
  worker.postMessage({
    type: "write",
    id: current,
    prompt,
    tokens: Number($("tokens").value),
    temperature: Number($("temperature").value),
    seed: seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed),
  });
  say("Writing");
  show("writing");
}

/** The status line for each way that a text can end. */
const ENDS = {
  end: (n) => `Done: ${n} tokens, then the model ended the text`,
  length: (n) => `Done: ${n} tokens`,
  full: (n) => `Done: ${n} tokens; prompt and text fill the model's context`,
  stopped: (n) => `Stopped after ${n} tokens`,
};

const HANDLERS = {
  device({ device, reason }) {
    $("device").textContent = device;
    $("reason").textContent = reason;
  },
  ready() {
    write();
  },
  text({ id, piece, rate }) {
    if (id !== current) return;
    speed = rate ?? speed;
    add(piece);
  },
  end({ id, why, tokens }) {
    if (id !== current) return;
    frame();
    say(ENDS[why](tokens));
    show("idle");
  },
  // The form can be changed and sent again.
  refused({ id, message }) {
    if (id !== current) return;
    say(message, true);
    show("idle");
  },
  failed({ message }) {
    say(message, true);
    show("failed");
  },
};

worker.addEventListener("message", ({ data }) => HANDLERS[data.type](data));
worker.addEventListener("error", (event) => {
  event.preventDefault();
  const what = event.message || "it cannot be loaded";
  HANDLERS.failed({ message: `The worker failed: ${what}. Reload the page.` });
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
stopButton.addEventListener("click", () => worker.postMessage({ type: "stop" }));
// Enter writes; with Shift it is a new line.
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!writeButton.disabled) form.requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !stopButton.disabled) stopButton.click();
});

show("loading");
// `?device=cpu` and `?device=gpu` choose; otherwise a GPU is used if it computes correctly.
const device = new URLSearchParams(location.search).get("device") ?? "auto";
worker.postMessage({ type: "open", device });
