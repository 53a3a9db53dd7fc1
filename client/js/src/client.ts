import {Box, Received} from "./box.js";
import {Link} from "./link.js";
import {memoryStore} from "./store.js";
import {Tabs} from "./tabs.js";
import type {Transport} from "./transport.js";
import type {ClientError, ClientOptions, Gap, Handler, PositionStore, State, StateChange} from "./types.js";
import type {Wire} from "./wire.js";

interface Listeners {
  state: (change: StateChange) => void;
  gap: (gap: Gap) => void | Promise<unknown>;
  error: (error: ClientError) => void;
}

/**
 * A Client receives the messages of a user and of topics from a fanfare server. It reconnects, resumes where it was, and
 * acknowledges what the handlers have done.
 *
 *     const client = new Client({url: "wss://push.example.com/ws", token: () => fetchToken()});
 *     client.inbox(message => show(message.json()));
 *     client.subscribe("scores.final", message => update(message.json()));
 *     client.on("gap", () => reload());
 *     client.connect();
 */
export class Client {
  private _state: State = "idle";
  private _boxes = new Map<string, Box>(); // by topic, the inbox at ""
  private _loading = new Map<Box, Promise<void>>();
  private _listeners: {[E in keyof Listeners]: Set<Listeners[E]>} = {state: new Set(), gap: new Set(), error: new Set()};
  private _store: PositionStore;
  /** @internal */
  _transport: Transport;
  private _pending = 0;
  private _connected: {promise: Promise<void>; resolve(): void; reject(e: unknown): void} | undefined;
  private _run = 0;
  private _user: string | undefined;

  /** @internal */
  _o: ClientOptions;

  constructor(_o: ClientOptions) {
    this._o = _o;
    const {user, store, shareTabs, url} = _o;
    if (user === undefined && (shareTabs || store)) {
      throw new TypeError("fanfare: name the user, for store and shareTabs");
    }
    this._user = user;
    this._store = store ?? memoryStore();
    this._transport = shareTabs && Tabs._supported() ? new Tabs("fanfare " + JSON.stringify([url, user]), _o, this) : new Link(_o, this);
    this._box("");
  }

  /** The present state. */
  get state(): State {
    return this._state;
  }

  /** Listens to an event until the function that it returns is called. A listener of gaps may be asynchronous. */
  on<E extends keyof Listeners>(event: E, listener: Listeners[E]): () => void {
    this._listeners[event].add(listener);
    return () => void this._listeners[event].delete(listener);
  }

  /**
   * Handles messages of the inbox, and live messages, which name no topic, until the function that it returns is called.
   * Messages that arrive while there is no handler are not acknowledged.
   */
  inbox(handler: Handler): () => void {
    return this._handle("", handler);
  }

  /**
   * Subscribes to a topic, before connecting or later. The function that it returns removes the handler, and with the
   * last one the subscription. Only messages of a durable topic name it; others come to the inbox.
   */
  subscribe(topic: string, handler: Handler): () => void {
    if (!topic) throw new TypeError("fanfare: empty topic");
    return this._handle(topic, handler);
  }

  /**
   * Connects, and stays connected until close. The promise is resolved when messages can arrive for the first time, and
   * rejected with a ClientError, or undefined after close, if that never happens.
   */
  connect(): Promise<void> {
    if (this._connected && this._state !== "closed") return this._connected.promise;
    let resolve!: () => void, reject!: (e: unknown) => void;
    const promise = new Promise<void>((yes, no) => { resolve = yes; reject = no; });
    promise.catch(() => {}); // the error event tells it, too
    this._connected = {promise, resolve, reject};
    this._change({state: "connecting"});
    this._start(++this._run);
    return promise;
  }

  /** Disconnects. Messages whose handlers have not succeeded are not acknowledged. connect may be called again. */
  close(): void {
    this._run++;
    this._transport._stop();
    this._closed(undefined);
  }

