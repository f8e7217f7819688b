/* Charts, sortable tables and the page of comparison. All data stand in the pages themselves; each chart calls hubChart. */
(function () {
  "use strict";
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7b6a00", "#5d3fd3"];
  const REFERENCE = "#808080";

  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const short = (value) => (value == null ? "–" : Number(value.toPrecision(4)).toLocaleString("en"));
  const foreground = () => getComputedStyle(document.body).color;

  /** Return uPlot's arrays and series of learning curves. Each curve has its own env steps. */
  function prepare(data, options) {
    const parts = [], series = [{ label: options.frames ? "frames" : "env steps", value: (u, v) => short(v) }], bands = [];
    const add = (steps, values, one) => {
      parts.push([steps, values]);
      series.push({ spanGaps: true, points: { show: values.length < 2 }, value: (u, v) => short(v), ...one });
      return series.length - 1;
    };
    data.curves.forEach((curve, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const steps = curve.steps.map((step) => step * (options.frames ? curve.frames || 1 : 1));
      if (options.interval && curve.low) {
        const high = add(steps, curve.high, { label: curve.label + " high", stroke: "transparent", hidden: true });
        const low = add(steps, curve.low, { label: curve.label + " low", stroke: "transparent", hidden: true });
        bands.push({ series: [high, low], fill: colour + "30" });
      }
      if (options.seeds) {
        for (const [seed, values] of Object.entries(curve.seeds)) {
          add(steps, values, { label: curve.label + ", seed " + seed, stroke: colour + "90", width: 1 });
        }
      }
      add(steps, curve.mean, { label: curve.label, stroke: colour, width: 2, main: true });
    });
    (data.references || []).forEach((reference) => {
      const scale = options.frames ? (data.curves[0] || {}).frames || 1 : 1;
      add(reference.points.map((p) => p[0] * scale), reference.points.map((p) => p[1]), {
        label: reference.label, stroke: REFERENCE, dash: [6, 4], main: true,
      });
    });
    const joined = uPlot.join(parts.map(([x, y]) => { // steps must rise
      const order = x.map((_, i) => i).sort((a, b) => x[a] - x[b]);
      return [order.map((i) => x[i]), order.map((i) => y[i])];
    }));
    return { joined, series, bands };
  }

  /** Draw a chart into an element, with its controls. */
  function draw(holder, data) {
    const few = data.curves.every((curve) => Object.keys(curve.seeds).length < 3); // an interval says little then
    const options = { seeds: few, interval: !few, frames: false, log: false };
    const controls = element("div", { class: "controls" });
    const plot = element("div", { class: "plot", tabindex: "0", role: "img", "aria-label":
      data.title + ". Arrow keys move the cursor, + and - zoom, 0 shows all. The table below has the values." });
    let chart = null, hidden = new Set();

    const render = (whole = false) => { // the references of others may go on for much longer than our curves
      if (chart) chart.destroy();
      const { joined, series, bands } = prepare(data, options);
      series.forEach((one, i) => { if (i && hidden.has(one.label)) one.show = false; });
      const axis = { stroke: foreground(), grid: { stroke: foreground() + "", width: 0.15 }, ticks: { width: 0.5 } };
      chart = new uPlot({
        width: Math.max(280, plot.clientWidth || holder.clientWidth || 280), height: 300, series, bands,
        scales: { x: { time: false, distr: options.log ? 3 : 1 } },
        axes: [
          { ...axis, label: series[0].label, values: (u, ticks) => ticks.map((v) => v == null ? "" : v >= 1e6 ? v / 1e6 + "M" : v >= 1e3 ? v / 1e3 + "k" : v) },
          { ...axis, label: "return", size: 64 },
        ],
        hooks: { setSeries: [(u, i) => { if (i != null && u.series[i]) { hidden[u.series[i].show ? "delete" : "add"](u.series[i].label); } }] },
      }, joined, plot);
      chart.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => {
        if (series[i].hidden) row.style.display = "none";
        const head = row.querySelector("th");
        if (i && head) { // the legend toggles by keyboard, too
          head.setAttribute("tabindex", "0");
          head.addEventListener("keydown", (event) => {
            if (event.key === "Enter" || event.key === " ") { event.preventDefault(); head.click(); }
          });
        }
      });
      const scale = (curve) => options.frames ? curve.frames || 1 : 1;
      const ends = data.curves.flatMap((curve) => [curve.steps[0] * scale(curve), curve.steps.at(-1) * scale(curve)]);
      if (!whole && (data.references || []).length) chart.setScale("x", { min: Math.min(...ends), max: Math.max(...ends) });
      holder.chart = chart;
    };
    const toggle = (key, text) => {
      const label = element("label"), box = element("input", { type: "checkbox" });
      box.checked = options[key];
      box.addEventListener("change", () => { options[key] = box.checked; render(); });
      label.append(box, " " + text);
      controls.append(label);
    };
    toggle("seeds", "each seed");
    toggle("interval", "95 % interval");
    toggle("log", "logarithmic steps");
    if (data.curves.some((curve) => curve.frames > 1)) toggle("frames", "frames, not env steps");
    const whole = element("button", { type: "button" }, "whole range");
    whole.addEventListener("click", () => render(true));
    controls.append(whole);
    plot.addEventListener("keydown", (event) => {
      const x = chart.data[0], at = chart.cursor.idx ?? 0, scale = chart.scales.x;
      const zoom = (factor) => {
        const middle = chart.cursor.idx == null ? (scale.min + scale.max) / 2 : x[at], half = (scale.max - scale.min) * factor / 2;
        chart.setScale("x", { min: Math.max(x[0], middle - half), max: Math.min(x[x.length - 1], middle + half) });
      };
      const moves = { ArrowRight: 1, ArrowLeft: -1 };
      if (event.key in moves) {
        const to = Math.min(x.length - 1, Math.max(0, at + moves[event.key]));
        chart.setCursor({ left: chart.valToPos(x[to], "x"), top: 10 });
      } else if (event.key === "+") zoom(0.5);
      else if (event.key === "-") zoom(2);
      else if (event.key === "0") render(true);
      else return;
      event.preventDefault();
    });
    holder.prepend(controls, plot);
    render();
    new ResizeObserver(() => chart.setSize({ width: Math.max(280, plot.clientWidth), height: 300 })).observe(plot);
    new MutationObserver(() => render()).observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
    return { update(changed) { data = changed; render(); } };
  }

  function sortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const value = (row, i) => {
      const cell = row.cells[i], plain = cell.dataset.value ?? cell.textContent.trim();
      return plain === "" || isNaN(plain) ? plain : Number(plain);
    };
    heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, i), value(b, i)];
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows);
    }));
  }

  function filter(input) {
    const table = input.closest(".hub").querySelector("table.hub-sortable");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  /** Return the curve of a CSV file, or throw an Error that says what is wrong with it. */
  function readCsv(text, name) {
    const lines = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim() && !line.startsWith("#"));
    if (!lines.length) throw new Error(name + " is empty.");
    const head = lines[0].split(",").map((word) => word.trim().replace(/^"|"$/g, ""));
    const column = (wanted) => head.indexOf(wanted);
    const [x, y, seed] = [column("env_step"), column("episode_return"), column("seed")];
    if (x < 0 || y < 0) {
      throw new Error(name + " has the columns " + head.slice(0, 8).join(", ").slice(0, 200) + "; env_step and episode_return are needed.");
    }
    const seeds = new Map();
    lines.slice(1).forEach((line, i) => {
      const cells = line.split(","), step = Number(cells[x]), value = Number(cells[y]);
      if (!(cells[x] || "").trim() || !(cells[y] || "").trim() || !isFinite(step) || !isFinite(value)) {
        throw new Error(name + ", line " + (i + 2) + ": env_step and episode_return must be numbers.");
      }
      const key = seed < 0 ? "0" : (cells[seed] || "").trim();
      if (!seeds.has(key)) seeds.set(key, new Map());
      seeds.get(key).set(step, value);
    });
    if (!seeds.size) throw new Error(name + " has no rows.");
    const runs = [...seeds.values()];
    const steps = [...new Set(runs.flatMap((run) => [...run.keys()]))].sort((a, b) => a - b)
      .filter((step) => runs.every((run) => run.has(step)));
    if (!steps.length) throw new Error(name + ": the seeds have no env_step in common.");
    const mean = steps.map((step) => runs.reduce((sum, run) => sum + run.get(step), 0) / runs.length);
    const each = {};
    seeds.forEach((run, key) => { each[key] = steps.map((step) => run.get(step)); });
    return { label: name.replace(/\.csv$/i, ""), steps, mean, seeds: each, frames: 1 };
  }

  /** Return the means of curves at each env step as a table that opens on request, as below the other charts. */
  function valuesTable(data) {
    const details = element("details"), table = element("table"), body = element("tbody");
    const row = (cells, name) => {
      const made = element("tr");
      cells.forEach((cell) => made.append(element(name, name === "th" ? { scope: "col" } : {}, cell ?? "")));
      return made;
    };
    const head = element("thead");
    head.append(row(["env step", ...data.curves.map((curve) => curve.label)], "th"));
    const means = data.curves.map((curve) => new Map(curve.steps.map((step, i) => [step, curve.mean[i]])));
    const steps = [...new Set(data.curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
    steps.forEach((step) => body.append(row([step, ...means.map((mean) => mean.get(step)?.toPrecision(4))], "td")));
    table.append(element("caption", {}, data.title + ": mean return over seeds"), head, body);
    details.append(element("summary", {}, "Values as a table"), table);
    return details;
  }

  function compare(holder) {
    const all = JSON.parse(holder.querySelector("script").textContent), own = [];
    const picks = holder.querySelector(".hub-picks"), message = holder.querySelector(".hub-message");
    const drop = holder.querySelector(".hub-drop"), input = drop.querySelector("input");
    const result = element("div", { class: "hub-chart" });
    holder.querySelector(".hub-result").append(result);
    let chart = null;
    const boxes = all.map((curve) => {
      const label = element("label"), box = element("input", { type: "checkbox", value: curve.label });
      label.append(box, " " + curve.label);
      picks.append(label);
      return box;
    });
    const show = () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      history.replaceState(null, "", chosen.length ? "#cells=" + chosen.join(",") : "#");
      const data = { title: "Learning curves", curves: [...all.filter((curve) => chosen.includes(curve.label)), ...own] };
      result.hidden = !data.curves.length;
      if (!data.curves.length) return;
      if (chart) chart.update(data); else chart = draw(result, data);
      result.querySelector("details")?.remove();
      result.append(valuesTable(data));
    };
    const read = () => {
      const chosen = decodeURIComponent(location.hash.replace(/^#cells=/, "")).split(",");
      boxes.forEach((box) => { box.checked = chosen.includes(box.value); });
      show();
    };
    const take = async (files) => {
      for (const file of files) {
        try {
          if (file.size > 2e7) throw new Error(file.name + " has more than 20 MB.");
          own.push(readCsv(await file.text(), file.name));
          message.textContent = file.name + " is drawn.";
        } catch (error) { message.textContent = error.message; }
      }
      show();
    };
    picks.addEventListener("change", show);
    holder.querySelector(".hub-clear").addEventListener("click", () => { boxes.forEach((box) => { box.checked = false; }); own.length = 0; show(); });
    holder.querySelector(".hub-pick-filter").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/);
      boxes.forEach((box) => { box.parentElement.hidden = !words.every((word) => box.value.toLowerCase().includes(word)); });
    });
    input.addEventListener("change", () => take(input.files));
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files); });
    addEventListener("hashchange", read);
    read();
  }

  window.hubChart = (holder) => draw(holder, JSON.parse(holder.querySelector("script").textContent));
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".hub-compare").forEach(compare);
    document.querySelectorAll("table.hub-sortable").forEach(sortable);
    document.querySelectorAll(".hub-filter").forEach(filter);
  });
})();
