"use strict";
// The page of the local Slack workspace. Every text is put on the page as a text node:
// there is no innerHTML anywhere, so nothing a bot or an alert says can become markup.

const S = { users: new Map(), channels: [], messages: new Map(), ephemerals: new Map(), views: new Map(), homes: new Map(),
  usergroups: {}, verbs: {}, faults: [], rate: true, user: sessionStorage.getItem("user") || "U01ALICE",
  channel: null, thread: null, threadClosed: false, pinned: false, home: false, seen: new Map(), wire: [], ready: false };
const $ = (id) => document.getElementById(id);

function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// ---- text: mrkdwn, markdown, emoji ------------------------------------------------------

const EMOJI = { white_check_mark: "✅", heavy_check_mark: "✔️", ballot_box_with_check: "☑️", x: "❌", warning: "⚠️", rotating_light: "🚨",
  red_circle: "🔴", large_red_circle: "🔴", large_orange_circle: "🟠", large_yellow_circle: "🟡", large_green_circle: "🟢", large_blue_circle: "🔵", white_circle: "⚪", black_circle: "⚫",
  large_red_square: "🟥", large_orange_square: "🟧", large_yellow_square: "🟨", large_green_square: "🟩", white_large_square: "⬜", white_square: "◻️", black_square_button: "🔲",
  fire: "🔥", hourglass: "⌛", hourglass_flowing_sand: "⏳", arrow_right: "➡️", arrow_up: "⬆️", arrow_down: "⬇️", arrows_counterclockwise: "🔄", repeat: "🔁", mag: "🔍", wrench: "🔧",
  hammer_and_wrench: "🛠️", memo: "📝", bell: "🔔", no_bell: "🔕", mute: "🔇", eyes: "👀", tada: "🎉", point_right: "👉", information_source: "ℹ️", lock: "🔒", unlock: "🔓", rewind: "⏪",
  fast_forward: "⏩", pause_button: "⏸️", arrow_forward: "▶️", black_square_for_stop: "⏹️", stop_button: "⏹️", no_entry: "⛔", no_entry_sign: "🚫", octagonal_sign: "🛑", construction: "🚧",
  clipboard: "📋", page_facing_up: "📄", chart_with_upwards_trend: "📈", chart_with_downwards_trend: "📉", bar_chart: "📊", link: "🔗", bust_in_silhouette: "👤", busts_in_silhouette: "👥",
  speech_balloon: "💬", question: "❓", grey_question: "❔", exclamation: "❗", bulb: "💡", mailbox: "📫", skull: "💀", coffin: "⚰️", thumbsup: "👍", "+1": "👍", "-1": "👎", zap: "⚡", clock3: "🕒",
  stopwatch: "⏱️", shield: "🛡️", package: "📦", boom: "💥", snowflake: "❄️", ghost: "👻", robot_face: "🤖", pushpin: "📌", book: "📖", scroll: "📜", leftwards_arrow_with_hook: "↩️", heavy_minus_sign: "➖" };
const unescape = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const emoji = (name) => (Object.hasOwn(EMOJI, name) ? EMOJI[name] : ":" + name + ":");

function safeLink(url, label) {
  const clean = unescape(url);
  if (!/^(https?:|mailto:)/i.test(clean)) return document.createTextNode(label ? unescape(label) : clean);
  return h("a", { href: clean, target: "_blank", rel: "noopener noreferrer" }, label ? unescape(label) : clean);
}

function mention(id, kind) {
  if (kind === "user") {
    const user = S.users.get(id);
    return h("span", { class: "mention" + (id === S.user ? " me" : "") }, "@" + (user ? user.real_name.split(" ")[0] === "CDC" ? user.name : user.real_name : id));
  }
  if (kind === "group") return h("span", { class: "mention me" }, "@" + (S.usergroups[id] || id));
  return h("span", { class: "mention me" }, "@" + id);
}

function control(inner) {
  const [head, ...rest] = inner.split("|");
  const label = rest.length ? rest.join("|") : "";
  if (head.startsWith("@")) return mention(head.slice(1), "user");
  if (head.startsWith("#")) {
    const channel = S.channels.find((one) => one.id === head.slice(1));
    return h("span", { class: "mention" }, "#" + (channel ? channel.name : label || head.slice(1)));
  }
  if (head.startsWith("!subteam^")) return mention(head.slice(9), "group");
  if (head.startsWith("!date^")) {
    const [, seconds] = head.split("^");
    const at = new Date(Number(seconds) * 1000);
    return h("span", { title: label }, Number.isFinite(at.getTime()) ? at.toLocaleString() : unescape(label));
  }
  if (head.startsWith("!")) return mention(label ? unescape(label).replace(/^@/, "") : head.slice(1), "all");
  return safeLink(head, label);
}

const INLINE = /(`[^`\n]+`)|<([^<>\n]+)>|(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])|(?<!\w)_(?=\S)([^_\n]+?)(?<=\S)_(?!\w)|(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])|:([a-z0-9_+-]+):/g;

function inline(text) {
  const out = [];
  let last = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > last) out.push(unescape(text.slice(last, found.index)));
    const [all, code, special, bold, italic, strike, name] = found;
    if (code) out.push(h("code", {}, unescape(code.slice(1, -1))));
    else if (special !== undefined) out.push(control(special));
    else if (bold !== undefined) out.push(h("strong", {}, inline(bold)));
    else if (italic !== undefined) out.push(h("em", {}, inline(italic)));
    else if (strike !== undefined) out.push(h("s", {}, inline(strike)));
    else out.push(emoji(name));
    last = found.index + all.length;
  }
  if (last < text.length) out.push(unescape(text.slice(last)));
  return out;
}

function mrkdwn(text) {
  const out = [];
  const parts = text.split("```");
  parts.forEach((part, index) => {
    if (index % 2 === 1 && index < parts.length - 1) { out.push(h("pre", {}, unescape(part.replace(/^\n/, "").replace(/\n$/, "")))); return; }
    const plain = index % 2 === 1 ? "```" + part : part;
    let lines = plain.split("\n");
    if (index > 0 && lines[0] === "") lines = lines.slice(1);
    let quoted = [];
    let flowing = [];
    const flush = () => {
      if (flowing.length) { out.push(h("span", {}, inline(flowing.join("\n")))); flowing = []; }
      if (quoted.length) { out.push(h("blockquote", {}, inline(quoted.join("\n")))); quoted = []; }
    };
    for (const line of lines) {
      const quote = /^(?:&gt;|>) ?(.*)$/.exec(line);
      if (quote) { if (flowing.length) flush(); quoted.push(quote[1]); }
      else { if (quoted.length) flush(); flowing.push(line); }
    }
    flush();
  });
  return out;
}

