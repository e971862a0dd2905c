// A table with a title, a search box and pages. Rows are replaced as often as you like; what was typed stays.
// Whatever is shown is text: nothing here makes markup of a value.

const PAGE = 50;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Table {
  // `columns` are [title, (row) => text or number]; `total` says of how many the rows are a part.
  constructor(section, title, columns, isAlarming = () => false) {
    this.columns = columns;
    this.isAlarming = isAlarming;
    this.rows = [];
    this.total = 0;
    this.page = 0;

    const heading = `${section.id}-title`;
    section.setAttribute("aria-labelledby", heading);
    this.search = element("input", { type: "search", placeholder: "Search", "aria-label": `Search ${title}` });
    this.search.addEventListener("input", () => this.turn(-this.page));
    this.shown = element("span", { class: "shown" });
    this.back = element("button", { type: "button" }, "Back");
    this.next = element("button", { type: "button" }, "Next");
    this.back.addEventListener("click", () => this.turn(-1));
    this.next.addEventListener("click", () => this.turn(1));
    this.body = element("tbody");

    const titles = columns.map(([text]) => element("th", { scope: "col" }, text));
    section.append(
      element("div", { class: "tools" },
        element("h2", { id: heading }, title), this.shown, this.search, this.back, this.next),
      element("div", { class: "scroll" },
        element("table", { "aria-labelledby": heading }, element("thead", {}, element("tr", {}, ...titles)), this.body)),
    );
  }

  show(rows, total = rows.length) {
    this.rows = rows;
    this.total = total;
    this.draw();
  }

  turn(pages) {
    this.page += pages;
    this.draw();
  }

  draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const lines = this.rows
      .map((row) => ({ row, cells: this.columns.map(([, read]) => read(row)) }))
      .filter(({ cells }) => cells.some((cell) => String(cell).toLowerCase().includes(wanted)));
    const last = Math.max(Math.ceil(lines.length / PAGE) - 1, 0);
    this.page = Math.min(Math.max(this.page, 0), last);
    const first = this.page * PAGE;
    const part = lines.slice(first, first + PAGE);
    this.body.replaceChildren(...part.map(({ row, cells }) => this.line(row, cells)));
    this.shown.textContent = part.length
      ? `${first + 1} to ${first + part.length} of ${wanted ? lines.length : this.total}`
      : "none";
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === last;
  }

  line(row, cells) {
    const line = element("tr", this.isAlarming(row) ? { class: "alarm" } : {});
    for (const cell of cells) {
      line.append(element("td", typeof cell === "number" ? { class: "number" } : {}, String(cell)));
    }
    return line;
  }
}
