import {afterClose, afterStatus, backoff, type Delay} from "./policy.js";
import type {Events, Transport} from "./transport.js";
import type {ClientError, ClientOptions, Position, Socket, State, WebSocketClass} from "./types.js";
import {advance, parse, type Wire} from "./wire.js";

const protocol = "fanfare.v1";

// The server's --max-header is 8 KiB by default. Topics that do not fit are subscribed by messages.
const longestURL = 4_000;

/** @internal Link owns a WebSocket, and reconnects it. */
export class Link implements Transport {
  _places = new Map<string, Position | undefined>([["", undefined]]);
  _user: string | undefined; // while the session is open: what hello said

  private _socket: Socket | undefined;
  private _started: boolean | undefined;
  private _attempt = 0; // failures since the last stable session
  private _run = 0; // changes when what was under way does not matter any more
  private _timer: any; // while waiting
  private _hurry: ((spread: number) => void) | undefined; // while waiting
  private _stable: any;
  private _renewal: any; // until the token is renewed
  private _deadline: any; // of the handshake, or of the answer to a probe
  private _probes: any;
  private _heard = true;
  private _paused: boolean | undefined;
  // A handshake fails if one of its topics is not allowed, and browsers do not say so. After a handshake with topics, or
  // with a ticket, has failed, the next one has none: topics are subscribed by messages, each with an answer of its own. A topic that
  // was rejected is never again named in a handshake.
  private _careful: boolean | undefined;
  private _rejected = new Set<string>();
  private _ticket: string | undefined; // of the server, in place of a token; not in a handshake that is careful
  private _queue: string[] = []; // topics to subscribe by messages; the server has not answered the first one

  constructor(private _o: ClientOptions, private _events: Events) {}

  _start(): void {
    if (this._started) return;
    this._started = true;
    this._ticket = undefined; // the user may be another one
    this._listen(true);
    this._connect();
  }

  _stop(): void {
    this._started = this._paused = false;
    this._listen(false);
    this._drop(1000);
  }

  _subscribe(topic: string, position: Position | undefined): void {
    this._places.set(topic, position);
    if (topic && this._user !== undefined) this._enqueue(topic);
  }

  _unsubscribe(topic: string): void {
    this._places.delete(topic);
    this._rejected.delete(topic);
    const at = this._queue.lastIndexOf(topic);
    if (at > 0) this._queue.splice(at, 1);
    else this._send({type: "unsubscribe", topic});
  }

  _ack(ack: Wire): void {
    this._send(ack);
  }

  _pause(): boolean {
    this._paused = true;
    this._drop(1000);
    this._events._change({state: "paused"});
    return true;
  }

  _resume(): void {
    if (!this._paused) return;
    this._paused = false;
    if (this._started) this._connect();
  }

  // The connection.

  private _connect(): void {
    const run = ++this._run;
    this._hurry = undefined;
    this._events._change({state: "connecting"});
    // Unless it was stopped by a listener.
    if (run === this._run) this._withToken(token => this._open(token), () => this._wait({}), this._presented());
  }

  /** Returns the ticket of the next handshake, or of the present one. */
  private _presented(): string | undefined {
    return this._careful ? undefined : this._ticket;
  }

  /** Calls back with a token, or without one, unless the connection has ended meanwhile. With a ticket no token is needed. */
  private async _withToken(have: (token?: string) => void, failed = () => {}, ticket?: string): Promise<void> {
    const run = this._run;
    let token;
    try {
      if (!ticket) token = await this._o.token?.();
    } catch (error) {
      if (run === this._run) this._events._error({kind: "token", final: false, error});
      have = failed;
    }
    if (run === this._run) have(token);
  }

  private _open(token?: string): void {
    const o = this._o, [url, named] = this._address(token);
    let socket: Socket;
    try {
      socket = this._socket = new (o.WebSocket ?? globalThis.WebSocket as unknown as WebSocketClass)(url, protocol);
    } catch (error) { // not a URL, no WebSocket, or forbidden by the page's policy
      return this._unusable(error);
    }
    const over = (code: number, reason: string) => {
      if (socket !== this._socket) return;
      this._over(code, reason, url, named.size > 0);
    };
    this._deadline = setTimeout(over, o.openTimeout ?? 15_000, 1006, "the handshake timed out");
    socket.onmessage = event => {
      if (socket === this._socket) this._receive(event.data, named);
    };
    socket.onopen = () => {
      if (socket === this._socket && socket.protocol !== protocol) {
        this._unusable("the server does not speak " + protocol);
      }
    };
    socket.onclose = event => over(event.code, event.reason);
    // Some runtimes report a failed handshake by error alone.
    socket.onerror = () => setTimeout(over, 1_000, 1006, "");
  }

