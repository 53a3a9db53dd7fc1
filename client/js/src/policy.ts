/** @internal How to reconnect: not before floor, and at a random time in spread, or in the growing delay if that is longer. */
export interface Delay {
  floor: number;
  spread: number;
}

const final = [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3003];

/** @internal afterClose returns undefined if a reconnect is of no use. hasToken: a new token can be had. */
export function afterClose(code: number, hasToken: boolean): Delay | undefined {
  if (final.includes(code) || code === 3000 && !hasToken) return undefined;
  switch (code) {
  case 1001: // the server leaves: all of its clients come at once
  case 1012:
    return {floor: 0, spread: 5_000};
  case 1013: // slow consumer, or short of memory
    return {floor: 1_000, spread: 10_000};
  case 1011:
    return {floor: 1_000, spread: 0};
  }
  return {floor: 0, spread: 0};
}

/** @internal afterStatus is afterClose for a rejected handshake. retryAfter is in seconds. */
export function afterStatus(status: number | undefined, hasToken: boolean, retryAfter: number): Delay | undefined {
  if (status === 400 || status === 403 || status === 426 || status === 401 && !hasToken) return undefined;
  return {floor: Math.min(retryAfter > 0 ? retryAfter : 0, 300) * 1_000, spread: 0};
}
