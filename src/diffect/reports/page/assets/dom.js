// What everything else is made of. Text only ever goes in as text: nothing on this page parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; an attribute that is a function listens, one that is null or false is left out. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Children may be null, for what is not there. */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A labelled select; `options` are [value, text], `pick` gets the chosen value. */
function choice(text, options, chosen, pick) {
  const select = el("select", { change: () => pick(select.value) });
  for (const [value, label] of options) select.append(el("option", { value, selected: value === chosen }, label));
  return el("label", { class: "choice" }, el("span", {}, text), select);
}

const collator = new Intl.Collator("en", { numeric: true });

// Tooltips: one for the page, shown on hover and on focus.

const tip = document.getElementById("tip");

function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line) => el("div", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - width - 8))}px`;
  tip.style.top = `${y - height - 12 < 8 ? y + 18 : y - height - 12}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** Let `node` say `lines` when it is pointed at or has the focus, and `open` on a click, Enter or Space. */
function tell(node, lines, open) {
  const place = () => {
    const box = node.getBoundingClientRect();
    showTip(lines, box.left + box.width / 2, box.top);
  };
  node.addEventListener("pointermove", (event) => showTip(lines, event.clientX, event.clientY));
  node.addEventListener("pointerleave", hideTip);
  node.addEventListener("focus", place);
  node.addEventListener("blur", hideTip);
  if (!open) return;
  node.addEventListener("click", open);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  });
}

/**
 * One tab stop for all of `items()` within `node`; `next(item, key)` is where an arrow key leads, or null.
 * Returns what makes the first item that stop, to be called when the items are new.
 */
function roam(node, items, next) {
  const settle = (chosen) => {
    for (const item of items()) item.setAttribute("tabindex", item === chosen ? "0" : "-1");
  };
  node.addEventListener("focusin", (event) => items().includes(event.target) && settle(event.target));
  node.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") || !items().includes(event.target)) return;
    const target = next(event.target, event.key);
    event.preventDefault();
    if (target) target.focus();
  });
  return () => settle(items()[0]);
}

// The theme: the system's until it is chosen here.

function theme(button) {
  const themes = ["auto", "light", "dark"];
  const apply = (name) => {
    document.documentElement.dataset.theme = name;
    button.replaceChildren(el("span", { class: "long" }, "Theme: "), name);
  };
  const stored = () => {
    try {
      return localStorage.getItem("diffect-theme");
    } catch {
      return null; // a page opened from a file may have no storage
    }
  };
  const store = (name) => {
    try {
      localStorage.setItem("diffect-theme", name);
    } catch {
      // then it holds until the page is closed
    }
  };
  apply(themes.includes(stored()) ? stored() : "auto");
  button.addEventListener("click", () => {
    const name = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    apply(name);
    store(name);
  });
}
