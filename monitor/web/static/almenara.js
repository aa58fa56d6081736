// Improves pages that are complete without it: brings them up to date, filters tables as one types, tells local times.
"use strict";
(() => {
  const SLOWEST_MS = 10000; // between two renewals
  const locale = document.documentElement.lang;

  function localTimes(root) {
    const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!Number.isNaN(moment.valueOf())) time.title = format.format(moment);
    }
  }

  function filtering() {
    const form = document.querySelector("form[data-filter]");
    if (!form) return () => {};
    const field = form.elements.q;
    const filter = () => {
      const wanted = field.value.trim().toLowerCase();
      const rows = [...document.querySelectorAll(`#${form.dataset.filter} tr[data-text]`)];
      for (const row of rows) row.hidden = !row.dataset.text.includes(wanted);
      const none = document.getElementById(`${form.dataset.filter}-none`);
      if (!none) return;
      // Where a reader's screen is told of what comes into a live region, it must be there before.
      const words = rows.some((row) => !row.hidden) ? "" : none.dataset.nothing;
      if (none.textContent !== words) none.textContent = words;
    };
    field.addEventListener("input", filter);
    for (const select of form.querySelectorAll("select")) select.addEventListener("change", () => form.requestSubmit());
    return filter;
  }

  function replace(fresh, filter) {
    let renewed = false;
    for (const old of document.querySelectorAll("[data-live]")) {
      const name = CSS.escape(old.dataset.live);
      const next = fresh.querySelector(`[data-live="${name}"]`);
      // Nothing is taken away from under a reader's hands.
      if (!next || next.innerHTML === old.innerHTML || old.contains(document.activeElement)) continue;
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      const adopted = document.importNode(next, true);
      adopted.querySelectorAll("details").forEach((one, place) => { one.open = Boolean(open[place]); });
      adopted.classList.add("fresh");
      old.replaceWith(adopted);
      renewed = true;
    }
    if (!renewed) return;
    localTimes(document);
    filter();
    const told = document.getElementById("told");
    told.textContent = told.dataset.renewed;
  }

  function following(filter) {
    if (!document.querySelector("[data-live]") || !("EventSource" in window)) return;
    let waiting = null;
    let last = 0;
    async function renew() {
      waiting = null;
      last = Date.now();
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"), filter);
      } catch { /* the next piece of news tries again */ }
    }
    const source = new EventSource("/live");
    source.addEventListener("news", () => {
      if (waiting || document.hidden) return;
      waiting = setTimeout(renew, Math.max(0, last + SLOWEST_MS - Date.now()));
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden && !waiting) renew(); });
    window.addEventListener("pagehide", () => source.close());
  }

  localTimes(document);
  following(filtering());
})();
