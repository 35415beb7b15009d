"use strict";

/** Draws `data`, the object that `explain/mod.rs` documents, at the end of `root`. */
function explain(root, data) {
  const selected = selection(data.tokens.length - 1);
  const parts = [surprise, lens, attention, norms].map((part) => part(data, selected));
  root.append(...parts.map((part) => part.element));
  const draw = () => parts.forEach((part) => part.draw());
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("resize", () => parts.forEach((part) => part.resize && part.resize()));
}
