import type {Position} from "./types.js";

/** @internal An object of fanfare.v1, in either direction. Members that are not listed are ignored. */
export interface Wire {
  type: string;
  topic?: string;
  offset?: number;
  epoch?: string;
  gap?: boolean;
  text?: string;
  base64?: string;
  utf8?: boolean;
  user?: string;
  code?: string;
  message?: string;
  token?: string;
  ticket?: string;
  expires_in?: number; // seconds
}

/** @internal position returns where an object is, if it says so. */
export const position = (o: Wire): Position | undefined =>
  o.offset !== undefined && o.epoch ? {offset: o.offset, epoch: o.epoch} : undefined;

/** @internal parse returns undefined for what is not an object with a type. */
export function parse(data: unknown): Wire | undefined {
  try {
    const o = JSON.parse(data as string);
    return typeof o.type === "string" ? o : undefined;
  } catch {
    return undefined;
  }
}

/** @internal decode returns the payload of a message. */
export function decode(o: Wire): {text?: string; bytes?: Uint8Array} {
  if (o.base64 === undefined) return {text: o.text ?? ""};
  const binary = atob(o.base64);
  return o.utf8 ? {text: fromUTF8(binary)} : {bytes: Uint8Array.from(binary, c => c.charCodeAt(0))};
}

// fromUTF8 does not need TextDecoder, which React Native lacked for long. escape is deprecated, and every runtime has it.
const fromUTF8 = (binary: string) => decodeURIComponent(escape(binary));

/** @internal utf8 decodes the bytes of a binary message. */
export const utf8 = (bytes: Uint8Array) => fromUTF8(bytes.reduce((s, b) => s + String.fromCharCode(b), ""));

/** @internal advance notes where an object leaves its inbox ("") or topic, if that is one of places. */
export function advance(places: Map<string, Position | undefined>, o: Wire): void {
  const at = position(o), topic = o.topic ?? "";
  if (!at || !places.has(topic)) return;
  const was = places.get(topic);
  if (was && was.epoch === at.epoch && was.offset > at.offset) return;
  places.set(topic, at);
}
