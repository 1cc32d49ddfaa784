// Times in the reader's own zone, and the page again until what it shows has ended. Without this, the page's own <meta>
// refreshes it.
"use strict";

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.title = time.dateTime;
    time.textContent = new Date(time.dateTime).toLocaleString("sv"); // 2026-11-28 20:40:24
  }
}

async function refresh() {
  const seconds = Number(document.querySelector("main").dataset.refresh);
  if (!seconds) return;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  try {
    const answer = document.hidden ? null : await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer?.ok) show(await answer.text());
  } catch {
    // The server is away: what is shown stays, and the next try may do better.
  }
  refresh();
}

function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  document.title = page.title;
  document.querySelector("main").replaceWith(page.querySelector("main"));
  localTimes();
}

localTimes();
refresh();