function markdownInline(text) {
  const out = [];
  const rule = /(`[^`\n]+`)|\*\*(?=\S)(.+?)\*\*|(?<!\w)[*_](?=\S)([^*_\n]+?)[*_](?!\w)|~~(.+?)~~|\[([^\]\n]+)\]\(([^)\s]+)\)|:([a-z0-9_+-]+):/g;
  let last = 0;
  for (const found of text.matchAll(rule)) {
    if (found.index > last) out.push(text.slice(last, found.index));
    const [all, code, bold, italic, strike, label, url, name] = found;
    if (code) out.push(h("code", {}, code.slice(1, -1)));
    else if (bold !== undefined) out.push(h("strong", {}, markdownInline(bold)));
    else if (italic !== undefined) out.push(h("em", {}, markdownInline(italic)));
    else if (strike !== undefined) out.push(h("s", {}, markdownInline(strike)));
    else if (label !== undefined) out.push(safeLink(url, label));
    else out.push(emoji(name));
    last = found.index + all.length;
  }
  if (last < text.length) out.push(text.slice(last));
  return out;
}

function markdown(text) {
  const root = h("div", { class: "prose" });
  const lines = text.replace(/\r/g, "").split("\n");
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, "|"));
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) { at += 1; continue; }
    if (line.startsWith("```")) {
      const code = [];
      for (at += 1; at < lines.length && !lines[at].startsWith("```"); at += 1) code.push(lines[at]);
      at += 1;
      root.append(h("pre", {}, code.join("\n")));
      continue;
    }
    const heading = /^(#{1,4}) +(.*)$/.exec(line);
    if (heading) { root.append(h("h" + heading[1].length, {}, markdownInline(heading[2]))); at += 1; continue; }
    if (/^(-{3,}|\*{3,})$/.test(line.trim())) { root.append(h("hr", { class: "block divider" })); at += 1; continue; }
    if (line.includes("|") && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(lines[at + 1] || "")) {
      const table = h("table", {}, h("tr", {}, cells(line).map((cell) => h("th", {}, markdownInline(cell)))));
      for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) table.append(h("tr", {}, cells(lines[at]).map((cell) => h("td", {}, markdownInline(cell)))));
      root.append(h("div", { class: "table-scroll block" }, table));
      continue;
    }
    const item = /^\s*(?:([-*+])|\d+[.)]) +(.*)$/.exec(line);
    if (item) {
      const list = h(item[1] ? "ul" : "ol", {});
      while (at < lines.length) {
        const next = /^\s*(?:([-*+])|\d+[.)]) +(.*)$/.exec(lines[at]);
        if (!next || Boolean(next[1]) !== Boolean(item[1])) break;
        const words = [next[2]];
        for (at += 1; at < lines.length && /^\s{2,}\S/.test(lines[at]) && !/^\s*(?:[-*+]|\d+[.)]) /.test(lines[at]); at += 1) words.push(lines[at].trim());
        const box = /^\[( |x)\] (.*)$/i.exec(words.join(" "));
        list.append(h("li", {}, box ? [(box[1] === " " ? "☐ " : "☑ "), markdownInline(box[2])] : markdownInline(words.join(" "))));
      }
      root.append(list);
      continue;
    }
    if (line.startsWith(">")) {
      const quote = [];
      for (; at < lines.length && lines[at].startsWith(">"); at += 1) quote.push(lines[at].replace(/^> ?/, ""));
      root.append(h("blockquote", {}, markdownInline(quote.join("\n"))));
      continue;
    }
    const words = [];
    for (; at < lines.length && lines[at].trim() && !/^(#{1,4} |```|>|\s*[-*+] )/.test(lines[at]); at += 1) words.push(lines[at]);
    if (!words.length) { words.push(lines[at]); at += 1; }
    root.append(h("p", {}, markdownInline(words.join("\n"))));
  }
  return root;
}

function textObject(object) {
  if (!object || typeof object.text !== "string") return [];
  if (object.type === "mrkdwn") return mrkdwn(object.text);
  return [object.text.replace(/:([a-z0-9_+-]+):/g, (_, name) => emoji(name))];
}

// ---- Block Kit ---------------------------------------------------------------------------

function richElement(element) {
  if (element.type === "text") {
    const style = element.style || {};
    let node = style.code ? h("code", {}, element.text) : document.createTextNode(element.text);
    if (style.bold) node = h("strong", {}, node);
    if (style.italic) node = h("em", {}, node);
    if (style.strike) node = h("s", {}, node);
    return node;
  }
  if (element.type === "link") return safeLink(element.url, element.text);
  if (element.type === "emoji") return emoji(element.name);
  if (element.type === "user") return mention(element.user_id, "user");
  if (element.type === "usergroup") return mention(element.usergroup_id, "group");
  if (element.type === "broadcast") return mention(element.range, "all");
  if (element.type === "channel") return control("#" + element.channel_id);
  return "";
}

function richText(block) {
  return h("div", { class: "block rich" }, (block.elements || []).map((part) => {
    const inner = () => (part.elements || []).map(richElement);
    if (part.type === "rich_text_list") return h(part.style === "ordered" ? "ol" : "ul", {}, (part.elements || []).map((item) => h("li", {}, (item.elements || []).map(richElement))));
    if (part.type === "rich_text_preformatted") return h("pre", {}, inner());
    if (part.type === "rich_text_quote") return h("blockquote", {}, inner());
    return h("div", { class: "text" }, inner());
  }));
}

