// weir: page views, track, identify, reset. Everything about it: docs/browsers.md.
(() => {
  const { dataset, src } = document.currentScript;
  const { key, dnt, views, cookie } = dataset;
  const url = `${new URL(src).origin}/events?key=${key}`;
  const off = dnt !== "ignore" && (navigator.doNotTrack === "1" || navigator.globalPrivacyControl);
  const events = new Map(); // by id, as JSON, until weir has answered for them
  let items = {}; // without localStorage, for as long as the page
  try {
    items = localStorage;
  } catch {}

  const digit = () => (crypto.getRandomValues(new Uint8Array(1))[0] % 16).toString(16);
  const uuid = () => {
    const time = `0${Date.now().toString(16)}`;
    return `${time.slice(0, 8)}-${time.slice(8)}-7xxx-8xxx-xxxxxxxxxxxx`.replace(/x/g, digit);
  };

  // Who is there: in this browser, or on all sites below the cookie's domain.
  const who = (name) =>
    cookie
      ? unescape(document.cookie.match(`(?:^|; )${name}=([^;]*)`)?.[1] ?? "") // never throws
      : items[name];
  const setWho = (name, value) => {
    if (cookie) {
      const age = value ? 31536000 : 0; // a year
      document.cookie = `${name}=${escape(value)};domain=${cookie};path=/;max-age=${age};samesite=lax`;
    } else items[name] = value;
  };
  const anonymousId = () => {
    if (!who("weir_visitor")) setWho("weir_visitor", uuid());
    return who("weir_visitor") || undefined;
  };

  let timer, sending, pause;
  // What is sent while a page is left may be 64 KiB: letters may take three bytes.
  const batch = () => {
    const sent = [];
    let room = 2e4;
    for (const [id, text] of events) {
      room -= text.length;
      if (sent.length && (room < 0 || sent.length === 50)) break;
      sent.push(id);
    }
    return sent;
  };
  const body = (ids) => `{"events":[${ids.map((id) => events.get(id))}]}`;
  const later = (wait) => (timer ??= setTimeout(send, wait));
  const send = async () => {
    timer = undefined;
    if (sending || !events.size) return;
    sending = true;
    const sent = batch();
    const answer = await fetch(url, { method: "POST", body: body(sent), keepalive: true }).catch(() => 0);
    sending = false;
    const { status } = answer;
    if (status < 300 || [400, 413, 422].includes(status)) {
      if (status >= 400) console.warn("weir:", await answer.text());
      for (const id of sent) {
        events.delete(id);
        delete items[`weir:${id}`];
      }
      pause = 0;
      if (events.size) send();
    } else {
      pause = Math.min(2 * (pause || 500), 6e4);
      later(Math.max(pause * (1 + Math.random()), 1000 * (answer && answer.headers.get("Retry-After"))));
    }
  };

  const track = (event_type, properties = {}, more) => {
    const event_id = uuid();
    const user_id = who("weir_user") || undefined;
    const occurred_at = new Date().toISOString();
    const event = { event_id, user_id, anonymous_id: anonymousId(), event_type, occurred_at, properties, ...more };
    const text = JSON.stringify(event);
    if (events.size >= 1000 || text.length > 2e4) return console.warn("weir: too large:", event_type);
    events.set(event_id, text);
    try {
      items[`weir:${event_id}`] = text;
    } catch {} // it is full
    later(1000);
  };

  let seen;
  const page = (properties) => {
    const utm = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith("utm_"));
    track("page_view", {
      path: location.pathname,
      host: location.hostname,
      title: document.title,
      referrer: seen ?? document.referrer,
      ...Object.fromEntries(utm),
      ...properties,
    });
    seen = location.origin + location.pathname;
  };

  const weir = {
    track,
    page,
    identify(user_id, traits) {
      const id = `${user_id ?? ""}`.trim();
      if (!id || id.length > 200) return console.warn("weir: no user id:", user_id);
      const known = who("weir_user");
      if (known && known !== id) setWho("weir_visitor", uuid()); // somebody else, on the same browser
      setWho("weir_user", id);
      track("identify", {}, { traits });
    },
    reset() {
      setWho("weir_user", "");
      setWho("weir_visitor", uuid());
    },
    push: ([name, ...values]) => weir[name]?.(...values),
  };
  const calls = Array.isArray(window.weir) ? window.weir : [];
  window.weir = weir;
  if (off) {
    for (const name in weir) weir[name] = () => {};
    return;
  }

  for (const name in items) {
    if (!name.startsWith("weir:")) continue;
    try {
      JSON.parse(items[name]);
      events.set(name.slice(5), items[name]);
    } catch {
      delete items[name];
    }
  }
  if (events.size) later(0);
  addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && events.size) navigator.sendBeacon(url, body(batch()));
  });
  if (views !== "off") {
    const moved = () => location.origin + location.pathname !== seen && page();
    for (const name of ["pushState", "replaceState"]) {
      const change = history[name];
      history[name] = function (...state) {
        change.apply(this, state);
        moved();
      };
    }
    addEventListener("popstate", moved);
    page();
  }
  for (const call of calls) weir.push(call);
})();
