// A headless Chromium, driven through a pipe by the DevTools protocol: JSON messages, each
// terminated by a zero byte, on file descriptors 3 and 4.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Chromium {
  #process;
  #profile;
  #next = 1;
  #calls = new Map();
  #listeners = [];

  /** Starts `program` (its name or path), with software WebGPU and more `flags`. */
  static async start(program, flags = []) {
    const browser = new Chromium();
    browser.#profile = await mkdtemp(join(tmpdir(), "gpt-web-"));
    browser.#process = spawn(program, [
      "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run",
      "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
      `--user-data-dir=${browser.#profile}`, "--remote-debugging-pipe", ...flags, "about:blank",
    ], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const ended = (what) => {
      for (const { reject } of browser.#calls.values()) reject(new Error(what));
      browser.#calls.clear();
    };
    browser.#process.on("error", (error) => ended(`${program} cannot be started: ${error.message}`));
    browser.#process.on("exit", (code) => ended(`${program} ended with status ${code}`));
    let rest = "";
    browser.#process.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      for (const message of messages) browser.#receive(JSON.parse(message));
    });
    return browser;
  }

  #receive(message) {
    if (message.id === undefined) {
      for (const listener of this.#listeners) listener(message);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.error) call?.reject(new Error(`${call.method}: ${message.error.message}`));
    else call?.resolve(message.result);
  }

  /** Calls a method of the protocol. */
  send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { method, resolve, reject });
      this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** Calls `listener` with each event of the protocol. */
  on(listener) {
    this.#listeners.push(listener);
  }

  /** A new empty tab. */
  async page() {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, targetId, sessionId);
    await page.send("Page.enable");
    await page.send("Runtime.enable");
    await page.send("Log.enable");
    return page;
  }

  async close() {
    const exited = new Promise((resolve) => this.#process.once("exit", resolve));
    await this.send("Browser.close").catch(() => {});
    await exited;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Page {
  #browser;
  #target;
  #session;
  /** Errors that the page reported: exceptions, and entries of the log and the console. */
  errors = [];

  constructor(browser, target, session) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
    browser.on(({ method, params, sessionId }) => {
      if (sessionId !== session) return;
      if (method === "Runtime.exceptionThrown") {
        const { exception, text } = params.exceptionDetails;
        this.errors.push(exception?.description ?? text);
      } else if (method === "Log.entryAdded" && params.entry.level === "error") {
        this.errors.push(`${params.entry.text} ${params.entry.url ?? ""}`);
      } else if (method === "Runtime.consoleAPICalled" && params.type === "error") {
        this.errors.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
      }
    });
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#session);
  }

  /** Runs `script` in every page that opens after this call, before the page's own scripts. */
  before(script) {
    return this.send("Page.addScriptToEvaluateOnNewDocument", { source: script });
  }

  /** Opens an address, and waits for the page and its scripts. */
  async open(url) {
    await this.send("Page.navigate", { url });
    await this.until('document.readyState === "complete" && location.href !== "about:blank"');
  }

  /** The value of an expression; a promise is awaited. */
  async value(expression) {
    const call = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", call);
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression, seconds = 60) {
    const end = Date.now() + 1000 * seconds;
    while (!(await this.value(expression))) {
      if (Date.now() > end) {
        const errors = this.errors.length ? `; errors: ${this.errors.join("; ")}` : "";
        throw new Error(`not true after ${seconds} s: ${expression}${errors}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Presses a key, which produces `text` if that is given. */
  async press(key, text) {
    const event = { key, code: key, text, windowsVirtualKeyCode: KEYS[key] };
    await this.send("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event, text: undefined });
  }

  /** Sets the size, in CSS pixels, and the colours that the system prefers. */
  async look(width, height, scheme) {
    const mobile = width < 600;
    const metrics = { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile };
    await this.send("Emulation.setDeviceMetricsOverride", metrics);
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** A picture of the whole page, as PNG. */
  async picture() {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  /** The nodes that assistive technology sees: role, name, and whether it is disabled. */
  async accessible() {
    await this.send("Accessibility.enable");
    const { nodes } = await this.send("Accessibility.getFullAXTree");
    return nodes.filter((node) => !node.ignored).map((node) => ({
      role: node.role?.value,
      name: node.name?.value ?? "",
      disabled: node.properties?.some((p) => p.name === "disabled" && p.value.value) ?? false,
    }));
  }

  async close() {
    await this.#browser.send("Target.closeTarget", { targetId: this.#target });
  }
}

const KEYS = { Tab: 9, Enter: 13, Escape: 27, " ": 32 };
