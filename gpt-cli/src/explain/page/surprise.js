"use strict";

// The prompt, each token coloured by how little it was expected.

function surprise(data, selected) {
  const known = data.tokens.map((t) => t.surprise).filter((s) => s !== null);
  const mean = known.reduce((sum, s) => sum + s, 0) / known.length;
  const chance = Math.log(data.vocab);
  const note = (position) => {
    const value = data.tokens[position].surprise;
    return value === null ? "–" : value.toFixed(2);
  };
  const { list, buttons } = tokenList(data, selected,
    "The prompt with the surprise of each token", note);
  buttons.forEach((button, position) => {
    const value = data.tokens[position].surprise;
    const text = value === null ? "nothing to predict it from" : `${value.toFixed(2)} nats`;
    button.setAttribute("aria-label", `${named(data, position)}: ${text}`);
  });
  const about = "The number below a token is −ln of its probability given the tokens before it, in "
    + `nats: 0 for a token that was certain, ${chance.toFixed(1)} for a guess among all `
    + `${data.vocab.toLocaleString("en")}. Select a token to see it in every drawing.`;
  const result = known.length
    ? `Mean ${mean.toFixed(2)} nats, a perplexity of ${Math.exp(mean).toFixed(1)}.`
    : "No token was predicted from tokens before it.";
  const element = section("surprise", "Surprise", about, list,
    make("div", { class: "row" }, make("p", { class: "result" }, result),
      legend("heat", "0", `${chance.toFixed(1)} nats`)));
  const draw = () => {
    const color = scale("heat");
    buttons.forEach((b, i) => paint(b, color((data.tokens[i].surprise ?? 0) / chance)));
  };
  return { element, draw };
}