function picture(block) {
  const alt = block.alt_text || "image";
  const file = block.slack_file && block.slack_file.url;
  const source = file || block.image_url || "";
  const local = source.startsWith(location.origin + "/") || source.startsWith("data:image/");
  return local ? h("img", { class: "picture", src: source, alt }) : h("div", { class: "no-picture" }, "Image: " + alt);
}

function confirmed(confirm) {
  if (!confirm) return Promise.resolve(true);
  return new Promise((resolve) => {
    const box = h("dialog", { class: "confirm" });
    const end = (answer) => { box.close(); box.remove(); resolve(answer); };
    box.append(
      h("div", { class: "dialog-head" }, h("h2", {}, textObject(confirm.title))),
      h("div", { class: "dialog-body text" }, textObject(confirm.text)),
      h("div", { class: "dialog-foot" },
        h("button", { type: "button", class: "button", on: { click: () => end(false) } }, textObject(confirm.deny)),
        h("button", { type: "button", class: "button " + (confirm.style === "danger" ? "danger solid" : "primary"), on: { click: () => end(true) } }, textObject(confirm.confirm))));
    box.addEventListener("cancel", (event) => { event.preventDefault(); end(false); });
    document.body.append(box);
    box.showModal();
  });
}

async function use(node, where, block, element, option) {
  if (!(await confirmed(element.confirm))) return;
  node.disabled = true;
  node.classList.add("busy");
  const body = { ...where, action_id: element.action_id, block_id: block.block_id, user: S.user };
  if (element.type === "button" && element.value !== undefined) body.value = element.value;
  if (option !== undefined) body.option = option;
  const answer = await call("/control/click", body);
  node.disabled = false;
  node.classList.remove("busy");
  if (!answer.ok) toast(complaint(answer));
}

function complaint(answer) {
  if (answer.error === "operation_timeout") return "The app did not respond within 3 s.";
  if (answer.error === "dispatch_failed") return "The app could not be reached, or refused (HTTP " + (answer.status || "no answer") + ").";
  return answer.error || "That did not work.";
}

function openMenu(anchor, options, choose) {
  document.querySelectorAll(".menu").forEach((old) => old.remove());
  const menu = h("div", { class: "menu", role: "menu" }, options.map((option) => h("button", { type: "button", role: "menuitem", on: { click: () => { menu.remove(); choose(option); } } }, textObject(option.text))));
  document.body.append(menu);
  const spot = anchor.getBoundingClientRect();
  menu.style.left = Math.max(8, Math.min(spot.left, innerWidth - menu.offsetWidth - 10)) + "px";
  menu.style.top = (spot.bottom + menu.offsetHeight + 8 > innerHeight ? Math.max(8, spot.top - menu.offsetHeight - 4) : spot.bottom + 4) + "px";
  menu.querySelector("button").focus();
  const away = (event) => { if (event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target)) { menu.remove(); removeEventListener("pointerdown", away, true); removeEventListener("keydown", away, true); } };
  addEventListener("pointerdown", away, true);
  addEventListener("keydown", away, true);
}

function allOptions(element) {
  return [...(element.options || []), ...(element.option_groups || []).flatMap((group) => group.options || [])];
}

function widget(element, block, where, picked) {
  const data = { actionId: element.action_id };
  if (element.type === "button") {
    const style = element.style === "primary" ? " primary" : element.style === "danger" ? " danger" : "";
    const node = h("button", { type: "button", class: "button" + style, data, "aria-label": element.accessibility_label }, textObject(element.text));
    node.addEventListener("click", () => {
      if (element.url && /^https?:/i.test(element.url)) open(element.url, "_blank", "noopener");
      use(node, where, block, element);
    });
    return node;
  }
  if (element.type === "overflow") {
    const node = h("button", { type: "button", class: "button", data, "aria-label": "More actions", "aria-haspopup": "menu" }, "⋯");
    node.addEventListener("click", () => openMenu(node, element.options || [], (option) => {
      if (option.url && /^https?:/i.test(option.url)) open(option.url, "_blank", "noopener");
      use(node, where, block, element, option.value);
    }));
    return node;
  }
  if (element.type === "static_select" || element.type === "users_select") {
    const options = element.type === "users_select"
      ? [...S.users.values()].filter((user) => !user.is_bot).map((user) => ({ value: user.id, text: { text: user.real_name } }))
      : allOptions(element);
    const chosen = picked && picked.selected_option ? picked.selected_option.value : element.initial_option && element.initial_option.value;
    const node = h("select", { class: "select", data, "aria-label": element.placeholder ? element.placeholder.text : "Choose" },
      h("option", { value: "", disabled: true, selected: !chosen }, element.placeholder ? textObject(element.placeholder) : "Choose"),
      options.map((option) => h("option", { value: option.value, selected: option.value === chosen }, textObject(option.text))));
    node.addEventListener("change", () => use(node, where, block, element, node.value));
    return node;
  }
  if (element.type === "checkboxes" || element.type === "radio_buttons") {
    const many = element.type === "checkboxes";
    const first = many ? (element.initial_options || []).map((one) => one.value) : [element.initial_option && element.initial_option.value];
    const now = picked ? (picked.selected_options ? picked.selected_options.map((one) => one.value) : [picked.selected_option && picked.selected_option.value]) : first;
    const node = h("div", { data });
    for (const option of element.options || []) {
      const box = h("input", { type: many ? "checkbox" : "radio", name: block.block_id + element.action_id, value: option.value, checked: now.includes(option.value) });
      box.addEventListener("change", () => use(node, where, block, element, [...node.querySelectorAll("input:checked")].map((one) => one.value).join(",")));
      node.append(h("label", { class: "choice" }, box, h("span", {}, textObject(option.text), option.description ? h("small", {}, textObject(option.description)) : null)));
    }
    return node;
  }
  if (element.type === "image") return picture(element);
  return h("span", { class: "no-picture" }, "(" + element.type + " is not drawn here)");
}

