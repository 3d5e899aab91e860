// What everything else is made of. Text only ever goes in as text: nothing on this page parses HTML.

/** An element; an attribute that is a function listens, one that is null or false is left out, and so are null children. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A labelled select; `options` are [value, text], `pick` gets the chosen value. */
function choice(text, options, pick) {
  const select = el("select", { change: () => pick(select.value) },
    ...options.map(([value, label]) => el("option", { value }, label)));
  return el("label", { class: "choice" }, el("span", {}, text), select);
}

const collator = new Intl.Collator("en", { numeric: true });

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
    event.preventDefault();
    next(event.target, event.key)?.focus();
  });
  return () => settle(items()[0]);
}

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

/** The button that changes the theme, which is the system's until it is chosen here; a page from a file may have no storage. */
function theme(button) {
  const themes = ["auto", "light", "dark"];
  const apply = (name) => {
    document.documentElement.dataset.theme = name;
    button.replaceChildren(el("span", { class: "long" }, "Theme: "), name);
  };
  const storage = (use) => {
    try {
      return use(localStorage);
    } catch {
      return null;
    }
  };
  apply(storage((kept) => kept.getItem("diffect-theme")) ?? "auto");
  button.addEventListener("click", () => {
    const name = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    apply(name);
    storage((kept) => kept.setItem("diffect-theme", name));
  });
}
