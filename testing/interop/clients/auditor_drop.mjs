// Drops files and folders on docs/auditor.html. There is no browser: the page's scripts run over a stand-in for as much of a
// document as they use, and over stand-ins for what browsers hand over with a drop, in each of the ways in which they do.

import { Script } from "node:vm";
import { webcrypto } from "node:crypto";

/** As much of an element as the page uses. */
class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], attributes: {}, listeners: {}, className: "", textContent: "", value: "", classes: new Set() });
    this.classList = { add: (name) => this.classes.add(name), remove: (name) => this.classes.delete(name) };
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  append(...inner) {
    this.children.push(...inner);
  }

  replaceChildren(...inner) {
    this.children = inner;
  }

  addEventListener(name, listener) {
    (this.listeners[name] ??= []).push(listener);
  }

  click() {
    this.dispatch("click", {});
  }

  /** Whether the page kept the browser from doing what it would do by itself. */
  dispatch(name, event) {
    let prevented = false;
    const given = { ...event, preventDefault: () => (prevented = true) };
    (this.listeners[name] ?? []).forEach((listener) => listener(given));
    return prevented;
  }
}

/** The page as it is when it has been opened. */
class Page {
  constructor(html, keys) {
    const code = [...html.matchAll(/<script id="(?:verify|page)">\n([\s\S]*?)<\/script>/g)].map(([, text]) => text);
    if (code.length !== 2) throw new Error("the page has not two scripts");
    this.ids = new Map([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => [id, new Element(id)]));
    this.document = new Element("document");
    this.document.getElementById = (id) => this.ids.get(id) ?? null;
    this.document.createElement = (tag) => new Element(tag);
    this.at("keys").value = keys;
    this.at("age").value = "24";
    new Script(`(function (document, window, crypto) {${code.join("\n")}\n})`).runInThisContext()(this.document, {}, webcrypto);
  }

  at(id) {
    return this.ids.get(id);
  }

  /** What the page says in the end, and how many pieces of evidence it names. */
  async drop(items) {
    const { document } = this;
    const drop = this.at("drop");
    need(document.dispatch("dragenter", {}) && document.dispatch("dragover", {}), "the browser would open what is dragged over the page");
    need(drop.classes.has("over"), "nothing shows where to drop");
    this.at("summary").textContent = "";
    const transfer = new Transfer(items);
    need(document.dispatch("drop", { dataTransfer: transfer }), "the browser would open what is dropped");
    transfer.isOver = true;
    need(!drop.classes.has("over"), "the page goes on showing where to drop");
    return this.settled();
  }

  choose(kind, list) {
    this.at("summary").textContent = "";
    this.at(kind).files = list;
    this.at(kind).dispatch("change", {});
    return this.settled();
  }

  async settled() {
    for (let same = 0, last = ""; same < 5; ) {
      await new Promise((done) => setTimeout(done, 20));
      const said = this.at("summary").textContent;
      same = said !== "" && said === last && !said.startsWith("Verifying") ? same + 1 : 0;
      last = said;
    }
    const { className: state, textContent: text } = this.at("summary");
    return { state, text, evidence: this.at("evidence").children.length };
  }
}

/** What a browser hands over with a drop. Once the event is over it gives nothing any more. */
class Transfer {
  constructor(items) {
    this.isOver = false;
    this.given = items;
  }

  get items() {
    return this.given.map(({ kind = "file", file = null, entry, handle }) => ({
      kind,
      getAsFile: () => (this.isOver ? null : file),
      ...(entry && { webkitGetAsEntry: () => (this.isOver ? null : entry) }),
      ...(handle && { getAsFileSystemHandle: () => (this.isOver ? Promise.reject(new Error("the drop is over")) : handle()) }),
    }));
  }
}

/** A folder of a map from paths to bytes: names to files and folders. */
function folder(files) {
  const root = new Map();
  for (const [path, bytes] of files) {
    const parts = path.split("/");
    const name = parts.pop();
    const place = parts.reduce((at, part) => at.get(part) ?? at.set(part, new Map()).get(part), root);
    place.set(name, new File([bytes], name));
  }
  return root;
}

