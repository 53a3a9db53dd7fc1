import {Link} from "./link.js";
import type {Events, Transport} from "./transport.js";
import type {ClientError, ClientOptions, Position, StateChange} from "./types.js";
import {advance, type Wire} from "./wire.js";

// What tabs tell each other, with the tab that it is from. to: one tab; otherwise all of them.
type Note =
  | {kind: "lead"}
  | {kind: "join"; topics: [string, Position | undefined][]}
  | {kind: "subscribe"; topic: string; at: Position | undefined}
  | {kind: "unsubscribe"; topic: string}
  | {kind: "ack"; ack: Wire}
  | {kind: "ping"}
  | {kind: "pong"}
  | {kind: "object"; object: Wire}
  | {kind: "state"; change: StateChange}
  | {kind: "error"; error: ClientError};

// A visible tab asks the leader so often whether it runs, and takes over if it has not answered by the next time.
const checkEvery = 5_000;

/**
 * @internal Tabs shares one Link among the tabs of a browser. The tab that holds a Web Lock leads: it owns the Link, and
 * passes objects on through a BroadcastChannel. When the tab ends, the lock falls to another one, which resumes where it
 * was. A tab that is frozen gives the lock back, and one that does not answer loses it.
 */
export class Tabs implements Transport {
  static _supported = () => typeof BroadcastChannel === "function" && !!globalThis.navigator?.locks && typeof document === "object";

  private _id = Math.random().toString(36).slice(2);
  private _places = new Map<string, Position | undefined>([["", undefined]]); // of this tab's subscriptions
  private _started: boolean | undefined;
  private _channel: BroadcastChannel | undefined;
  private _release: (() => void) | undefined; // the lock of the leader
  private _leave: AbortController | undefined; // ends the requests for locks
  private _checks: any;
  private _asked: boolean | undefined;

  // The leader's.
  private _link: Link | undefined;
  private _change: StateChange = {state: "connecting"};
  private _wants = new Map<string, Set<string>>(); // topics of the other tabs, by tab

  constructor(private _name: string, private _o: ClientOptions, private _events: Events) {}

  _start(): void {
    if (this._started) return;
    this._started = true;
    this._listen(true);
    this._join();
  }

  _stop(): void {
    this._started = false;
    this._listen(false);
    this._quit();
  }

  _subscribe(topic: string, at: Position | undefined): void {
    this._places.set(topic, at);
    if (this._link) this._want(topic, at, o => this._events._object(o));
    else this._post({kind: "subscribe", topic, at});
  }

  _unsubscribe(topic: string): void {
    this._places.delete(topic);
    if (this._link) this._unwanted([topic]);
    else this._post({kind: "unsubscribe", topic});
  }

  _ack(ack: Wire): void {
    if (this._link) this._link._ack(ack);
    else this._post({kind: "ack", ack});
  }

  _pause(): boolean {
    return this._link?._pause() ?? false;
  }

  _resume(): void {
    this._link?._resume();
  }

  // Election.

  private _join(): void {
    this._channel = new BroadcastChannel(this._name);
    this._channel.onmessage = event => this._receive(event.data);
    this._leave = new AbortController();
    const {signal} = this._leave;
    // The others learn that this tab has ended when its own lock is released.
    this._await(this._id, () => new Promise(resolve => signal.onabort = resolve));
    this._events._change({state: "connecting", leader: false});
    this._elect({signal});
    this._announce();
    this._checks = setInterval(() => this._check(), checkEvery);
  }

  private _quit(): void {
    this._leave?.abort();
    this._stepDown();
    clearInterval(this._checks);
    this._channel?.close();
    this._channel = undefined;
  }

  private async _elect(options: LockOptions): Promise<void> {
    const {signal} = this._leave!;
    try {
      await navigator.locks.request(this._name, options, async () => {
        if (signal.aborted) return;
        this._lead();
        await new Promise<void>(resolve => this._release = resolve);
      });
    } catch { // another tab has taken the lock, or this one leaves
      if (signal.aborted || !this._link) return;
      this._stepDown();
      this._elect({signal});
      this._announce();
    }
  }

