// The part of the page in which models are opened, downloaded and deleted.

const $ = (id) => document.getElementById(id);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Makes the controls work. `post` sends a message to the worker. Returns handlers of messages. */
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

  function hideTransfer() {
    transfer.hidden = true;
    resume.hidden = true;
  }

  function open(file) {
    if (file) begin({ type: "file", file });
  }

  fileInput.addEventListener("change", () => {
    open(fileInput.files[0]);
    // Otherwise choosing the same file again would not be a change.
    fileInput.value = "";
  });
  /** Shows that the page is connecting. The bar has no value until the server answers. */
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
    hideTransfer();
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
        // The button disappears with its line, so another control gets the focus.
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
      hideTransfer();
      say(`Loading ${name}`);
    },
    opened({ name, note }) {
      hideTransfer();
      say(`${name} is open.${note === null ? "" : ` ${note}`}`);
    },
    unopened({ message, cut = false }) {
      hideTransfer();
      resume.hidden = !cut;
      const rest = "The part that was downloaded is kept until the page is closed.";
      say(cut ? `${message} ${rest}` : message);
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
