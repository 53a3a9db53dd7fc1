import type {ClientError, Position, StateChange} from "./types.js";
import type {Wire} from "./wire.js";

/**
 * @internal A Transport brings the objects of the server to a Client, over one connection after another. It keeps the
 * subscriptions and where to resume them. Link owns a WebSocket; Tabs shares that of another tab.
 */
export interface Transport {
  _start(): void;
  /** Ends the connection; no event follows. */
  _stop(): void;
  /** "" is the inbox, which is always subscribed. The position is the last message received. */
  _subscribe(topic: string, position: Position | undefined): void;
  _unsubscribe(topic: string): void;
  /** Sends an acknowledgement, if connected. */
  _ack(ack: Wire): void;
  /** Disconnects until resume; false if the connection is not this transport's. */
  _pause(): boolean;
  _resume(): void;
}

/** @internal What a Transport tells. */
export interface Events {
  _object(o: Wire): void;
  _change(change: StateChange): void;
  /** An error with final is the last event. */
  _error(error: ClientError): void;
}
