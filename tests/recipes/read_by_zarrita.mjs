// Prints the arrays of a store as JSON, as zarrita.js reads them: node read_by_zarrita.mjs STORE NAME…
import { FileSystemStore } from "@zarrita/storage";
import * as zarr from "zarrita";

const [store, ...names] = process.argv.slice(2);
const root = zarr.root(new FileSystemStore(store));
const found = {};
for (const name of names) {
  const array = await zarr.open.v3(root.resolve(name), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  found[name] = { shape, values: Array.from(data, (value) => (typeof value === "bigint" ? String(value) : value)) };
}
console.log(JSON.stringify(found));
