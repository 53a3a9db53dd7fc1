import type {ClientOptions} from "./types.js";

/** @internal How to reconnect: not before _floor, and at a random time in _spread, or in the growing delay if that is longer. */
export interface Delay {
  _floor?: number;
  _spread?: number;
}

// mostRetry bounds the seconds that a server, or a proxy, may ask for.
const mostRetry = 300;

/** @internal backoff returns the bound of a random delay, which doubles with each failure. */
export const backoff = (o: ClientOptions, failures: number) =>
  Math.min(o.maxDelay ?? 30_000, (o.minDelay ?? 1_000) * 2 ** Math.min(failures, 30));

const final = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3003];

/** @internal afterClose returns undefined if a reconnect is of no use. hasToken: a new token can be had. */
export function afterClose(code: number, reason: string, hasToken: boolean): Delay | undefined {
  if (final.includes(code) || code === 3000 && !hasToken) return undefined;
  switch (code) {
  case 1001: // the server leaves: all of its clients come at once
  case 1012:
    return {_spread: Math.min(+(/; *retry=(\d+) *(;|$)/.exec(reason)?.[1] ?? 5), mostRetry) * 1_000};
  case 1013: // slow consumer, or short of memory
    return {_floor: 1_000, _spread: 10_000};
  case 1011:
    return {_floor: 1_000};
  }
  return {};
}

/** @internal afterStatus is afterClose for a rejected handshake. retryAfter is in seconds. */
export function afterStatus(status: number | undefined, hasToken: boolean, retryAfter: number): Delay | undefined {
  if (status === 400 || status === 403 || status === 426 || status === 401 && !hasToken) return undefined;
  return {_floor: Math.min(retryAfter > 0 ? retryAfter : 0, mostRetry) * 1_000};
}
