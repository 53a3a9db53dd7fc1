import {backoff} from "./policy.js";
import type {Transport} from "./transport.js";
import type {ClientError, ClientOptions, Handler, Message, Position, PositionStore} from "./types.js";
import {decode, position, utf8, type Wire} from "./wire.js";

interface Item {
  _history: number;
  _position?: Position | undefined;
  _gap?: boolean;
  _message?: Message;
  _size: number;
  _done: Set<Handler>; // handlers that have succeeded
  _skip?: boolean;
}

/** @internal What a Box needs of its Client. */
export interface BoxOwner {
  _o: ClientOptions;
  _transport: Transport;
  _gap(topic: string | undefined): Promise<unknown>;
  _error(e: ClientError): void;
  /** Counts the characters that wait for handlers. */
  _count(change: number): void;
}

/**
 * @internal Box is the inbox or a durable topic: it drops duplicates, calls the handlers in order, and keeps the
 * position up to which they have succeeded.
 */
export class Box {
  _handlers = new Set<Handler>();
  _placed: boolean | undefined; // in the present session
  _received: Position | undefined;

  // Offsets of one history are comparable, whatever the names of its epochs: a restart of the server renames the epoch,
  // and a loss of messages, which comes with a gap, begins another history.
  private _history = 0;
  private _handled: Position | undefined;
  private _acked: number | undefined;
  private _items: Item[] = [];
  private _running: boolean | undefined;
  private _ended: boolean | undefined;
  private _sleepers = new Set<() => void>(); // each ends the delay before a retry
  private _saving: Position | undefined;
  private _saves: boolean | undefined;

  constructor(private _topic: string | undefined, private _key: string, private _store: PositionStore, private _owner: BoxOwner) {}

  async _load(): Promise<void> {
    for (let failures = 0; ; ) {
      try {
        this._received = this._handled = await this._store.load(this._key);
        return;
      } catch (error) {
        await this._unstored(error, failures++);
      }
      if (this._ended) return;
    }
  }

  /** Takes hello or the confirmation of a subscription. */
  _begin(o: Wire): void {
    const at = position(o);
    if (at) this._move(at, !!o.gap);
    this._placed = !!at;
    if (o.gap || at && !this._handled) this._push({_position: at, _gap: !!o.gap});
    // The connection may have broken before the last acknowledgement arrived.
    if (this._placed && this._acked !== undefined) this._send();
  }

  /** Takes a message. */
  _receive(o: Wire): void {
    const at = position(o), was = this._received;
    if (at) {
      if (was && was.epoch === at.epoch && at.offset <= was.offset) return; // a duplicate
      this._move(at, !!o.gap);
      this._placed = true;
    }
    const item = this._push({_position: at, _gap: !!o.gap, _size: (o.text ?? o.base64 ?? "").length}, false);
    item._message = new Received(o, () => this._take(item));
    this._owner._count(item._size);
    this._run();
  }

  _end(): void {
    this._ended = true;
    this._clear();
    this._sleepers.forEach(wake => wake());
  }

  /** Forgets the messages that wait, and returns whether there were any. */
  _clear(): boolean {
    const waiting = this._items.splice(this._running ? 1 : 0);
    this._owner._count(-waiting.reduce((n, i) => n + i._size, 0));
    return waiting.length > 0;
  }

  /** Reports a gap before the next message. */
  _lose(): void {
    this._push({_gap: true});
  }

  private _move(at: Position, gap: boolean): void {
    const was = this._received;
    if (was?.epoch === at.epoch) {
      if (at.offset > was.offset) this._received = at;
      return;
    }
    if (gap || !was) {
      this._history++;
      this._handled = this._acked = undefined;
      this._received = at;
      return;
    }
    this._received = {offset: Math.max(was.offset, at.offset), epoch: at.epoch};
    if (this._handled) this._save({...this._handled, epoch: at.epoch});
  }

  private _push(some: Partial<Item>, run = true): Item {
    const item: Item = {
      _history: this._history, _size: 0, _done: new Set(), ...some,
    };
    this._items.push(item);
    if (run) this._run();
    return item;
  }

  private async _run(): Promise<void> {
    if (this._running) return;
    this._running = true;
    for (let item, failures = 0; (item = this._items[0]) && !this._ended; ) {
      if (await this._handle(item)) {
        failures = 0;
        if (this._ended) break;
        this._items.shift();
        this._owner._count(-item._size);
        if (!item._message || this._owner._o.ack !== "manual") this._take(item);
      } else if (!this._ended) {
        await this._sleep(failures++);
      }
    }
    this._running = false;
  }

  /** Calls the listeners of gaps and the handlers, and reports whether all of them have succeeded. */
  private async _handle(item: Item): Promise<boolean> {
    const message = item._message;
    if (item._gap) {
      await this._owner._gap(this._topic);
      item._gap = false;
    }
    if (!message || item._skip) return true;
    let ok = true;
    await Promise.all([...this._handlers].filter(h => !item._done.has(h)).map(async handler => {
      try {
        await handler(message);
        item._done.add(handler);
      } catch (error) {
        ok = false;
        this._owner._error({kind: "handler", final: false, error, message});
      }
    }));
    return ok || !!item._skip;
  }

  /** Notes that an item is handled. */
  private _take(item: Item): void {
    item._skip = true;
    this._sleepers.forEach(wake => wake());
    const at = item._position;
    if (!at || item._history !== this._history || this._handled && this._handled.offset >= at.offset) return;
    if (item._message && !this._handlers.size) return; // no handler has seen it
    this._acked = item._message ? at.offset : undefined;
    this._save({offset: at.offset, epoch: this._received!.epoch});
  }

  /** Stores the position, and then acknowledges it. */
  private async _save(at: Position): Promise<void> {
    this._handled = this._saving = at;
    if (this._saves) return;
    this._saves = true;
    for (let failures = 0; this._saving; ) {
      const saving: Position = this._saving, history = this._history;
      try {
        const saved = this._store.save(this._key, saving);
        if (saved) await saved;
        if (this._saving === saving) this._saving = undefined;
        failures = 0;
        if (history === this._history) this._send();
      } catch (error) {
        await this._unstored(error, failures++);
        if (this._ended) break;
      }
    }
    this._saves = false;
  }

  private _send(): void {
    if (this._acked === undefined || !this._placed || this._saving) return;
    this._owner._transport._ack({type: "ack", ...this._topic !== undefined && {topic: this._topic}, offset: this._acked, epoch: this._received!.epoch});
  }

  private _unstored(error: unknown, failures: number): Promise<void> {
    this._owner._error({kind: "store", final: false, error});
    return this._sleep(failures);
  }

  /** Waits before a retry. */
  private _sleep(failures: number): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        clearTimeout(timer);
        this._sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.random() * backoff(this._owner._o, failures));
      this._sleepers.add(wake);
    });
  }
}

/** @internal Received is a Message. */
export class Received implements Message {
  readonly topic: string | undefined;
  readonly position: Position | undefined;
  readonly gap: boolean;
  readonly text: string | undefined;
  readonly bytes: Uint8Array | undefined;

  constructor(o: Wire, readonly ack: () => void) {
    this.topic = o.topic;
    this.position = position(o);
    this.gap = !!o.gap;
    const {text, bytes} = decode(o);
    this.text = text;
    this.bytes = bytes;
  }

  json<T>(): T {
    return JSON.parse(this.text ?? utf8(this.bytes!));
  }
}
