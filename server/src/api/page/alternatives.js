// The tooltip of a token: its probability, and the tokens that could have stood in its place.

import { element, percent } from "./choices.js";

const tooltip = document.getElementById("alternatives");
let shown = null;

// White space that could not be seen otherwise.
const visible = (name) => name.replace(/^ /, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥") || "(empty)";

function row(name, logProb, isChosen) {
  const head = element("th", { scope: "row" }, element("code", { textContent: visible(name) }));
  const cells = [percent(Math.exp(logProb)), logProb.toFixed(3)].map((text) => element("td", { textContent: text }));
  return element("tr", { className: isChosen ? "chosen" : "" }, head, ...cells);
}

function show(span) {
  if (shown === span) return;
  hide();
  const { name, logProb, top } = span.token;
  const table = element("table");
  for (const [other, otherLogProb] of top) table.append(row(other, otherLogProb, other === name));
  if (!top.some(([other]) => other === name)) table.append(row(name, logProb, true));
  tooltip.replaceChildren(element("p", { textContent: "Token, probability, log-probability" }), table);
  tooltip.hidden = false;
  span.setAttribute("aria-describedby", "alternatives");
  shown = span;
  place(span.getClientRects()[0] ?? span.getBoundingClientRect());
}

// Below the token, or above it where there is no room, and inside the window.
function place(token) {
  const { width, height } = tooltip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 8;
  const below = token.bottom + 6 + height <= window.innerHeight || token.top < height + 6;
  tooltip.style.left = `${window.scrollX + Math.max(8, Math.min(token.left, room))}px`;
  tooltip.style.top = `${window.scrollY + (below ? token.bottom + 6 : token.top - height - 6)}px`;
}

function hide() {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  tooltip.hidden = true;
}

const tokenOf = (event) => event.target.closest?.(".token") ?? null;

// Moves to another token of the same choice.
function move(event) {
  const span = tokenOf(event);
  if (!span) return;
  const all = [...span.parentElement.querySelectorAll(".token")];
  const at = all.indexOf(span);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (event.key === "Escape") hide();
  if (to === undefined) return;
  event.preventDefault();
  all[Math.max(0, Math.min(to, all.length - 1))].focus();
}

// Shows the tooltip for the tokens in `place`, by mouse, touch and keyboard.
export function watch(place) {
  const focused = () => (document.activeElement?.matches(".token") ? document.activeElement : null);
  place.addEventListener("mouseover", (event) => tokenOf(event) && show(tokenOf(event)));
  place.addEventListener("mouseout", () => (focused() ? show(focused()) : hide()));
  place.addEventListener("focusin", (event) => {
    const span = tokenOf(event);
    if (!span) return;
    for (const other of span.parentElement.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    span.tabIndex = 0;
    show(span);
  });
  place.addEventListener("focusout", hide);
  place.addEventListener("keydown", move);
  window.addEventListener("resize", hide);
}
