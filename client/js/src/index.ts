export {Client} from "./client.js";
export {localStorageStore, memoryStore, type StringStorage} from "./store.js";
export type {
  ClientError, ClientOptions, Gap, Handler, Message, Position, PositionStore, Socket, State, StateChange, WebSocketClass,
} from "./types.js";
