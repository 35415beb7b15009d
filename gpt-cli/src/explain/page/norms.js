"use strict";

// The length of the residual stream at each depth: a line for each token, and the median.

/** The namespace of SVG, taken from the parser, so that the page contains no URL. */
const SVG = (() => {
  const template = make("template");
  template.innerHTML = "<svg></svg>";
  return template.content.firstChild.namespaceURI;
})();

/** A new SVG element with attributes and children. */
function shape(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function norms(data, selected) {
  const depths = data.norms.length;
  const sorted = data.norms.map((row) => [...row].sort((a, b) => a - b));
  const median = sorted.map((row) => (row[(row.length - 1) >> 1] + row[row.length >> 1]) / 2);
  const positive = data.norms.flat().filter((x) => x > 0);
  const low = Math.log10(Math.min(...positive));
  const high = Math.max(Math.log10(Math.max(...positive)), low + 0.1);
  const number = (x) => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));

  const chart = make("div", { class: "chart" });
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const say = (position) => {
    const row = data.norms.map((values) => number(values[position]));
    readout.textContent = `${named(data, position)}: ${row[0]} after the embedding, `
      + `${row[depths - 1]} after the last layer.`;
  };
  const column = (position) => data.norms.map((values) => values[position]);

  let at = { x: () => 0, y: () => 0 };
  const draw = () => {
    const width = Math.max(280, chart.clientWidth);
    const height = width < 560 ? 260 : 340;
    const [left, right, top, bottom] = [52, 14, 12, 40];
    const x = (depth) => left + (depth * (width - left - right)) / Math.max(depths - 1, 1);
    const unit = (height - top - bottom) / (high - low);
    const y = (norm) => top + unit * (high - Math.log10(Math.max(norm, 10 ** low)));
    at = { x, y };
    const svg = shape("svg", {
      viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": "Norm of the residual stream by layer, on a logarithmic scale",
    });
    const line = (values, name) => shape("polyline", {
      class: name, points: values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" "),
    });
    const text = (at, content) => svg.append(shape("text", at, content));
    // Ticks at 1, 2 and 5 times powers of ten.
    for (let power = Math.floor(low); power <= high; power++) {
      for (const factor of [1, 2, 5]) {
        const value = factor * 10 ** power;
        if (Math.log10(value) < low || Math.log10(value) > high) continue;
        const [x1, x2, y1] = [left, width - right, y(value)];
        svg.append(shape("line", { class: "rule", x1, x2, y1, y2: y1 }));
        text({ class: "tick y", x: left - 8, y: y(value) }, `${Number(value.toPrecision(1))}`);
      }
    }
    const every = Math.ceil((26 * depths) / (width - left - right));
    for (let depth = 0; depth < depths; depth += every) {
      const place = { class: "tick x", x: x(depth), y: height - bottom + 18 };
      text(place, depth === 0 ? "embed" : `${depth}`);
    }
    text({ class: "tick x", x: (left + width - right) / 2, y: height - 4 }, "layer");
    for (let i = 0; i < data.tokens.length; i++) svg.append(line(column(i), "token-line"));
    svg.style.setProperty("--faint", Math.max(0.08, Math.min(0.5, 9 / data.tokens.length)));
    svg.append(line(median, "median"), line(column(selected.position), "chosen"));
    chart.replaceChildren(svg);
    say(selected.position);
  };

  /** The token whose line is nearest to the pointer. */
  const nearest = (event) => {
    const box = chart.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const distance = data.norms.map((_, depth) => Math.abs(at.x(depth) - px));
    const values = data.norms[distance.indexOf(Math.min(...distance))];
    const gaps = values.map((v) => Math.abs(at.y(v) - py));
    return gaps.indexOf(Math.min(...gaps));
  };
  chart.addEventListener("pointermove", (event) => say(nearest(event)));
  chart.addEventListener("pointerleave", () => say(selected.position));
  chart.addEventListener("click", (event) => selected.set(nearest(event)));

  const body = make("tbody");
  const fill = () => body.replaceChildren(...data.norms.map((row, depth) => {
    const [least, greatest] = [sorted[depth][0], sorted[depth][row.length - 1]];
    const values = [least, median[depth], greatest, row[selected.position]];
    return make("tr", {}, make("th", { scope: "row" }, depth === 0 ? "embed" : depth),
      ...values.map((v) => make("td", {}, number(v))));
  }));
  fill();
  selected.watch(() => { draw(); fill(); });
  const heads = ["layer", "least", "median", "greatest", "selected"];
  const table = make("table", { class: "numbers" },
    make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)))), body);
  const element = section("norms", "Norm of the stream",
    "The Euclidean length of the residual stream after each layer, on a logarithmic scale: a thin "
    + "line for each token, dashes for the median, a thick line for the selected token.",
    chart, readout, make("details", {}, make("summary", {}, "Numbers"),
      make("div", { class: "scroll" }, table)));
  return { element, draw, resize: draw };
}
