// The running server's state as small charts, read from its metrics while somebody looks.

import { ask } from "./api.js";
import { element } from "./choices.js";

const PAUSE_MS = 2000;
const POINTS = 60;
const WIDTH = 240;
const HEIGHT = 56;
const SVG = "http://www.w3.org/2000/svg";

// Values of the metrics in Prometheus' text format: `(name, labels)` to a sum over the lines that have these labels.
export function readMetrics(text) {
  const lines = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, key, value] of (found[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    lines.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return (name, wanted) =>
    lines.filter((line) => line.name === name)
      .filter((line) => Object.entries(wanted).every(([key, value]) => line.labels[key] === value))
      .reduce((sum, line) => sum + line.value, 0);
}

// A chart of one or two series over time; the second is drawn as an area behind the first.
class Chart {
  constructor(title) {
    this.values = [];
    this.output = element("output");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true");
    this.area = this.path("over");
    this.line = this.path("line");
    this.figure = element("figure", {}, element("figcaption", {}, title, this.output), this.svg);
  }

  path(kind) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    this.svg.append(path);
    return path;
  }

  add(line, area, ceiling, text) {
    this.values.push({ line, area });
    if (this.values.length > POINTS) this.values.shift();
    this.output.textContent = text;
    const most = ceiling ?? Math.max(1, ...this.values.flatMap(({ line, area }) => [line, area]));
    const first = POINTS - this.values.length;
    const points = (series) => this.values.map((value, at) => {
      const x = ((first + at) * WIDTH) / (POINTS - 1);
      return `${x.toFixed(1)} ${(HEIGHT - 2 - (value[series] / most) * (HEIGHT - 4)).toFixed(1)}`;
    });
    this.line.setAttribute("d", `M${points("line").join("L")}`);
    const start = (first * WIDTH) / (POINTS - 1);
    this.area.setAttribute("d", `M${start.toFixed(1)} ${HEIGHT}L${points("area").join("L")}L${WIDTH} ${HEIGHT}Z`);
  }
}

const count = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const rate = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

// Draws the charts of the model that `model()` names. `reached(error)` is told of every look, with the error of one
// that failed.
export function watchServer(model, reached) {
  const streams = new Chart("Streams");
  const pages = new Chart("Pages");
  const tokens = new Chart("Tokens per second");
  document.getElementById("charts").append(...[streams, pages, tokens].map((chart) => chart.figure));
  const absence = document.getElementById("no-state");
  let before = null;

  function draw(metrics) {
    const of = { model: model() };
    const running = metrics("encdec_running_rows", of);
    const waiting = metrics("encdec_waiting_rows", of);
    streams.add(running, running + waiting, null, `${count.format(running)} running, ${count.format(waiting)} waiting`);
    const [free, held, cached] = ["free", "held", "cached"].map((state) => metrics("encdec_pages", { ...of, state }));
    const all = Math.max(1, free + held + cached);
    const parts = `${count.format(held)} held, ${count.format(cached)} cached of ${count.format(all)}`;
    pages.add(held / all, (held + cached) / all, 1, parts);
    const now = { at: performance.now(), tokens: metrics("encdec_generated_tokens_total", of), model: of.model };
    if (before?.model === now.model && now.tokens >= before.tokens) {
      const perSecond = ((now.tokens - before.tokens) * 1000) / (now.at - before.at);
      tokens.add(perSecond, perSecond, null, rate.format(perSecond));
    }
    before = now;
  }

  async function look() {
    let problem = null;
    let metrics = null;
    try {
      metrics = readMetrics(await (await ask("metrics")).text());
    } catch (error) {
      problem = error;
    }
    absence.hidden = !problem;
    absence.textContent = problem ? `No figures: ${problem.message}` : "";
    // Whose figures they are to be is known then.
    await reached(problem);
    if (metrics && model()) draw(metrics);
  }

  async function watch() {
    for (;;) {
      if (document.visibilityState === "visible") await look();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  watch();
}