  /** Returns the URL, and the topics that it names. */
  private _address(token?: string): [string, Set<string>] {
    let url = this._o.url.replace(/^http/, "ws");
    if (url[0] === "/") url = location.origin.replace(/^http/, "ws") + url;
    const add = (name: string, value: string | number) => {
      url += (url.includes("?") ? "&" : "?") + encodeURIComponent(name) + "=" + encodeURIComponent(value);
    };
    for (const name in this._o.query) add(name, this._o.query[name]!);
    if (token !== undefined) add("token", token);
    const ticket = this._presented();
    if (ticket) add("ticket", ticket);
    const named = new Set<string>();
    for (const [topic, at] of this._places) {
      if (topic && (this._careful || this._rejected.has(topic))) continue;
      const before = url, suffix = topic && "." + topic;
      if (topic) add("topic", topic);
      if (at) {
        add("offset" + suffix, at.offset);
        add("epoch" + suffix, at.epoch);
      }
      if (!topic) continue;
      if (url.length > longestURL) url = before;
      else named.add(topic);
    }
    return [url, named];
  }

  private _receive(data: unknown, named: Set<string>): void {
    const o = parse(data);
    if (!o) return this._unusable("not an object: " + data);
    this._heard = true;
    if (this._user !== undefined) clearTimeout(this._deadline); // it answers a probe
    const topic = o.topic ?? "";
    switch (o.type) {
    case "hello":
      this._renew(o);
      if (this._user === undefined) this._opened(o.user ?? "", named);
      break;
    case "refresh":
      return this._renew(o);
    case "error":
      return this._refused(o);
    case "subscribe":
      if (topic === this._queue[0]) this._next(); // falls through
    case "message":
      break;
    default:
      return; // a type that a later server has, or presence
    }
    advance(this._places, o);
    this._events._object(o);
  }

  private _refused(o: Wire): void {
    const code = o.code ?? "", topic = /^(forbidden|too_many_topics|bad_name)$/.test(code) ? this._queue[0] : undefined;
    this._events._error({kind: "rejected", final: false, code, text: o.message ?? "", topic});
    if (topic === undefined) return;
    this._rejected.add(topic);
    this._next();
  }

  private _opened(user: string, named: Set<string>): void {
    clearTimeout(this._deadline);
    this._user = user;
    this._careful = false;
    this._stable = setTimeout(() => this._attempt = 0, this._o.stableAfter ?? 10_000);
    const every = this._o.probeInterval ?? 60_000;
    if (every > 0) {
      this._probes = setInterval(() => {
        if (!this._heard) this._probe();
        this._heard = false;
      }, every);
    }
    this._events._change({state: "open", user});
    for (const topic of this._places.keys()) if (topic && !named.has(topic)) this._enqueue(topic);
  }

  /** Gets another token before the session ends with the one that it has: at a random time, so that not all clients do at once. */
  private _renew(o: Wire): void {
    this._ticket = o.ticket ?? this._ticket;
    clearTimeout(this._renewal);
    if (!this._o.token || !o.expires_in) return;
    // Without a token the session ends with 3000, and the client reconnects.
    this._renewal = setTimeout(() => this._withToken(token => this._send({type: "refresh", token: token!})),
      Math.min(o.expires_in, 2e6) * (750 + 150 * Math.random()));
  }

  // Subscriptions by messages. An error names no topic, so one is on its way at a time.

  private _enqueue(topic: string): void {
    if (this._queue.push(topic) === 1) this._request();
  }

  private _next(): void {
    this._queue.shift();
    this._request();
  }

  private _request(): void {
    const topic = this._queue[0];
    if (topic === undefined) return;
    if (!this._places.has(topic)) return this._next();
    this._send({type: "subscribe", topic, ...this._places.get(topic)});
  }

  /** Sends an object, if the session is open. */
  private _send(o: Wire): void {
    if (this._user !== undefined) this._socket?.send(JSON.stringify(o));
  }

  /** Sends what the server answers and what has no effect: pings are not visible to pages. */
  private _probe(): void {
    if (this._user === undefined) return;
    let topic = "?";
    while (this._places.has(topic)) topic += "?";
    clearTimeout(this._deadline);
    const socket = this._socket;
    this._deadline = setTimeout(() => {
      if (socket === this._socket) this._over(1006, "the server does not answer");
    }, this._o.probeTimeout ?? 10_000);
    this._send({type: "unsubscribe", topic});
  }

