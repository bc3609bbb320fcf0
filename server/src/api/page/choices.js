// The choices of an answer side by side: each token with a tint by its probability.

export const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

export const percent = (probability) =>
  probability >= 0.9995 ? "100 %" : probability >= 0.1 ? `${(probability * 100).toFixed(1)} %`
    : probability >= 0.0001 ? `${(probability * 100).toFixed(2)} %` : "< 0.01 %";

// One choice, which grows as its pieces arrive.
export class Choice {
  // `forced` is the number of characters of the decoder prompt, which every text begins with.
  constructor(index, forced, name = "Answer") {
    this.forced = forced;
    this.characters = 0;
    this.tokens = [];
    this.text = "";
    this.logProb = 0;
    this.generated = 0;
    this.title = element("h3", { textContent: `${name} ${index + 1}` });
    this.body = element("div", { className: "tokens" });
    this.body.setAttribute("role", "group");
    this.body.setAttribute("aria-label", `Text of ${name.toLowerCase()} ${index + 1}`);
    this.figures = element("small");
    this.copy = element("button", { type: "button", textContent: "Copy", hidden: true });
    this.copy.setAttribute("aria-label", `Copy ${name.toLowerCase()} ${index + 1}`);
    this.copy.addEventListener("click", () => this.toClipboard());
    const footer = element("footer", {}, this.figures, this.copy);
    this.article = element("article", { className: "choice" }, this.title, this.body, footer);
  }

  // Adds what is new of the choice.
  add({ text, logprobs, finish_reason: finish }) {
    if (logprobs) logprobs.tokens.forEach((name, at) => this.addToken(name, logprobs, at));
    this.addText(text);
    if (finish) this.finish(finish);
  }

  addToken(name, logprobs, at) {
    const logProb = logprobs.token_logprobs[at];
    const offset = logprobs.text_offset[at];
    const span = element("span", { className: "token", tabIndex: this.tokens.length ? -1 : 0 });
    span.style.setProperty("--p", Math.exp(logProb).toFixed(4));
    // An object's keys that look like numbers come first, whatever their order was.
    const top = Object.entries(logprobs.top_logprobs[at]).sort((one, other) => other[1] - one[1]);
    span.token = { name, logProb, top };
    const isForced = offset < this.forced;
    span.classList.toggle("forced", isForced);
    if (!isForced) {
      this.generated += 1;
      this.logProb += logProb;
    }
    this.tokens.push({ span, name, offset });
    this.body.append(span);
  }

  // Gives each character to the last token that begins at or before it: text may come later than its token.
  addText(text) {
    this.text += text;
    if (!this.tokens.length) {
      this.body.append(text);
      return;
    }
    let at = this.tokens.length - 1;
    while (at > 0 && this.tokens[at].offset > this.characters) at -= 1;
    let run = "";
    for (const character of text) {
      while (at + 1 < this.tokens.length && this.tokens[at + 1].offset <= this.characters) {
        this.tokens[at].span.append(run);
        run = "";
        at += 1;
      }
      run += character;
      this.characters += 1;
    }
    this.tokens[at].span.append(run);
  }

  finish(reason) {
    for (const { span, name } of this.tokens) {
      if (span.textContent) continue;
      const isSpecial = name.startsWith("<") || name.startsWith("token_id:");
      if (isSpecial) {
        span.textContent = name;
        span.classList.add("bare");
      }
    }
    const why = { stop: "complete", length: "cut at the limit of tokens" }[reason] ?? reason;
    const figures = [why];
    if (this.generated) {
      figures.push(`${this.generated} ${this.generated === 1 ? "token" : "tokens"}`);
      figures.push(`mean log-probability ${(this.logProb / this.generated).toFixed(3)}`);
    }
    this.figures.textContent = figures.join(" · ");
    // Browsers offer the clipboard to secure origins only.
    this.copy.hidden = !navigator.clipboard;
  }

  async toClipboard() {
    await navigator.clipboard.writeText(this.text);
    this.copy.textContent = "Copied";
    setTimeout(() => (this.copy.textContent = "Copy"), 1500);
  }
}

// All choices of one answer, in `place`.
export class Choices {
  constructor(place, list) {
    this.list = list;
    place.replaceChildren(...this.list.map((choice) => choice.article));
  }

  // So many sampled ones.
  static sampled(place, count, forced) {
    return new Choices(place, Array.from({ length: count }, (_, index) => new Choice(index, forced)));
  }

  add(message) {
    for (const choice of message.choices) this.list[choice.index]?.add(choice);
  }

  // The answer is complete.
  finish() {}
}
