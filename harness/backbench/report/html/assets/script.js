"use strict";
// Sorts and filters tables, and fills a part of the page when it is opened. Without scripts,
// all parts are there: what is filled lazily is in noscript elements.
(() => {
  const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // -- parts that are filled when they are opened ------------------------------------------------
  const save = (figure) => {
    const image = figure.querySelector("img, use");
    if (!image) return;
    const address = image.src || document.querySelector(`${image.getAttribute("href")} image`).getAttribute("href");
    const title = figure.querySelector("h4").textContent;
    const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
    const link = make("a", { href: address, download: name + (address.startsWith("data:image/svg") ? ".svg" : ".png") });
    link.click();
  };
  const copy = (button, text) =>
    navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Select the text and copy it"; });
  const fill = (details) => {
    const waiting = details.querySelector(":scope > noscript");
    if (!waiting) return;
    const content = make("div");
    content.innerHTML = waiting.textContent;
    waiting.replaceWith(content);
    for (const figure of content.querySelectorAll("figure"))
      figure.querySelector("figcaption").after(make("button", { className: "act", type: "button", textContent: "Save", onclick: () => save(figure) }));
    for (const table of content.querySelectorAll("table")) prepare(table);
    if (details.classList.contains("copy")) {
      const button = make("button", { className: "act", type: "button", textContent: "Copy" });
      button.onclick = () => copy(button, content.querySelector("pre").textContent);
      content.prepend(button);
    }
  };
  document.addEventListener("toggle", (event) => { if (event.target.open) fill(event.target); }, true);
  const show = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      fill(target);
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", show);

  // -- order ---------------------------------------------------------------------------------------
  const value = (row, at) => {
    const cell = row.cells[at];
    const number = Number(cell.dataset.v ?? (cell.textContent || NaN));
    return Number.isNaN(number) ? null : number;
  };
  const sort = (table, at, heading) => {
    const isNumber = heading.classList.contains("n");
    const before = heading.getAttribute("aria-sort");
    const order = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const texts = new Intl.Collator("en", { numeric: true });
    const keyed = Array.from(body.rows, (row) => [row, isNumber ? value(row, at) : row.cells[at].textContent]);
    keyed.sort(([, one], [, other]) => {
      if (!isNumber) return sign * texts.compare(one, other);
      if (one === null || other === null) return (one === null) - (other === null); // what is missing comes last
      return sign * (one - other);
    });
    body.replaceChildren(...keyed.map(([row]) => row));
  };
  const prepare = (table) => {
    if (table.tBodies[0].rows.length < 2) return;
    for (const [at, heading] of Array.from(table.tHead.rows[0].cells).entries()) {
      const button = make("button", { type: "button", onclick: () => sort(table, at, heading) }, ...heading.childNodes);
      heading.append(button);
    }
  };
  for (const table of document.querySelectorAll("table")) prepare(table);

  // -- long tables: see the style ------------------------------------------------------------------
  const tables = Array.from(document.querySelectorAll("table.main"));
  const MOST = 200;
  const isCut = matchMedia("screen and (scripting: enabled)").matches && CSS.supports("selector(:nth-child(1 of a))");
  const others = new Map(tables.map((table) => {
    const button = make("button", { className: "act", type: "button", hidden: true });
    button.onclick = () => { table.classList.add("all"); button.hidden = true; };
    table.parentNode.after(button);
    return [table, button];
  }));
  const offer = (table, shown) => {
    const button = others.get(table);
    button.hidden = !isCut || shown <= MOST || table.classList.contains("all");
    button.textContent = `Show all ${shown} rows`;
  };

  // -- choice of rows ------------------------------------------------------------------------------
  const bar = document.querySelector(".filters");
  if (bar && tables.length) {
    const rows = tables.flatMap((table) => {
      const headings = Array.from(table.tHead.rows[0].cells);
      const keys = headings.map((one) => [one.dataset.field || one.title, one.textContent].map((text) => text.toLowerCase().replace(/\s/g, "")));
      return Array.from(table.tBodies[0].rows, (row) => ({
        table,
        row,
        keys,
        fields: Object.fromEntries(headings.map((one, at) => [one.dataset.field, row.cells[at].textContent]).filter(([field]) => field)),
        link: row.querySelector("a[href^='#']")?.hash,
      }));
    });
    const compare = { "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };
    const holds = (one, word) => {
      const found = /^([^<>=!]+)(<=|>=|!=|=|<|>)(.+)$/.exec(word);
      const at = found ? one.keys.findIndex((names) => names.includes(found[1])) : -1;
      if (at < 0) return Object.values(one.fields).some((name) => name.toLowerCase().includes(word));
      const number = value(one.row, at);
      if (number === null) return compare[found[2]](one.row.cells[at].textContent.toLowerCase(), found[3]);
      return compare[found[2]](number, Number(found[3]));
    };
    const input = make("input", { type: "search", placeholder: "Filter: moco patch asr>0.1" });
    input.setAttribute("aria-label", "Filter rows by words, or by numbers such as asr>0.1");
    const selects = {};
    const fields = new Set(rows.flatMap((one) => Object.keys(one.fields)));
    for (const field of fields) {
      const names = [...new Set(rows.map((one) => one.fields[field]))].filter((name) => name !== undefined);
      if (names.length < 2 || names.length > 100) continue;
      const select = make("select", {}, make("option", { value: "", textContent: `every ${field}` }), ...names.map((name) => make("option", { value: `=${name}`, textContent: name })));
      select.setAttribute("aria-label", field);
      selects[field] = select;
    }
    const count = make("output");
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = Object.entries(selects).filter(([, select]) => select.value).map(([field, select]) => [field, select.value.slice(1)]);
      const shown = new Set();
      const counts = new Map(tables.map((table) => [table, 0]));
      let left = 0;
      for (const one of rows) {
        const keep = chosen.every(([field, name]) => one.fields[field] === name) && words.every((word) => holds(one, word));
        if (one.row.hidden === keep) one.row.hidden = !keep;
        if (keep) { left += 1; shown.add(one.link); counts.set(one.table, counts.get(one.table) + 1); }
      }
      for (const cell of document.querySelectorAll("details.cell")) {
        const hidden = !shown.has(`#${cell.id}`);
        if (cell.hidden !== hidden) cell.hidden = hidden;
      }
      counts.forEach((number, table) => offer(table, number));
      count.textContent = left === rows.length ? `${left} rows` : `${left} of ${rows.length} rows`;
    };
    bar.append(input, ...Object.values(selects), count);
    bar.addEventListener("input", apply);
    bar.hidden = false;
    apply();
  }
  show();
})();