function drawBlock(block, where, picked) {
  const state = (element) => (picked && picked[block.block_id] ? picked[block.block_id][element.action_id] : null);
  switch (block.type) {
    case "header": return h("div", { class: "block header" }, textObject(block.text));
    case "divider": return h("hr", { class: "block divider" });
    case "section": return h("div", { class: "block section" },
      h("div", { class: "section-main" }, block.text ? h("div", { class: "text" }, textObject(block.text)) : null,
        block.fields ? h("div", { class: "fields" }, block.fields.map((field) => h("div", { class: "text" }, textObject(field)))) : null),
      block.accessory ? widget(block.accessory, block, where, state(block.accessory)) : null);
    case "context": return h("div", { class: "block context" }, (block.elements || []).map((element) => element.type === "image" ? picture(element) : h("span", { class: "text" }, textObject(element))));
    case "actions": return h("div", { class: "block actions" }, (block.elements || []).map((element) => widget(element, block, where, state(element))));
    case "markdown": return h("div", { class: "block" }, markdown(block.text || ""));
    case "rich_text": return richText(block);
    case "image": return h("figure", { class: "block" }, block.title ? h("figcaption", { class: "quiet" }, textObject(block.title)) : null, picture(block));
    case "table": return h("div", { class: "block table-scroll" }, h("table", {}, (block.rows || []).map((row, index) => h("tr", {}, row.map((cell) => h(index ? "td" : "th", {}, cell.type === "rich_text" ? richText(cell) : String(cell.text ?? "")))))));
    default: return h("div", { class: "block no-picture" }, "(block " + block.type + " is not drawn here)");
  }
}

// ---- messages ------------------------------------------------------------------------------

