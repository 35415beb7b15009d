// The page: a form, the text, and facts about the device. The model runs in `worker.js`, whose
// messages are shown here. Text is added once a frame, so no task of the page is long.

import { models } from "./models.js";

const $ = (id) => document.getElementById(id);
const [form, text, given, talk] = ["form", "text", "given", "talk"].map($);
const [writeButton, stopButton, forgetButton] = ["write", "stop", "forget"].map($);
const status = $("status");

const worker = new Worker("worker.js", { type: "module" });

/** The number of the text that is being written. Messages about earlier texts are ignored. */
let current = 0;
/** The element that the text is written to. */
let written = $("written");
/** Text that came since the last frame. */
let waiting = "";
/** Tokens per second, as the worker measures them. */
let speed = null;
/** Whether the model answers messages. */
let chats = false;
/** Whether the end of the conversation is in view. */
let follows = true;

function say(sentence, failed = false) {
  status.textContent = sentence;
  status.classList.toggle("failed", failed);
}

/** Enables the controls that can be used in `state`. */
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
  // A conversation scrolls with what is written, unless the reader has scrolled up.
  if (chats && follows) text.scrollTop = text.scrollHeight;
  if (speed) $("speed").textContent = `${speed.toFixed(speed < 10 ? 1 : 0)} tokens per second`;
}

function add(piece) {
  if (piece === "") return;
  if (waiting === "") requestAnimationFrame(frame);
  waiting += piece;
}

/** Adds a turn of the conversation, and returns the element of its text. */
function turn(who, message) {
  const item = document.createElement("li");
  const [name, words] = [document.createElement("span"), document.createElement("span")];
  name.className = "who";
  name.textContent = who;
  words.textContent = message;
  item.append(name, words);
  talk.append(item);
  return words;
}

function write() {
  const prompt = $("prompt").value;
  const seed = $("seed").value;
  current += 1;
  waiting = "";
  speed = null;
  if (chats) {
    turn("You", prompt);
    written = turn("Model", "");
    $("prompt").value = "";
    text.scrollTop = text.scrollHeight;
    follows = true;
  } else {
    given.textContent = prompt;
    written.textContent = "";
  }
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

/** Ends the text on the page. */
function end(sentence, failed = false) {
  frame();
  say(sentence, failed);
  show("idle");
}

const counted = (n) => `${n} ${n === 1 ? "token" : "tokens"}`;

/** The status line for each way that a text of `n` tokens can end. */
const ENDS = {
  end: (n) => `Done: ${counted(n)}, then the model ended the text`,
  length: (n) => `Done: ${counted(n)}`,
  full: (n) => `Done: ${counted(n)}; prompt and text fill the model's context`,
  stopped: (n) => `Stopped after ${counted(n)}`,
};

/** Adapts the form to a model that was opened. */
function arrange({ name, chat, context }) {
  chats = chat;
  current += 1;
  written = $("written");
  for (const element of [given, written, talk]) element.replaceChildren();
  talk.hidden = forgetButton.hidden = !chat;
  text.classList.toggle("talk", chat);
  $("about").textContent = `${name} ${chat ? "answers" : "writes"} on your device. Nothing you `
    + "type leaves it.";
  $("prompt-label").textContent = chat ? "Message" : "Prompt";
  $("text-title").textContent = chat ? "Conversation" : "Text";
  writeButton.textContent = chat ? "Send" : "Write";
  $("unit").textContent = "in tokens";
  $("tokens").max = context - 1;
  $("tokens").value = Math.min(chat ? 512 : 250, context - 1);
  $("prompt").value = "";
  $("speed").textContent = "\u2013";
  say("");
  show("idle");
}

const panel = models((message) => worker.postMessage(message));

const HANDLERS = {
  ...panel,
  device({ device, reason }) {
    $("device").textContent = device;
    $("reason").textContent = reason;
  },
  ready() {
    panel.ready();
    write();
  },
  loading(message) {
    panel.loading(message);
    // Messages about a text in progress are ignored from here on.
    current += 1;
    say("");
    show("loading");
  },
  opened(message) {
    panel.opened(message);
    arrange(message);
  },
  unopened(message) {
    panel.unopened(message);
    if (stopButton.disabled) show("idle");
  },
  text({ id, piece, rate }) {
    if (id !== current) return;
    speed = rate ?? speed;
    add(piece);
  },
  end({ id, why, tokens, dropped }) {
    if (id !== current) return;
    const old = dropped > 0 ? `; the oldest ${dropped} messages no longer fit` : "";
    end(ENDS[why](tokens) + old);
  },
  // The prompt stays in the form, or returns to it, so it can be changed and sent again.
  refused({ id, message }) {
    if (id !== current) return;
    if (chats) {
      $("prompt").value = written.parentElement.previousElementSibling.lastElementChild.textContent;
      talk.lastElementChild.remove();
      talk.lastElementChild.remove();
    }
    end(message, true);
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
text.addEventListener("scroll", () => {
  follows = text.scrollTop + text.clientHeight > text.scrollHeight - 40;
}, { passive: true });
forgetButton.addEventListener("click", () => {
  worker.postMessage({ type: "forget" });
  talk.replaceChildren();
  current += 1;
  say("");
  show("idle");
  $("prompt").focus();
});
// Enter sends the form; Shift+Enter adds a line.
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!writeButton.disabled) form.requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !stopButton.disabled) stopButton.click();
});

show("loading");
// `?device=cpu` and `?device=gpu` choose the device. Otherwise a GPU is used if it computes
// correctly.
const device = new URLSearchParams(location.search).get("device") ?? "auto";
worker.postMessage({ type: "open", device });
