// The build for a <script> element: the exports are members of the global fanfare.
import {Client, localStorageStore, memoryStore} from "./index.js";

(globalThis as unknown as {fanfare: unknown}).fanfare = {Client, localStorageStore, memoryStore};