const clock = (ts) => new Date(Number(ts) * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const fullTime = (ts) => new Date(Number(ts) * 1000).toLocaleString();
const initials = (user) => user.real_name.split(" ").map((word) => word[0]).slice(0, 2).join("");

function avatar(user, small) {
  const index = [...S.users.keys()].indexOf(user.id);
  return h("span", { class: "avatar c" + Math.max(0, index) + (small ? " small" : ""), "aria-hidden": "true" }, initials(user));
}

function drawFile(file) {
  const preview = h("div", { class: "file-preview", hidden: true });
  const toggle = h("button", { type: "button", class: "button" }, "Preview");
  const text = /^text\/|json/.test(file.mimetype);
  toggle.addEventListener("click", async () => {
    if (!preview.hidden) { preview.hidden = true; toggle.textContent = "Preview"; return; }
    if (!preview.childNodes.length) {
      const body = await (await fetch(new URL(file.url_private).pathname)).text();
      preview.append(file.mimetype === "text/markdown" ? markdown(body) : h("pre", {}, body.slice(0, 200000)));
    }
    preview.hidden = false;
    toggle.textContent = "Hide";
    preview.scrollIntoView({ block: "nearest" });
  });
  const path = new URL(file.url_private).pathname;
  return h("div", { class: "file" },
    h("div", { class: "file-head" }, h("span", { class: "mark", "aria-hidden": "true" }, file.filetype.slice(0, 4).toUpperCase()),
      h("div", { class: "names" }, h("b", {}, file.title), h("small", {}, file.name + " · " + (file.size < 1024 ? file.size + " B" : (file.size / 1024).toFixed(1) + " KB"))),
      text ? toggle : null, h("a", { class: "button", href: path + "?download=1", download: file.name }, "Download")),
    file.mimetype === "image/png" ? h("img", { class: "picture", src: path, alt: file.alt_txt || file.title, title: file.alt_txt || "" }) : null, preview);
}

function mentionsMe(message) {
  const everything = message.text + JSON.stringify(message.blocks);
  return everything.includes("<@" + S.user + ">") || /<!(channel|here|everyone)[>|]/.test(everything) || (S.user === "U01ALICE" && everything.includes("<!subteam^"));
}

function drawMessage(message, pane, follow) {
  const user = S.users.get(message.user) || { id: "?", real_name: message.user, is_bot: false };
  const where = { channel: message.channel, ts: message.ts };
  const body = h("div", { class: "body" });
  if (message.ephemeral_for) {
    body.append(h("div", { class: "only-you" }, "Only visible to you · ", h("a", { href: "#", on: { click: (event) => { event.preventDefault(); call("/control/dismiss", { ts: message.ts }); } } }, "Dismiss")));
  }
  body.append(h("div", { class: "head" }, h("b", {}, user.real_name), user.is_bot ? h("span", { class: "tag" }, "APP") : null,
    h("time", { class: "time", title: fullTime(message.ts) }, clock(message.ts)),
    message.edited && !follow ? h("span", { class: "edited" }, "(edited)") : null));
  if (message.thread_ts && pane === "channel") {
    body.append(h("div", { class: "reply-to" }, "replied to a thread"));
  }
  if (message.blocks.length) for (const block of message.blocks) body.append(drawBlock(block, where, message.picked));
  else if (message.text) body.append(h("div", { class: "text" }, mrkdwn(message.text)));
  if (message.edited && follow) body.append(h("span", { class: "edited" }, "(edited)"));
  for (const file of message.files) body.append(drawFile(file));
  if (message.reactions.length) {
    const names = [...new Set(message.reactions.map(([name]) => name))];
    body.append(h("div", { class: "reactions" }, names.map((name) => h("span", { class: "reaction" }, emoji(name) + " " + message.reactions.filter(([one]) => one === name).length))));
  }
  const replies = pane === "channel" && !message.thread_ts ? repliesOf(message) : [];
  if (replies.length) {
    const last = replies[replies.length - 1];
    body.append(h("button", { type: "button", class: "thread-link" + (S.thread === message.ts ? " open" : ""), on: { click: () => openThread(message) } },
      avatar(S.users.get(last.user) || user, true), replies.length === 1 ? "1 reply" : replies.length + " replies", h("small", {}, "last " + clock(last.ts))));
  }
  const classes = ["message", follow ? "follow" : "", message.ephemeral_for ? "ephemeral" : "", !message.ephemeral_for && mentionsMe(message) ? "mentions-me" : ""];
  return h("article", { class: classes.filter(Boolean).join(" "), data: { ts: message.ts } }, h("div", {}, avatar(user), h("div", { class: "gutter" }, clock(message.ts).slice(0, 5))), body);
}

const byTs = (a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0);
const repliesOf = (parent) => [...S.messages.values()].filter((one) => one.channel === parent.channel && one.thread_ts === parent.ts).sort(byTs);

function follows(before, message) {
  return before && before.user === message.user && !message.blocks.length && !before.ephemeral_for && !message.ephemeral_for
    && Number(message.ts) - Number(before.ts) < 240 && !(message.thread_ts && !before.thread_ts);
}

const drawn = { channel: new Map(), thread: new Map() };

function fill(pane, list, rows) {
  const cache = drawn[pane];
  const bottom = atBottom(list);
  const newest = rows[rows.length - 1];
  const more = S.ready && list.childNodes.length && newest && newest.message && !cache.has(newest.key);
  const nodes = [];
  const kept = new Set();
  for (const row of rows) {
    const known = cache.get(row.key);
    kept.add(row.key);
    if (known && known.json === row.json) { nodes.push(known.node); continue; }
    const node = row.draw();
    if (!known && S.ready && row.message) node.classList.add("fresh");
    cache.set(row.key, { json: row.json, node });
    nodes.push(node);
  }
  for (const key of [...cache.keys()]) if (!kept.has(key)) cache.delete(key);
  const same = list.childNodes.length === nodes.length && nodes.every((node, index) => list.childNodes[index] === node);
  if (same) return;
  const top = list.scrollTop;
  let at = list.firstChild;
  for (const node of nodes) {
    if (at === node) at = at.nextSibling;
    else list.insertBefore(node, at);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
  list.scrollTop = bottom || !S.ready ? list.scrollHeight : top;
  if (pane === "thread" && S.pinned) toReplies();
  if (more && !atBottom(list)) $(pane + "-newer").hidden = false;
}

// A thread opens at its first reply, where the checklist stands, and stays there until the person moves.
const atBottom = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 80;
function toReplies() {
  const list = $("thread-messages");
  const line = list.querySelector(".replies-line");
  if (line) list.scrollTop += line.getBoundingClientRect().top - list.getBoundingClientRect().top;
}
function toBottom(pane) {
  if (pane === "thread") S.pinned = false;
  $(pane + "-messages").scrollTop = $(pane + "-messages").scrollHeight;
  $(pane + "-newer").hidden = true;
}
function showThread(ts) { S.thread = ts; S.pinned = true; drawn.thread.clear(); $("thread-messages").replaceChildren(); $("thread-newer").hidden = true; }

function messageRows(pane, messages) {
  const rows = [];
  let before = null;
  for (const message of messages) {
    const follow = follows(before, message);
    const replies = pane === "channel" && !message.thread_ts ? repliesOf(message) : [];
    const last = replies.length ? replies[replies.length - 1].ts : "";
    const json = JSON.stringify([message, follow, replies.length, last, S.user, S.thread === message.ts]);
    rows.push({ key: message.ts, json, message, draw: () => drawMessage(message, pane, follow) });
    before = message;
  }
  return rows;
}

function render() {
  const channel = S.channels.find((one) => one.id === S.channel);
  $("team-name").textContent = S.team || "Drill";
  drawRail();
  drawFaults();
  $("app").classList.toggle("with-thread", Boolean(S.thread) && !S.home);
  $("thread-pane").hidden = !S.thread || S.home;
  $("channel-composer").hidden = S.home;
  const list = $("channel-messages");
  if (S.home) {
    $("channel-name").textContent = "CDC on-call";
    $("channel-topic").textContent = "Home, as " + S.users.get(S.user).real_name + " sees it";
    const home = S.homes.get(S.user);
    const json = JSON.stringify(home || null);
    fill("channel", list, [{ key: "home", json, draw: () => home
      ? h("div", { class: "home" }, (home.view.blocks || []).map((block) => drawBlock(block, { view_id: home.id }, null)))
      : h("div", { class: "empty" }, "The app has not published a Home yet.") }]);
  } else if (channel) {
    $("channel-name").textContent = "# " + channel.name;
    $("channel-topic").textContent = channel.topic;
    const shown = [...S.messages.values()].filter((one) => one.channel === S.channel && (!one.thread_ts || one.broadcast));
    shown.push(...[...S.ephemerals.values()].filter((one) => one.channel === S.channel && one.ephemeral_for === S.user && !one.thread_ts));
    shown.sort(byTs);
    const rows = messageRows("channel", shown);
    if (rows.length) rows.unshift({ key: "day", json: shown[0].ts, draw: () => h("div", { class: "day" }, new Date(Number(shown[0].ts) * 1000).toLocaleDateString([], { weekday: "long", month: "long", day: "numeric" })) });
    else rows.push({ key: "empty", json: "", draw: () => h("div", { class: "empty" }, "Nothing here yet. Incidents open in #cdc-incidents; try /cdc help below.") });
    fill("channel", list, rows);
    if (shown.length) S.seen.set(S.channel, shown[shown.length - 1].ts);
  }
  if (S.thread && channel) drawThread(channel);
  drawModal();
}

function drawThread(channel) {
  const parent = S.messages.get(S.channel + S.thread);
  if (!parent) { S.thread = null; render(); return; }
  $("thread-channel").textContent = "# " + channel.name;
  const replies = repliesOf(parent);
  const own = [...S.ephemerals.values()].filter((one) => one.channel === S.channel && one.ephemeral_for === S.user && one.thread_ts === parent.ts);
  const rows = messageRows("thread", [parent]);
  rows.push({ key: "count", json: String(replies.length), draw: () => h("div", { class: "replies-line" }, replies.length === 1 ? "1 reply" : replies.length + " replies") });
  rows.push(...messageRows("thread", [...replies, ...own].sort(byTs)));
  fill("thread", $("thread-messages"), rows);
}

function openThread(message) {
  showThread(message.ts);
  S.threadClosed = false;
  render();
}

function drawRail() {
  $("channels").replaceChildren(...S.channels.map((channel) => {
    const newer = [...S.messages.values()].filter((one) => one.channel === channel.id && !one.thread_ts && one.ts > (S.seen.get(channel.id) || ""));
    const mine = newer.filter(mentionsMe).length;
    const current = !S.home && channel.id === S.channel;
    return h("li", {}, h("button", { type: "button", "aria-current": String(current), class: newer.length && !current ? "unread" : "", on: { click: () => go(channel.id) } }, "# " + channel.name, mine && !current ? h("span", { class: "badge" }, String(mine)) : null));
  }));
  $("apps").replaceChildren(h("li", {}, h("button", { type: "button", "aria-current": String(S.home), on: { click: openHome } }, "◈ CDC on-call")));
  $("people").replaceChildren(...[...S.users.values()].filter((user) => !user.is_bot).map((user) => h("button", { type: "button", role: "radio", "aria-checked": String(user.id === S.user), data: { user: user.name }, on: { click: () => become(user.id) } }, avatar(user, true), h("span", { class: "who" }, user.real_name, h("small", {}, user.title)))));
}

function go(channel, thread) { S.channel = channel; S.home = false; S.thread = null; S.threadClosed = false; drawn.channel.clear(); drawn.thread.clear(); if (thread) showThread(thread); followNewest(); render(); toBottom("channel"); }
function become(user) { S.user = user; sessionStorage.setItem("user", user); drawn.channel.clear(); drawn.thread.clear(); render(); if (S.home) openHome(); }
async function openHome() { S.home = true; drawn.channel.clear(); render(); await call("/control/home", { user: S.user }); }
function followNewest() {
  if (S.thread || S.threadClosed || S.home) return;
  const parents = [...S.messages.values()].filter((one) => one.channel === S.channel && !one.thread_ts && repliesOf(one).length).sort(byTs);
  if (parents.length) showThread(parents[parents.length - 1].ts);
}

// A link into a thread: `#C01INCIDENTS/1764.000100`. Anything else in the hash is not one, and is not looked at.
function followHash() {
  const found = /^#([A-Z0-9]+)(?:\/(\d+\.\d+))?$/.exec(location.hash);
  const channel = found && S.channels.find((one) => one.id === found[1]);
  if (!channel) return;
  const message = S.messages.get(channel.id + found[2]);
  go(channel.id, message && (message.thread_ts || message.ts));
}

// ---- modals --------------------------------------------------------------------------------

let modal = null;

function drawInput(block, error) {
  const element = block.element;
  const id = "in-" + block.block_id;
  let node;
  if (element.type === "static_select" || element.type === "users_select") {
    const options = element.type === "users_select" ? [...S.users.values()].filter((user) => !user.is_bot).map((user) => ({ value: user.id, text: { text: user.real_name } })) : allOptions(element);
    const first = element.initial_option ? element.initial_option.value : element.initial_user || "";
    node = h("select", { id }, h("option", { value: "", selected: !first }, element.placeholder ? textObject(element.placeholder) : "Choose"), options.map((option) => h("option", { value: option.value, selected: option.value === first }, textObject(option.text))));
  } else if (element.type === "checkboxes" || element.type === "radio_buttons") {
    const many = element.type === "checkboxes";
    const first = many ? (element.initial_options || []).map((one) => one.value) : [element.initial_option && element.initial_option.value];
    node = h("div", { id }, (element.options || []).map((option) => h("label", { class: "choice" }, h("input", { type: many ? "checkbox" : "radio", name: id, value: option.value, checked: first.includes(option.value) }), h("span", {}, textObject(option.text), option.description ? h("small", {}, textObject(option.description)) : null))));
  } else {
    const kind = { datepicker: "date", number_input: "number", email_text_input: "email", url_text_input: "url" }[element.type] || "text";
    const props = { id, placeholder: element.placeholder ? element.placeholder.text : null, maxlength: element.max_length || null };
    node = element.multiline ? h("textarea", props) : h("input", { ...props, type: kind });
    node.value = element.initial_value || element.initial_date || "";
  }
  const read = () => {
    if (element.type === "checkboxes") return [...node.querySelectorAll("input:checked")].map((one) => one.value);
    if (element.type === "radio_buttons") { const one = node.querySelector("input:checked"); return one ? one.value : null; }
    return node.value;
  };
  const field = h("div", { class: "field" }, h("label", { for: id }, textObject(block.label), block.optional ? h("span", { class: "optional" }, " (optional)") : null), node,
    block.hint ? h("div", { class: "hint" }, textObject(block.hint)) : null, h("div", { class: "error", hidden: !error }, error || ""));
  return { field, read };
}

function drawModal() {
  const mine = [...S.views.values()].filter((view) => view.user === S.user);
  const top = mine[mine.length - 1];
  if (!top) { if (modal) { modal.box.close(); modal.box.remove(); modal = null; } return; }
  if (modal && modal.id === top.id && modal.hash === top.hash) {
    for (const [blockId, field] of modal.fields) {
      const line = field.field.querySelector(".error");
      line.textContent = top.errors[blockId] || "";
      line.hidden = !top.errors[blockId];
    }
    modal.trouble.textContent = top.errors[""] || "";
    return;
  }
  const kept = modal && modal.id === top.id ? new Map([...modal.fields].map(([name, field]) => [name, field.read()])) : new Map();
  if (modal) { modal.box.close(); modal.box.remove(); }
  const view = top.view;
  const fields = new Map();
  const body = h("div", { class: "dialog-body" });
  for (const block of view.blocks || []) {
    if (block.type !== "input") { body.append(drawBlock(block, { view_id: top.id }, null)); continue; }
    const field = drawInput(block, top.errors[block.block_id]);
    const input = field.field.querySelector("input[type=text], textarea");
    if (input && kept.get(block.block_id)) input.value = kept.get(block.block_id);
    fields.set(block.block_id, field);
    body.append(field.field);
  }
  const trouble = h("div", { class: "error" }, top.errors[""] || "");
  body.append(trouble);
  const close = async () => { S.views.delete(top.id); drawModal(); await call("/control/close", { view_id: top.id, user: S.user }); };
  const send = h("button", { type: "submit", class: "button primary" }, view.submit ? textObject(view.submit) : "Submit");
  const form = h("form", { method: "dialog" },
    h("div", { class: "dialog-head" }, h("h2", {}, textObject(view.title)), h("button", { type: "button", class: "icon-button", "aria-label": "Close", on: { click: close } }, "✕")), body,
    h("div", { class: "dialog-foot" }, h("button", { type: "button", class: "button", on: { click: close } }, view.close ? textObject(view.close) : "Cancel"), view.submit ? send : null));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true; send.classList.add("busy");
    const values = Object.fromEntries([...fields].map(([blockId, field]) => [blockId, field.read()]));
    const answer = await call("/control/submit", { view_id: top.id, user: S.user, values });
    send.disabled = false; send.classList.remove("busy");
    if (!answer.ok && answer.error !== "missing_input") toast(complaint(answer));
  });
  const box = h("dialog", { "aria-label": view.title ? view.title.text : "Dialog" }, form);
  box.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  document.body.append(box);
  box.showModal();
  modal = { id: top.id, hash: top.hash, box, fields, trouble };
  const first = box.querySelector("textarea, input:not([type=hidden]), select");
  if (first) first.focus();
}

