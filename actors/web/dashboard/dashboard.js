// The dashboard: asks for a key, joins the topic of the reporter, and shows each report in place of the last.
// The key is kept for this tab alone, and is never part of an address: a ticket is, which is good once.

import { Member } from "./phoenix.js";
import { Table, element } from "./table.js";

const TOPIC = "realtime:_troupe:stats";
const KEY = "troupe-key";

const find = (id) => document.getElementById(id);
const time = (seconds) => new Date(1000 * seconds).toLocaleString();
const list = (names) => names.join(", ");

const TOTALS = [
  ["Connections", (report) => report.totals.connections],
  ["Channels", (report) => report.totals.channels],
  ["Subscribers", (report) => report.totals.subscribers],
  ["Presences", (report) => report.totals.presences],
  ["Subscriptions to row changes", (report) => report.totals.change_subscriptions],
  ["Crashes", (report) => report.tree.crashes],
  ["Restarts", (report) => report.tree.restarts],
];

// Each section: a table, and what of a report it shows, of how many.
const SECTIONS = [
  {
    table: new Table(find("channels"), "Channels", [
      ["Name", (channel) => channel.name],
      ["Privacy", (channel) => (channel.private ? "private" : "public")],
      ["Subscribers", (channel) => channel.subscribers],
      ["Presences", (channel) => channel.presences],
      ["Users", (channel) => list(channel.users)],
      ["Present as", (channel) => list(channel.present)],
    ]),
    rows: (report) => [report.channels, report.totals.channels],
  },
  {
    table: new Table(find("connections"), "Connections", [
      ["Id", (connection) => connection.id],
      ["User", (connection) => connection.user],
      ["Role", (connection) => connection.role],
      ["Address", (connection) => connection.peer],
      ["Connected at", (connection) => time(connection.opened_at)],
      ["Topics", (connection) => list(connection.topics)],
    ]),
    rows: (report) => [report.connections, report.totals.connections],
  },
  {
    table: new Table(find("changes"), "Row changes", [
      ["Channel", (entry) => entry.channel],
      ["User", (entry) => entry.user],
      ["Event", (entry) => entry.kind],
      ["Table", (entry) => `${entry.schema ?? "public"}.${entry.table ?? "*"}`],
      ["Filter", (entry) => entry.filter ?? ""],
    ]),
    rows: (report) => [report.changes],
  },
  {
    table: new Table(
      find("actors"),
      "Actors",
      [
        ["Supervisor", (actor) => actor.supervisor],
        ["Actor", (actor) => actor.name],
        ["State", (actor) => (actor.is_running ? "running" : "waiting to restart")],
        ["Restarts", (actor) => actor.restarts],
        ["Queued", (actor) => actor.queued],
        ["Rejected", (actor) => actor.rejected],
      ],
      (actor) => !actor.is_running,
    ),
    rows: ({ tree }) => [
      tree.supervisors.flatMap(({ name, actors }) => actors.map((actor) => ({ supervisor: name, ...actor }))),
      tree.supervisors.reduce((sum, { size }) => sum + size, 0),
    ],
  },
  {
    table: new Table(find("incidents"), "Incidents", [
      ["At", (incident) => time(incident.at)],
      ["Actor", (incident) => incident.actor],
      ["What", (incident) => incident.what],
      ["Error", (incident) => incident.error],
    ]),
    rows: (report) => [report.tree.incidents.toReversed()],
  },
];

function show(report) {
  const totals = TOTALS.map(([title, read]) =>
    element("div", {}, element("dt", {}, title), element("dd", {}, String(read(report)))));
  find("totals").querySelector("dl").replaceChildren(...totals);
  for (const { table, rows } of SECTIONS) table.show(...rows(report));
}

// Return the address of the WebSocket, or null when the key is no good.
async function ticketUrl() {
  const key = sessionStorage.getItem(KEY);
  const answer = await fetch("api/ticket", { method: "POST", headers: { authorization: `Bearer ${key}` } });
  if (answer.status === 403) {
    leave("This key is not one of the role service_role, or it has expired.");
    return null;
  }
  const { ticket } = await answer.json();
  const url = new URL("websocket", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = new URLSearchParams({ ticket });
  return url;
}

let member = null;

function enter() {
  find("login").hidden = true;
  find("leave").hidden = find("live").hidden = false;
  member = new Member(TOPIC, {
    url: ticketUrl,
    onBroadcast: (_event, report) => show(report),
    onStatus: (text) => (find("status").textContent = text),
  });
}

function leave(reason) {
  member?.end();
  sessionStorage.removeItem(KEY);
  find("status").textContent = "Not connected.";
  find("refused").textContent = reason;
  find("leave").hidden = find("live").hidden = true;
  find("login").hidden = false;
  find("key").focus();
}

find("leave").addEventListener("click", () => leave(""));
find("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, find("key").value.trim());
  find("key").value = "";
  enter();
});

if (sessionStorage.getItem(KEY)) enter();
else leave("");
