"use strict";

// The logit lens: a table with a row for each token and a column for each depth. Each cell shows
// the likeliest next token.

function lens(data, selected) {
  const depths = data.lens.length;
  const depthName = (depth) => (depth === 0 ? "the embedding" : `layer ${depth}`);
  const heads = ["token", "next", ...data.lens.map((_, depth) => (depth === 0 ? "embed" : depth))];
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const cells = data.tokens.map((_, position) => data.lens.map((rows) => {
    const [best] = rows[position];
    const cell = make("td", { role: "gridcell" }, label(data.vocabulary[best].label));
    const next = data.tokens[position + 1];
    if (next && next.id === data.vocabulary[best].id) cell.classList.add("hit");
    return cell;
  }));
  const rows = cells.map((line, position) => {
    const next = data.tokens[position + 1];
    return make("tr", {},
      make("th", { scope: "row" }, label(data.tokens[position].label)),
      make("td", { class: "next" }, next ? label(next.label) : ""),
      ...line);
  });
  const table = make("table", { class: "lens", role: "grid", "aria-label": "Logit lens" },
    make("thead", {}, head), make("tbody", {}, ...rows));

  const detail = make("div", { class: "detail", "aria-live": "polite" });
  const show = (position, depth) => {
    const best = data.lens[depth][position];
    const bars = [];
    for (let i = 0; i < best.length; i += 2) {
      const bar = make("span", { class: "fill" });
      bar.style.width = `${100 * best[i + 1]}%`;
      bars.push(make("li", {}, label(data.vocabulary[best[i]].label),
        make("span", { class: "track" }, bar),
        make("span", { class: "number" }, percent(best[i + 1]))));
    }
    detail.replaceChildren(
      make("p", {}, `The likeliest tokens after ${named(data, position)}, read after `
        + `${depthName(depth)}:`),
      make("ol", { class: "best" }, ...bars));
    data.tokens.forEach((_, i) => rows[i].classList.toggle("selected", i === position));
  };
  let depth = depths - 1;
  const stop = roving(table, cells, (position, d) => {
    depth = d;
    selected.set(position);
    show(position, depth);
  });
  cells.forEach((line, position) => line.forEach((cell, d) => {
    cell.addEventListener("click", () => cell.focus());
    cell.addEventListener("mouseenter", () => show(position, d));
  }));
  table.addEventListener("mouseleave", () => show(selected.position, depth));
  const box = make("div", { class: "scroll" }, table);
  // Scrolls the box, and not the page, to the cell of the selected token.
  const reveal = () => {
    const cell = cells[selected.position][depth];
    const [x, y] = [cell.offsetLeft, cell.offsetTop];
    const [left, top] = [x - head.firstChild.offsetWidth, y - head.offsetHeight];
    const [right, bottom] = [x + cell.offsetWidth, y + cell.offsetHeight];
    box.scrollTop = Math.max(Math.min(box.scrollTop, top), bottom - box.clientHeight);
    box.scrollLeft = Math.max(Math.min(box.scrollLeft, left), right - box.clientWidth);
  };
  selected.watch((position) => {
    stop(position, depth);
    show(position, depth);
    reveal();
  });
  stop(selected.position, depth);
  show(selected.position, depth);

  const element = section("lens", "Logit lens",
    "Each cell is the likeliest next token if the head read the residual stream after that layer. "
    + "The colour is its probability, and a line below it means that this token does follow. "
    + "Hover, or move with the arrow keys, for the five likeliest.",
    make("div", { class: "lens-and-detail" }, box, detail), legend("flow", "0", "100 %"));
  const draw = () => {
    const color = scale("flow");
    cells.forEach((line, position) => line.forEach((cell, d) => {
      paint(cell, color(data.lens[d][position][1]));
    }));
    reveal();
  };
  return { element, draw };
}