// ---- composer and the slash box --------------------------------------------------------------

function composer(holder, pane) {
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: pane === "thread" ? "Reply, or /cdc ..." : "Message, or /cdc help", "aria-label": pane === "thread" ? "Reply" : "Message or command" });
  const send = h("button", { type: "submit", class: "send", disabled: true }, "Send");
  const menu = h("div", { class: "completions", role: "listbox", hidden: true });
  let options = [];
  let at = 0;
  const completions = () => {
    const text = input.value;
    if (!text.startsWith("/")) return [];
    const commands = Object.keys(S.verbs);
    const command = commands.find((one) => text === one || text.startsWith(one + " "));
    if (!command) return commands.filter((one) => one.startsWith(text)).map((one) => ({ fill: one + " ", words: [one, ""] }));
    const rest = text.slice(command.length).trimStart();
    if (rest.includes(" ")) return [];
    return S.verbs[command].filter((verb) => verb.split(" ")[0].startsWith(rest) && verb.split(" ")[0] !== rest).map((verb) => {
      const [name, ...args] = verb.split(" ");
      return { fill: command + " " + name + (args.length ? " " : ""), words: [command + " " + name, args.join(" ")], done: !args.length };
    });
  };
  const show = () => {
    send.disabled = !input.value.trim();
    options = completions();
    at = Math.min(at, Math.max(0, options.length - 1));
    menu.hidden = !options.length;
    menu.replaceChildren(...options.map((option, index) => h("button", { type: "button", role: "option", "aria-selected": String(index === at), on: { mousedown: (event) => { event.preventDefault(); take(option); } } }, option.words[0], h("span", { class: "argument" }, option.words[1]))));
  };
  const take = (option) => { input.value = option.fill; at = 0; show(); input.focus(); };
  input.addEventListener("input", () => { at = 0; show(); });
  input.addEventListener("blur", () => { menu.hidden = true; });
  input.addEventListener("focus", show);
  input.addEventListener("keydown", (event) => {
    if (menu.hidden || !options.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); at = (at + (event.key === "ArrowDown" ? 1 : options.length - 1)) % options.length; show(); }
    else if (event.key === "Tab") { event.preventDefault(); take(options[at]); }
    else if (event.key === "Escape") menu.hidden = true;
    else if (event.key === "Enter" && input.value !== options[at].fill && !Object.keys(S.verbs).includes(input.value.trim())) { event.preventDefault(); take(options[at]); }
  });
  const form = h("form", {}, input, send);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = ""; show(); menu.hidden = true;
    toBottom(pane);
    const where = { channel: S.channel, user: S.user, thread_ts: pane === "thread" ? S.thread : undefined };
    const command = Object.keys(S.verbs).find((one) => text === one || text.startsWith(one + " "));
    if (!command && text.startsWith("/")) { toast(text.split(" ")[0] + " is not a command of this workspace."); return; }
    const answer = command ? await call("/control/slash", { ...where, command, text: text.slice(command.length).trim() }) : await call("/control/say", { ...where, text });
    if (!answer.ok && !command) toast(complaint(answer));
  });
  holder.append(menu, form);
}

