// The hypotheses of a beam search side by side, best first, each with its score.

import { Choice, Choices, element } from "./choices.js";

// One hypothesis. Its score comes with its end; until then it grows by the text on which all beams agree.
class Hypothesis extends Choice {
  constructor(index) {
    super(index, 0, "Hypothesis");
    this.score = element("strong", { className: "score" });
    this.title.append(" ", this.score);
  }

  add(piece) {
    super.add(piece);
    if (!piece.finish_reason) return;
    if (typeof piece.score !== "number") {
      this.figures.textContent = "the search found no further hypothesis";
      this.copy.hidden = true;
      return;
    }
    this.score.textContent = `score ${piece.score.toFixed(3)}`;
    this.figures.textContent += ` · log-probability ${piece.cumulative_logprob.toFixed(3)}`;
  }

  // Shows the first `length` characters as those that it shares with all others.
  part(length) {
    const characters = [...this.text];
    const shared = element("span", { className: "shared", textContent: characters.slice(0, length).join("") });
    this.body.replaceChildren(shared, characters.slice(length).join(""));
  }
}

// All hypotheses of one search, in `place`.
export class Hypotheses extends Choices {
  constructor(place, count) {
    super(place, Array.from({ length: count }, (_, index) => new Hypothesis(index)));
  }

  // Sets off where they part.
  finish() {
    const texts = this.list.filter((one) => one.score.textContent).map((one) => [...one.text]);
    if (texts.length < 2) return;
    const differs = (character, at) => texts.some((text) => text[at] !== character);
    const found = texts[0].findIndex(differs);
    const length = found < 0 ? texts[0].length : found;
    for (const one of this.list) if (one.score.textContent) one.part(length);
  }
}