  // The end of a connection.

  /** Forgets the socket. */
  private _drop(code?: number): void {
    this._run++;
    const socket = this._socket;
    this._socket = this._user = this._hurry = undefined;
    this._queue = [];
    for (const timer of [this._timer, this._stable, this._renewal, this._deadline, this._probes]) clearTimeout(timer);
    try {
      socket?.close(code); // what it still reports is ignored
    } catch { /* closed, or not open yet */ }
  }

  private _unusable(text: unknown): void {
    this._end({kind: "protocol", final: true, text: "" + text});
  }

  private _end(error: ClientError): void {
    this._started = false;
    this._listen(false);
    this._drop();
    this._events._error(error);
  }

  private async _over(code: number, reason: string, url = "", named = false): Promise<void> {
    const opened = this._user !== undefined, hasToken = !!this._o.token;
    this._drop();
    let delay = afterClose(code, reason, hasToken), error: ClientError;
    if (opened || code !== 1006) {
      const wish = this._o.reconnect?.(code, reason);
      if (wish !== undefined) delay = wish ? delay ?? {} : undefined;
      // Otherwise the server has something against the identity.
      if (![1001, 1006, 1011, 1012, 1013].includes(code)) this._ticket = undefined;
      error = {kind: "close", final: !delay, code, reason};
    } else {
      const run = this._run, [status, text, retryAfter] = await this._diagnose(url);
      if (run !== this._run) return;
      delay = afterStatus(status, hasToken, retryAfter);
      // Whether topics or a ticket may be the cause. A browser that does not know keeps the ticket for every other time.
      const blamed = /^(undef|4(?!08|29))/.test("" + status);
      const ticket = this._presented();
      if (blamed && (ticket || status === 403 && named)) delay ??= {};
      this._careful = blamed && (named || !!ticket);
      if (blamed && status) this._ticket = undefined;
      error = {kind: "handshake", final: !delay, status, text: text || reason};
    }
    if (!delay) return this._end(error);
    this._events._error(error);
    if (this._started) this._wait(delay);
  }

  /** Asks why a handshake failed. A page may ask servers of its own origin only. */
  private async _diagnose(url: string): Promise<[status: number | undefined, text: string, retryAfter: number]> {
    const http = url.replace(/^ws/, "http");
    try {
      if (this._o.diagnose === false || isOffline() || globalThis.location && !http.startsWith(location.origin + "/")) throw 0;
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), this._o.openTimeout ?? 15_000);
      const r = await fetch(http, {headers: {"Fanfare-Check": protocol}, cache: "no-store", redirect: "error", signal: abort.signal});
      const text = (await r.text()).trim().slice(0, 500);
      clearTimeout(timer);
      return [r.status, text, Number(r.headers.get("Retry-After"))];
    } catch {
      return [undefined, "", 0];
    }
  }

  // Delays.

  private _wait({_floor: floor = 0, _spread: spread = 0}: Delay): void {
    const o = this._o, offline = isOffline();
    spread = offline ? o.maxDelay ?? 30_000 : Math.max(spread, backoff(o, this._attempt++));
    const state: State = offline ? "offline" : "waiting", run = ++this._run;
    this._events._change({state, delay: floor + spread});
    if (run !== this._run) return; // stopped by a listener
    // What the server asked for passes first; only the rest can be cut short.
    let passed = !floor;
    const later = () => {
      passed = true;
      this._timer = setTimeout(() => this._connect(), Math.random() * spread);
    };
    if (passed) later();
    else this._timer = setTimeout(later, floor);
    this._hurry = shorter => {
      spread = Math.min(spread, shorter);
      if (!passed) return;
      clearTimeout(this._timer);
      later();
    };
  }

  /** Reconnects soon, or finds out whether the connection is alive. */
  private _wake = (event: {type: string}) => {
    if (event.type === "visibilitychange" && document.visibilityState !== "visible") return;
    this._attempt = 0;
    // All devices of a network come online together.
    this._hurry?.(event.type === "online" ? this._o.minDelay ?? 1_000 : 0);
    this._probe();
  };

  private _listen(on: boolean): void {
    const call = on ? "addEventListener" : "removeEventListener";
    globalThis[call]?.("online", this._wake as any);
    globalThis.document?.[call]?.("visibilitychange", this._wake as any);
  }
}

const isOffline = () => globalThis.navigator?.onLine === false;