// ---- faults, wire, toasts, live ----------------------------------------------------------------

let faultsDrawn = "";
function drawFaults() {
  $("faults-toggle").classList.toggle("on", S.faults.length > 0);
  $("faults-toggle").textContent = S.faults.length ? "Faults (" + S.faults.length + ")" : "Faults";
  const json = JSON.stringify([S.faults, S.rate]);
  if (json === faultsDrawn) return;
  faultsDrawn = json;
  const words = { 429: "answers 429", 500: "answers 500", drop_after: "drops the connection after committing", delay: "is slow" };
  const method = h("select", { class: "select", "aria-label": "Method" }, ["*", "chat.postMessage", "chat.update", "chat.postEphemeral", "views.open", "views.update", "conversations.replies", "files.completeUploadExternal"].map((name) => h("option", { value: name }, name === "*" ? "any method" : name)));
  const kind = h("select", { class: "select", "aria-label": "Fault" }, Object.entries(words).map(([value, text]) => h("option", { value }, text)));
  const count = h("input", { type: "number", min: 1, max: 1000, value: 1, "aria-label": "How many calls" });
  const seconds = h("input", { type: "number", min: 0, max: 60, value: 2, "aria-label": "Seconds" });
  const form = h("form", {}, "The next", count, "calls of", method, kind, seconds, "seconds", h("button", { type: "submit", class: "button" }, "Switch on"),
    h("button", { type: "button", class: "button", on: { click: () => call("/control/faults", null, "DELETE").then(tookFaults) } }, "All off"),
    h("label", {}, h("input", { type: "checkbox", checked: S.rate, on: { change: (event) => call("/control/rate", { on: event.target.checked }).then(tookFaults) } }), " rate limits"));
  form.addEventListener("submit", (event) => { event.preventDefault(); call("/control/faults", { method: method.value, kind: kind.value, count: Number(count.value), seconds: Number(seconds.value) }).then(tookFaults); });
  $("faults").replaceChildren(form, h("ul", {}, S.faults.map((fault) => h("li", {}, (fault.method === "*" ? "any method" : fault.method) + " " + words[fault.kind] + ", " + fault.left + " more"))));
}
function tookFaults(answer) { if (answer.faults) { S.faults = answer.faults; S.rate = answer.rate_limits; render(); } }

