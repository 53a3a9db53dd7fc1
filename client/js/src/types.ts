/** A Position names a message of the inbox or of a topic. Offsets are comparable within an epoch only. */
export interface Position {
  offset: number;
  epoch: string;
}

/** A Message as a handler receives it: either text or bytes is set. */
export interface Message {
  /** The durable topic; undefined for the inbox, and for live messages, which name no topic. */
  readonly topic: string | undefined;
  /** Undefined for a live message, which is not stored. */
  readonly position: Position | undefined;
  /** Messages before this one are not available any more. */
  readonly gap: boolean;
  readonly text: string | undefined;
  readonly bytes: Uint8Array | undefined;
  /** Parses the text, or the bytes as UTF-8. */
  json<T = unknown>(): T;
  /**
   * Acknowledges this message and everything before it in the inbox or topic. With `ack: "auto"` it is called when all
   * handlers have succeeded; called earlier, it ends the retries of a handler that fails.
   */
  ack(): void;
}

/** A Handler may be asynchronous. Messages of one inbox or topic follow each other; live messages do not wait. */
export type Handler = (message: Message) => void | Promise<unknown>;

/** A PositionStore keeps positions over restarts. A promise that is rejected is reported and repeated. */
export interface PositionStore {
  load(key: string): Position | undefined | Promise<Position | undefined>;
  save(key: string, position: Position): void | Promise<void>;
}

/**
 * - `idle`: connect was not called
 * - `connecting`: a handshake is under way
 * - `open`: messages arrive
 * - `waiting`: the next attempt follows after a delay
 * - `offline`: as waiting, and the browser says that there is no network
 * - `paused`: disconnected until the handlers have caught up, see maxPending
 * - `closed`: by close, or for good
 */
export type State = "idle" | "connecting" | "open" | "waiting" | "offline" | "paused" | "closed";

/** What the state event tells. */
export interface StateChange {
  state: State;
  /** The user, as the server named it in hello; with `open`. */
  user?: string;
  /** The most that the next attempt waits for, in milliseconds; with `waiting` and `offline`. */
  delay?: number;
  /** This tab owns the socket that tabs share. */
  leader?: boolean;
}

/** What the gap event tells: messages of a topic, or of the inbox, are not available. Reload from your backend. */
export interface Gap {
  topic: string | undefined;
}

/** What the error event tells. `final` means that the client has closed for good. */
export type ClientError =
  /** The server, or the network (1006), closed the connection. */
  | {kind: "close"; final: boolean; code: number; reason: string}
  /** The handshake was rejected; browsers tell the status for servers of the page's own origin only. */
  | {kind: "handshake"; final: boolean; status: number | undefined; text: string}
  /** The token function failed. */
  | {kind: "token"; final: false; error: unknown}
  /** The server rejected something: code is an error code of fanfare.v1. topic is set for a subscription. */
  | {kind: "rejected"; final: false; code: string; text: string; topic: string | undefined}
  /** A handler failed. It gets the message again after a delay. */
  | {kind: "handler"; final: false; error: unknown; message: Message}
  /** The store failed to load or save a position. */
  | {kind: "store"; final: false; error: unknown}
  /** The handlers are slower than the server, see maxPending. */
  | {kind: "overflow"; final: false; pending: number}
  /** The session belongs to another user than the positions. */
  | {kind: "user"; final: true; user: string; expected: string}
  /** The peer does not speak fanfare.v1. */
  | {kind: "protocol"; final: true; text: string};

/** Options of a Client. Times are in milliseconds. */
export interface ClientOptions {
  /** Of the endpoint: `wss://push.example.com/ws`. A path is one of the page's own origin. */
  url: string;
  /**
   * The user whose positions are stored, as the server knows it. Required with a store other than memoryStore, and with
   * shareTabs. A session of another user closes the client with the error "user".
   */
  user?: string;
  /**
   * Returns the token for the next handshake. It is called before each attempt. If a session ends with its token, and the
   * server takes another one, it is called before that, too, and the session goes on.
   */
  token?: () => string | Promise<string>;
  /** Further parameters of the query, such as `{user: "bob"}` for a server with `--auth none`. */
  query?: Record<string, string>;
  /** Default: memoryStore(). */
  store?: PositionStore;
  /** "auto" (default) acknowledges when the handlers have succeeded; "manual" when you call Message.ack. */
  ack?: "auto" | "manual";
  /** All tabs of the browser with this url and user share one socket. */
  shareTabs?: boolean;
  /** Bound of the first delay before a reconnect, default 1,000. It doubles with each attempt. */
  minDelay?: number;
  /** Bound of all such delays, default 30,000. */
  maxDelay?: number;
  /** A session that was open for this long makes the delays begin again, default 10,000. */
  stableAfter?: number;
  /** A handshake may take this long, default 15,000. */
  openTimeout?: number;
  /** Ask the server for a sign of life after so long without a message, default 60,000; 0: only when the page becomes visible or online. */
  probeInterval?: number;
  /** An answer to that may take this long, default 10,000. */
  probeTimeout?: number;
  /** Characters of messages that wait for their handlers; beyond, the client disconnects until they are done. Default 4,194,304. */
  maxPending?: number;
  /** Asks the server, with a plain request, why a handshake failed, where the browser permits it. Default true. */
  diagnose?: boolean;
  /** Overrides whether to reconnect after a close code; undefined: as documented. */
  reconnect?: (code: number, reason: string) => boolean | undefined;
  /** The WebSocket class, for runtimes without a global one, such as Node 20. */
  WebSocket?: WebSocketClass;
}

/** The part of the WebSocket interface that the client needs. */
export interface Socket {
  readonly protocol: string;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketClass = new (url: string, protocol: string) => Socket;
