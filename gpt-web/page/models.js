// The part of the page in which models are opened, downloaded and deleted.

const $ = (id) => document.getElementById(id);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Makes the controls work. `post` sends a message to the worker; returns handlers of its own. */
export function models(post) {
  const [fileInput, url, download, transfer, bar, resume, status, kept] =
    ["file", "url", "download", "transfer", "bar", "resume", "model-status", "kept"].map($);

  function say(sentence) {
    status.textContent = sentence;
  }

  function begin(message) {
    resume.hidden = true;
    say("");
    post(message);
  }

  function rest() {
    transfer.hidden = true;
    resume.hidden = true;
  }

  function open(file) {
    if (file) begin({ type: "file", file });
  }

  fileInput.addEventListener("change", () => {
    open(fileInput.files[0]);
    // The same file can be chosen again.
    fileInput.value = "";
  });
  /** Shows that the server was asked; the bar has no value before it answers. */
  function connect(message) {
    begin(message);
    $("transfer-label").textContent = "Connecting";
    bar.removeAttribute("value");
    transfer.hidden = false;
  }

  $("remote").addEventListener("submit", (event) => {
    event.preventDefault();
    connect({ type: "url", url: url.value });
  });
  resume.addEventListener("click", () => {
    connect({ type: "resume" });
    $("cancel").focus();
  });
  $("cancel").addEventListener("click", () => {
    post({ type: "cancel" });
    rest();
    say("Cancelled.");
    url.focus();
  });

  const files = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!files(event)) return;
    event.preventDefault();
    if (!fileInput.disabled) open(event.dataTransfer.files[0]);
  });

  function button(text, name, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "second";
    button.textContent = text;
    button.setAttribute("aria-label", `${text} ${name}`);
    button.addEventListener("click", act);
    return button;
  }

  function line({ name, size }) {
    const item = document.createElement("li");
    for (const [part, text] of [["name", name], ["size", megabytes(size)]]) {
      const span = document.createElement("span");
      span.className = part;
      span.textContent = text;
      item.append(span);
    }
    item.append(
      button("Open", name, () => begin({ type: "kept", name })),
      button("Delete", name, () => {
        post({ type: "remove", name });
        // The button goes with its line.
        fileInput.focus();
      }),
    );
    return item;
  }

  return {
    ready() {
      for (const control of [fileInput, url, download]) control.disabled = false;
    },
    progress({ what, name, done, total }) {
      transfer.hidden = false;
      const of = total === null ? "" : ` of ${megabytes(total)}`;
      $("transfer-label").textContent = `${what} ${name}: ${megabytes(done)}${of}`;
      if (total === null) bar.removeAttribute("value");
      else bar.value = done / total;
    },
    loading({ name }) {
      rest();
      say(`Loading ${name}`);
    },
    opened({ name, note }) {
      rest();
      say(`${name} is open.${note === null ? "" : ` ${note}`}`);
    },
    unopened({ message, cut = false }) {
      rest();
      resume.hidden = !cut;
      say(cut ? `${message} The part that is here stays until the page is closed.` : message);
    },
    removed({ name }) {
      say(`${name} was deleted.`);
    },
    kept({ files }) {
      kept.replaceChildren(...files.map(line));
      kept.hidden = $("kept-title").hidden = files.length === 0;
    },
  };
}