function wireRow(row) {
  const bad = row.status === null || row.status >= 400 || row.note;
  const node = h("button", { type: "button", class: "wire-row" + (bad ? " bad" : "") }, h("span", {}, clock(row.at_s)), h("span", {}, row.direction === "Slack to app" ? "Slack → app" : "app → Slack"), h("span", {}, row.name), h("span", {}, row.status === null ? "none" : String(row.status)), h("span", {}, row.took_ms + " ms"), h("span", {}, row.note || ""));
  const holder = h("div", { data: { name: row.name } }, node);
  node.addEventListener("click", async () => {
    if (holder.childNodes.length > 1) { holder.lastChild.remove(); return; }
    const [full] = await (await fetch("/control/wire?after=" + (row.id - 1))).json();
    if (full) holder.append(h("div", { class: "wire-bodies" }, h("pre", {}, JSON.stringify(full.request, null, 1)), h("pre", {}, typeof full.response === "string" ? full.response : JSON.stringify(full.response, null, 1))));
  });
  return holder;
}
function addWire(row) {
  const list = $("wire-rows");
  const node = wireRow(row);
  node.hidden = !row.name.includes($("wire-filter").value);
  list.prepend(node);
  while (list.childNodes.length > 400) list.lastChild.remove();
}
async function toggleWire(on) {
  $("wire").hidden = !on;
  $("app").classList.toggle("with-wire", on);
  $("wire-toggle").setAttribute("aria-expanded", String(on));
  if (!on) return;
  const rows = await (await fetch("/control/wire")).json();
  $("wire-rows").replaceChildren();
  rows.slice(-400).forEach(addWire);
}

function toast(text) {
  const node = h("div", { class: "toast" }, text);
  $("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
}

async function call(path, body, method) {
  try {
    const response = await fetch(path, { method: method || "POST", headers: { "Content-Type": "application/json" }, body: body === null ? undefined : JSON.stringify(body) });
    return await response.json();
  } catch { return { ok: false, error: "The workspace does not answer: has the drill ended?" }; }
}

let pending = false;
function soon() { if (!pending) { pending = true; requestAnimationFrame(() => { pending = false; followNewest(); render(); }); } }

async function load() {
  const state = await (await fetch("/control/state")).json();
  S.team = state.team; S.verbs = state.verbs; S.usergroups = state.usergroups; S.channels = state.channels;
  S.users = new Map(state.users.map((user) => [user.id, user]));
  S.messages = new Map(state.messages.map((one) => [one.channel + one.ts, one]));
  S.ephemerals = new Map(state.ephemerals.map((one) => [one.ts, one]));
  S.views = new Map(state.views.map((one) => [one.id, one]));
  S.homes = new Map(state.homes.map((one) => [one.user, one]));
  S.faults = state.faults; S.rate = state.rate_limits;
  if (!S.users.has(S.user)) S.user = "U01ALICE";
  if (!S.channel) { S.channel = S.channels[0].id; followHash(); }
  followNewest();
  render();
  if (!S.ready) { S.ready = true; requestAnimationFrame(() => toBottom("channel")); }
}

function heard(event) {
  if (event.kind === "hello") { $("live").textContent = "live"; load(); return; }
  if (event.kind === "message") { const one = event.message; if (one.deleted) S.messages.delete(one.channel + one.ts); else S.messages.set(one.channel + one.ts, one); }
  else if (event.kind === "ephemeral") S.ephemerals.set(event.message.ts, event.message);
  else if (event.kind === "dismissed") S.ephemerals.delete(event.ts);
  else if (event.kind === "view") S.views.set(event.view.id, event.view);
  else if (event.kind === "view_closed") S.views.delete(event.view_id);
  else if (event.kind === "home") S.homes.set(event.view.user, event.view);
  else if (event.kind === "faults") { S.faults = event.faults; S.rate = event.rate_limits; }
  else if (event.kind === "wire") { if (!$("wire").hidden) addWire(event.exchange); return; }
  soon();
}

composer($("channel-composer"), "channel");
composer($("thread-composer"), "thread");
$("thread-close").addEventListener("click", () => { S.thread = null; S.threadClosed = true; render(); });
$("faults-toggle").addEventListener("click", () => { $("faults").hidden = !$("faults").hidden; $("faults-toggle").setAttribute("aria-expanded", String(!$("faults").hidden)); });
$("wire-toggle").addEventListener("click", () => toggleWire($("wire").hidden));
$("wire-close").addEventListener("click", () => toggleWire(false));
$("wire-filter").addEventListener("input", () => { for (const row of $("wire-rows").childNodes) row.hidden = !row.dataset.name.includes($("wire-filter").value); });
for (const pane of ["channel", "thread"]) {
  const list = $(pane + "-messages");
  $(pane + "-newer").addEventListener("click", () => toBottom(pane));
  list.addEventListener("scroll", () => { if (atBottom(list)) $(pane + "-newer").hidden = true; });
}
for (const moved of ["wheel", "pointerdown", "touchstart", "keydown"]) $("thread-messages").addEventListener(moved, () => { S.pinned = false; }, { passive: true });
addEventListener("resize", () => { if (S.pinned) toReplies(); });
addEventListener("hashchange", followHash);
const stream = new EventSource("/events");
stream.onmessage = (message) => heard(JSON.parse(message.data));
stream.onerror = () => { $("live").textContent = "reconnecting"; };