/** As File System Access has it. */
function asHandle(name, what) {
  if (what instanceof File) return { kind: "file", name, getFile: async () => what };
  const entries = async function* () {
    for (const [child, inner] of what) yield [child, asHandle(child, inner)];
  };
  return { kind: "directory", name, entries };
}

/** As File and Directory Entries has it: a hundred at a time, and none at the end. */
function asEntry(name, what) {
  if (what instanceof File) return { isDirectory: false, name, file: (done) => setTimeout(done, 0, what) };
  const createReader = () => {
    const left = [...what].map(([child, inner]) => asEntry(child, inner));
    return { readEntries: (done) => setTimeout(done, 0, left.splice(0, 100)) };
  };
  return { isDirectory: true, name, createReader };
}

function need(holds, what) {
  if (!holds) throw new Error(`dropping: ${what}`);
}

/** Every way of dropping a ledger gives what `wanted` says of it; a broken one, and one that cannot be read, fail. */
export async function drops(html, ledger, keys, wanted) {
  const names = new Map([...ledger].map(([path, bytes]) => [path.replace(/^ledger\//, ""), bytes]));
  const whole = folder(names);
  const broken = new Map(names);
  const bundle = [...names.keys()].find((path) => path.startsWith("tile/entries/"));
  broken.set(bundle, names.get(bundle).map((byte, at) => (at === 9 ? byte ^ 1 : byte)));
  const denied = () => Promise.reject(new DOMException("not on a local page", "NotAllowedError"));
  const unreadable = { isDirectory: true, name: "ledger", createReader: () => ({ readEntries: (done, fail) => setTimeout(fail, 0, new Error("refused")) }) };
  const text = { kind: "string" };
  // The folder's own "file", which browsers hand over beside it and which cannot be read.
  const file = new File([], "ledger");
  const ways = {
    "a handle": { file, handle: async () => asHandle("ledger", whole) },
    "an entry": { file, entry: asEntry("ledger", whole) },
    "an entry, where handles are denied": { file, handle: denied, entry: asEntry("ledger", whole) },
    "both": { file, handle: async () => asHandle("ledger", whole), entry: asEntry("ledger", whole) },
  };
  let told;
  for (const [name, way] of Object.entries(ways)) {
    const found = await new Page(html, keys).drop([text, way]);
    told ??= found.text;
    need(found.state === wanted.state && found.evidence === wanted.evidence && found.text === told, `${name}: ${JSON.stringify(found)}`);
  }
  const page = new Page(html, keys);
  const changed = await page.drop([{ file, entry: asEntry("ledger", folder(broken)) }]);
  need(changed.state === "fails", `a changed ledger: ${JSON.stringify(changed)}`);
  page.at("clear").click();
  need((await page.settled()).evidence === 0, "nothing is cleared");
  // A checkpoint and its key as two files, without the ledger.
  const two = ["checkpoint", "verifier"].filter((path) => names.has(path)).map((path) => ({ file: new File([names.get(path)], path), entry: asEntry(path, new File([names.get(path)], path)) }));
  const files = await page.drop(two);
  need(files.evidence === two.length && files.state !== "fails", `files: ${JSON.stringify(files)}`);
  const notes = Array.from({ length: 250 }, (_, at) => [`note-${at}.txt`, new Uint8Array([10])]);
  const many = await new Page(html, keys).drop([{ file, entry: asEntry("ledger", folder([...notes, ...names])) }]);
  need(many.evidence >= wanted.evidence && many.text === told, `a folder with more than a hundred files: ${JSON.stringify(many)}`);
  const refused = await new Page(html, keys).drop([{ file, entry: unreadable }]);
  need(refused.state === "fails" && refused.text.includes("Choose a folder"), `a folder that is refused: ${JSON.stringify(refused)}`);
  const chosen = [...names].map(([path, bytes]) => Object.assign(new File([bytes], path.split("/").pop()), { webkitRelativePath: `ledger/${path}` }));
  const picked = await new Page(html, keys).choose("folder", chosen);
  need(picked.state === wanted.state && picked.evidence === wanted.evidence, `a chosen folder: ${JSON.stringify(picked)}`);
}
