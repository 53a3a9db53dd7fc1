import type {Position, PositionStore} from "./types.js";

/** Keeps positions until the program ends. */
export function memoryStore(): PositionStore {
  const positions = new Map<string, Position>();
  return {
    load: key => positions.get(key),
    save: (key, position) => void positions.set(key, position),
  };
}

/** The part of the Storage interface that localStorageStore needs. */
export interface StringStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/**
 * Keeps positions in localStorage, or in a storage like it. A lower offset of the same epoch is not saved, since tabs
 * write the same keys.
 */
export function localStorageStore(storage: StringStorage = localStorage): PositionStore {
  const load = (key: string): Position | undefined => {
    try {
      const p = JSON.parse(storage.getItem(key)!);
      return Number.isSafeInteger(p.offset) && typeof p.epoch === "string" ? {offset: p.offset, epoch: p.epoch} : undefined;
    } catch {
      return undefined; // never saved, or by another program
    }
  };
  return {
    load,
    save(key, position) {
      const saved = load(key);
      if (saved && saved.epoch === position.epoch && saved.offset >= position.offset) return;
      storage.setItem(key, JSON.stringify(position));
    },
  };
}