  private _lead(): void {
    this._asked = false;
    const link = this._link = new Link(this._o, {
      _object: object => {
        this._post({kind: "object", object});
        this._deliver(object);
      },
      _change: change => {
        this._change = change;
        this._post({kind: "state", change});
        this._events._change({...change, leader: true});
      },
      _error: error => {
        this._post({kind: "error", error});
        this._fail(error);
      },
    });
    for (const [topic, at] of this._places) link._subscribe(topic, at);
    this._post({kind: "lead"});
    link._start();
  }

  private _stepDown(): void {
    this._link?._stop();
    this._link = undefined;
    this._wants.clear();
    this._release?.();
    this._release = undefined;
  }

  /** Asks the leader for a sign of life, or takes over. */
  private _check(): void {
    if (this._link || document.visibilityState !== "visible") {
      this._asked = false;
    } else if (this._asked) {
      this._asked = false;
      this._elect({steal: true});
    } else {
      this._asked = true;
      this._post({kind: "ping"});
    }
  }

  // Other tabs.

  private _announce(): void {
    this._post({kind: "join", topics: [...this._places]});
  }

  private _post(note: Note & {to?: string}): void {
    this._channel?.postMessage({from: this._id, ...note});
  }

  private _receive(note: Note & {from: string; to?: string}): void {
    if (note.to !== undefined && note.to !== this._id) return;
    const link = this._link;
    if (!link) {
      if (note.kind === "lead") this._announce();
      if (note.kind === "object") this._deliver(note.object);
      if (note.kind === "state") this._events._change({...note.change, leader: false});
      if (note.kind === "error") this._fail(note.error);
      if ("object" in note || "change" in note || note.kind === "pong" || note.kind === "lead") this._asked = false;
      return;
    }
    switch (note.kind) {
    case "join": {
      const answer = (object: Wire) => this._post({kind: "object", to: note.from, object});
      if (!this._wants.has(note.from)) this._watch(note.from);
      this._wants.set(note.from, new Set(note.topics.map(([topic]) => topic)));
      this._post({kind: "state", to: note.from, change: this._change});
      if (link._user !== undefined) answer({type: "hello", user: link._user, ...link._places.get("")});
      for (const [topic, at] of note.topics) if (topic) this._want(topic, at, answer);
      break;
    }
    case "subscribe":
      this._wants.get(note.from)?.add(note.topic);
      this._want(note.topic, note.at, object => this._post({kind: "object", to: note.from, object}));
      break;
    case "unsubscribe":
      this._wants.get(note.from)?.delete(note.topic);
      this._unwanted([note.topic]);
      break;
    case "ack":
      link._ack(note.ack);
      break;
    case "ping":
      this._post({kind: "pong"});
    }
  }

  /** Subscribes, or tells where the subscription is that another tab has made. */
  private _want(topic: string, at: Position | undefined, answer: (o: Wire) => void): void {
    const link = this._link!;
    if (!link._places.has(topic)) link._subscribe(topic, at);
    else if (link._user !== undefined) answer({type: "subscribe", topic, ...link._places.get(topic)});
  }

  private _unwanted(topics: Iterable<string>): void {
    for (const topic of topics) {
      if (topic && !this._places.has(topic) && ![...this._wants.values()].some(t => t.has(topic))) this._link?._unsubscribe(topic);
    }
  }

  private _watch(tab: string): void {
    this._await(tab, () => {
      const topics = this._wants.get(tab) ?? [];
      this._wants.delete(tab);
      this._unwanted(topics);
    });
  }

  /** Calls f with the lock that a tab holds until it ends. */
  private _await(tab: string, f: () => unknown): void {
    navigator.locks.request(this._name + " " + tab, {signal: this._leave!.signal}, f).catch(() => {});
  }

  private _deliver(o: Wire): void {
    advance(this._places, o);
    this._events._object(o);
  }

  private _fail(error: ClientError): void {
    if (error.final) this._stop();
    this._events._error(error);
  }

  // A page that is frozen, or kept for the back button, gives the socket to another tab.

  private _suspend = (): void => this._quit();

  private _return = (event: Event): void => {
    if (event.type !== "pageshow" || (event as PageTransitionEvent).persisted) this._quit(), this._join();
  };

  private _listen(on: boolean): void {
    const call = on ? "addEventListener" : "removeEventListener";
    document[call]("freeze", this._suspend);
    document[call]("resume", this._return);
    window[call]("pagehide", this._suspend);
    window[call]("pageshow", this._return);
  }
}
