// Writes dist: index.js, an ES module for bundlers and Node, and fanfare.min.js, which defines the global fanfare for a
// <script> element. tsc has written the types.
import {build} from "esbuild";

const common = {bundle: true, target: "es2022"};
await build({...common, entryPoints: ["src/index.ts"], format: "esm", outfile: "dist/index.js"});
await build({...common, entryPoints: ["src/global.ts"], format: "iife", minify: true, mangleProps: /^_/, outfile: "dist/fanfare.min.js"});
