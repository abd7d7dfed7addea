// Builds the page into the folder that the API serves: once when the project is set up, never while it runs.
import { copyFile, mkdir, rm } from "node:fs/promises";
import { build } from "esbuild";

const target = new URL("../api/web/", import.meta.url);
await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await build({
  entryPoints: ["src/app.tsx"],
  outdir: target.pathname,
  bundle: true,
  minify: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "linked",
  chunkNames: "[name]-[hash]",
});
for (const name of ["index.html", "icon.svg"]) await copyFile(new URL(`src/${name}`, import.meta.url), new URL(name, target));
