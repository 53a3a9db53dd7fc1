// A server and a browser for the tests of one client: they do only what a test says.
import {mock} from "node:test";
import assert from "node:assert/strict";

/** turn lets everything run that does not wait for time. */
export const turn = () => new Promise(resolve => setImmediate(resolve));

/** pass moves the clock. */
export async function pass(ms) {
  await turn();
  mock.timers.tick(ms);
  await turn();
}

/** Socket is the WebSocket of a client. all has the ones that were opened. */
export class Socket {
  static all = [];
  static get last() { return Socket.all.at(-1); }
  sent = [];
  protocol = "";
  constructor(url, protocol) {
    this.url = url;
    this.offered = protocol;
    Socket.all.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close(code) { this.closed = code ?? 1005; }
  /** query returns the parameters of the handshake. */
  get query() { return [...new URL(this.url).searchParams].map(([k, v]) => k + "=" + v).sort(); }
  accept(...objects) {
    this.protocol = this.offered;
    this.onopen?.({});
    this.say(...objects);
    return this;
  }
  say(...objects) {
    for (const o of objects) this.onmessage?.({data: typeof o === "string" ? o : JSON.stringify(o)});
  }
  end(code = 1006, reason = "") { this.onclose?.({code, reason}); }
  acks() { return this.sent.filter(o => o.type === "ack").map(({topic, offset, epoch}) => [topic ?? "", offset, epoch].join(" ").trim()); }
}

/** fakeTime stops the clock, and makes every random number the greatest. */
export function fakeTime() {
  Socket.all.length = 0;
  mock.timers.enable({apis: ["setTimeout", "setInterval"]});
  mock.method(Math, "random", () => 0.999999);
}

export function realTime() {
  mock.timers.reset();
  mock.restoreAll();
  delete globalThis.document;
}

/** log records what a client tells. */
export function log(client) {
  const lines = [];
  client.on("gap", ({topic}) => { lines.push("gap " + (topic ?? "inbox")); });
  client.on("error", e => { lines.push(["error", e.kind, e.code ?? e.status ?? e.error?.message ?? e.text ?? "", e.topic ?? "", e.final ? "final" : ""].filter(x => x).join(" ")); });
  return lines;
}

/** expect compares, and empties what was recorded. */
export function expect(lines, ...want) {
  assert.deepEqual(lines.splice(0), want);
}

export const hello = (offset, epoch, more) => ({type: "hello", user: "bob", ...offset !== undefined && {offset, epoch}, ...more});
export const stored = (offset, epoch, text, more) => ({type: "message", offset, epoch, text, ...more});