  private async _start(run: number): Promise<void> {
    await Promise.all([...this._boxes].map(([topic, box]) => this._load(topic, box)));
    if (run === this._run) this._transport._start();
  }

  private _box(topic: string): Box {
    let box = this._boxes.get(topic);
    if (!box) {
      const key = "fanfare " + JSON.stringify([this._o.user ?? "", topic || null]);
      box = new Box(topic || undefined, key, this._store, this);
      this._boxes.set(topic, box);
    }
    return box;
  }

  /** Loads the position of a box once, and subscribes. */
  private _load(topic: string, box: Box): Promise<void> {
    let loading = this._loading.get(box);
    if (!loading) {
      loading = box._load().then(() => {
        if (this._boxes.get(topic) === box) this._transport._subscribe(topic, box._received);
      });
      this._loading.set(box, loading);
    }
    return loading;
  }

  private _handle(topic: string, handler: Handler): () => void {
    const box = this._box(topic);
    box._handlers.add(handler);
    if (topic && this._connected) this._load(topic, box);
    return () => {
      box._handlers.delete(handler);
      if (!topic || box._handlers.size || this._boxes.get(topic) !== box) return;
      box._end();
      this._boxes.delete(topic);
      if (this._loading.delete(box)) this._transport._unsubscribe(topic);
    };
  }

  // What the transport and the boxes tell: Client is the Events and the BoxOwner.

  /** @internal */
  _object(o: Wire): void {
    if (o.type === "hello" && !this._owns(o.user ?? "")) return;
    const box = this._boxes.get(o.topic ?? "");
    if (!box) return; // unsubscribed meanwhile, or a topic of the token or of another tab
    if (o.type !== "message") box._begin(o);
    else if (o.offset !== undefined || o.topic !== undefined) box._receive(o);
    else this._live(o, box);
  }

  /** Positions of one user must not be used for another one. */
  private _owns(user: string): boolean {
    this._user ??= user;
    if (user === this._user) return true;
    this._transport._stop();
    this._error({kind: "user", final: true, user, expected: this._user});
    return false;
  }

  private _live(o: Wire, box: Box): void {
    const message = new Received(o, () => {});
    for (const handler of box._handlers) {
      (async () => handler(message))().catch(error => this._error({kind: "handler", final: false, error, message}));
    }
  }

  /** @internal */
  _change(change: StateChange): void {
    if (change.state !== "open") for (const box of this._boxes.values()) box._placed = false;
    this._state = change.state;
    if (change.state === "open") this._connected?.resolve();
    this._emit("state", change);
  }

  /** @internal */
  _error(error: ClientError): void {
    if (!this._listeners.error.size) console.warn("fanfare:", error);
    this._emit("error", error);
    if (error.final) {
      this._run++;
      this._closed(error);
    }
  }

  private _closed(error: ClientError | undefined): void {
    if (this._state === "closed" || this._state === "idle") return;
    this._connected?.reject(error);
    this._change({state: "closed"});
  }

  /** Calls the listeners. What they throw is thrown to the runtime, and stops nothing. */
  private _emit<E extends keyof Listeners>(event: E, value: Parameters<Listeners[E]>[0]): Promise<unknown> {
    return Promise.all([...this._listeners[event]].map(async listener => {
      try {
        await (listener as (v: typeof value) => unknown)(value);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }));
  }

  /** @internal */
  _gap(topic: string | undefined): Promise<unknown> {
    return this._emit("gap", {topic});
  }

  /** @internal Counts what waits for handlers. A server that is faster than the handlers is disconnected until they are done. */
  _count(change: number): void {
    this._pending += change;
    if (this._pending <= 0) return this._transport._resume();
    if (change <= 0 || this._pending <= (this._o.maxPending ?? 4 << 20) || this._state === "paused") return;
    this._error({kind: "overflow", final: false, pending: this._pending});
    // Another tab's socket goes on: what waits here is forgotten, with a gap.
    if (!this._transport._pause()) for (const box of this._boxes.values()) if (box._clear()) box._lose();
  }
}
