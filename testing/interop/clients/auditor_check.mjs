#!/usr/bin/env node
// Runs the verifying part of docs/auditor.html without a page, on a ledger in a folder: all must hold. Then it breaks copies
// of the ledger in memory, and proofs from it: each break must be found. Then it drops the ledger on the page, in a stand-in
// for a browser (auditor_drop.mjs). It prints one JSON line {"client", "version", "ok", "seen", "size", "root"} and exits 0
// or 1 (2: usage).
//
//     auditor_check.mjs [--expect-fault] LEDGER VKEY [OLDER-CHECKPOINT]
//
// With --expect-fault, the ledger is broken, and that must be found. Needs Node 20 and nothing else.

import { readFile, readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { webcrypto } from "node:crypto";

import { drops } from "./auditor_drop.mjs";

const PAGE = fileURLToPath(new URL("../../../docs/auditor.html", import.meta.url));
const NAMES = ["audit", "base64", "concat", "fromHex", "hex", "utf8", "sha256", "treeHash", "splitBundle", "rootOfInclusion",
  "verifyEd25519", "verifyEd25519Here", "openProof", "openNote", "openCheckpoint", "openPolicy", "openKey", "tilePath", "engine"];

class Wrong extends Error {}

function need(holds, what) {
  if (!holds) throw new Wrong(what);
}

/** The functions of the page's first script, with this WebCrypto. */
function load(page, crypto) {
  const [, code] = /<script id="verify">\n([\s\S]*?)<\/script>/.exec(page) ?? [];
  need(code, "the page has no script `verify`");
  return new Script(`(function (crypto) {${code}\nreturn { ${NAMES.join(", ")} };\n})`).runInThisContext()(crypto);
}

/** A WebCrypto as of a browser that does not know Ed25519. */
function withoutEd25519() {
  const { subtle } = webcrypto;
  const refuse = async () => {
    throw new DOMException("Unrecognized name.", "NotSupportedError");
  };
  return { subtle: { digest: subtle.digest.bind(subtle), importKey: refuse, verify: refuse } };
}

async function readFolder(folder) {
  const found = new Map();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      found.set(`ledger/${relative(folder, path)}`, new Uint8Array(await readFile(path)));
    }
  }
  return found;
}

function asFiles(map) {
  return [...map].map(([path, bytes]) => ({ path, size: bytes.length, read: async () => bytes }));
}

/** States by verdict, of the first subject of a kind. */
function states(result, kind) {
  const subject = result.subjects.find((subject) => subject.kind === kind);
  need(subject, `there is no ${kind}`);
  return Object.fromEntries(subject.verdicts.map(({ name, state }) => [name, state]));
}

/** A small log of its own, with witnesses, for what the ledger at hand may not have. */
class Made {
  static async start(code) {
    const made = new Made();
    made.code = code;
    made.log = await made.key("made.example/log", 1);
    made.witnesses = await Promise.all(["w1", "w2", "w3"].map((name) => made.key(`witness.example/${name}`, 4)));
    const lines = made.witnesses.map(({ vkey }, at) => `witness w${at} ${vkey}`);
    made.policy = `log ${made.log.vkey}\n${lines.join("\n")}\ngroup g 2 w0 w1 w2\nquorum g\n`;
    return made;
  }

  async key(name, type) {
    const pair = await webcrypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    const typed = this.code.concat([type], new Uint8Array(await webcrypto.subtle.exportKey("raw", pair.publicKey)));
    const id = (await this.code.sha256(this.code.utf8(`${name}\n`), typed)).slice(0, 4);
    return { name, id, vkey: `${name}+${this.code.hex(id)}+${this.code.base64(typed)}`, pair };
  }

  async signature({ name, id, pair }, message, before = []) {
    const signed = new Uint8Array(await webcrypto.subtle.sign("Ed25519", pair.privateKey, this.code.utf8(message)));
    return `\u2014 ${name} ${this.code.base64(this.code.concat(id, before, signed))}\n`;
  }

  /** A checkpoint, cosigned by some of the witnesses, each over a text of its own if given. */
  async checkpoint(size, root, cosigners = [], over = null) {
    const text = `made.example/log\n${size}\n${this.code.base64(root)}\n`;
    let note = `${text}\n${await this.signature(this.log, text)}`;
    for (const at of cosigners) {
      const stamp = new Uint8Array(8);
      new DataView(stamp.buffer).setBigUint64(0, BigInt(NOW));
      note += await this.signature(this.witnesses[at], `cosignature/v1\ntime ${NOW}\n${over ?? text}`, stamp);
    }
    return this.code.utf8(note);
  }

  /** A ledger of these events. */
  async ledger(events, cosigners) {
    const { code } = this;
    const entries = events.map((event) => code.utf8(typeof event === "string" ? event : JSON.stringify(event)));
    const leaves = await Promise.all(entries.map((entry) => code.sha256([0], entry)));
    const files = new Map();
    let level = leaves;
    for (let height = 0; level.length > 0; height += 1) {
      const roots = [];
      for (let at = 0; at * 256 < level.length; at += 1) {
        const tile = level.slice(at * 256, at * 256 + 256);
        files.set(`ledger/${code.tilePath(String(height), at, tile.length)}`, code.concat(...tile));
        if (tile.length === 256) roots.push(await code.treeHash(tile));
        const bundle = height === 0 && entries.slice(at * 256, at * 256 + 256).flatMap((entry) => [[entry.length >> 8, entry.length & 255], entry]);
        if (bundle) files.set(`ledger/${code.tilePath("entries", at, tile.length)}`, code.concat(...bundle));
      }
      level = roots;
    }
    files.set("ledger/checkpoint", await this.checkpoint(entries.length, await code.treeHash(leaves), cosigners));
    return { files, leaves };
  }
}

class Check {
  constructor(page, files, vkey, older) {
    this.page = page;
    this.code = load(page, webcrypto);
    this.files = files;
    this.vkey = vkey;
    this.older = older;
    this.broken = 0;
  }

  audit(files, code = this.code, keys = this.vkey) {
    return code.audit(asFiles(files), { keys, now: NOW, maxAge: 24 * 3600 });
  }

  /** The page may speak to nobody. */
  silence() {
    need(/http-equiv="Content-Security-Policy"\s+content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"/.test(this.page), "the page has another content security policy");
    const forbidden = /\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|innerHTML|outerHTML|document\.write|eval)\b|(src|href)="|url\(|@import/;
    need(!forbidden.test(this.page), `the page has \`${forbidden.exec(this.page)?.[0]}\``);
  }

  /** RFC 8032 section 7.1, by the browser's Ed25519 and the page's own. */
  async signatures() {
    for (const [key, message, signature] of VECTORS) {
      const { fromHex, verifyEd25519, verifyEd25519Here } = this.code;
      for (const verify of [verifyEd25519, verifyEd25519Here]) {
        need(await verify(fromHex(key), fromHex(signature), fromHex(message)), `a signature of RFC 8032 fails ${verify.name}`);
        for (const at of [0, 31, 32, 63]) {
          const wrong = fromHex(signature);
          wrong[at] ^= 1;
          need(!(await verify(fromHex(key), wrong, fromHex(message))), `a wrong signature passes ${verify.name}`);
        }
        need(!(await verify(fromHex(key), fromHex(signature), fromHex(`${message}00`))), `another message passes ${verify.name}`);
      }
    }
  }

  async whole() {
    const files = new Map(this.files);
    if (this.older) files.set("older", this.older);
    const result = await this.audit(files);
    const found = states(result, "Ledger");
    const wanted = { Signature: "holds", Inclusion: "holds", Pruned: "holds", "Erased but proven": "holds" };
    if (this.older) wanted.Consistency = "holds";
    for (const [name, state] of Object.entries(wanted)) {
      const { text, more } = result.subjects[0].verdicts.find((verdict) => verdict.name === name);
      need(found[name] === state, `${name}: ${text} ${more.join(" ")}`);
    }
    need(result.state !== "fails", `something fails: ${JSON.stringify(found)}`);
    const own = load(this.page, withoutEd25519());
    const again = await this.audit(files, own);
    need(JSON.stringify(states(again, "Ledger")) === JSON.stringify(found), "without the browser's Ed25519 the verdicts differ");
    need(own.engine.ed25519.startsWith("this page"), "the browser's Ed25519 was used where there is none");
    const { size, root, verdicts } = result.subjects[0];
    return { text: verdicts[1].text, size, root };
  }

  /** What is dropped on the page is judged as when it is read here. */
  async dropped() {
    const { state, given } = await this.audit(this.files);
    try {
      await drops(this.page, this.files, this.vkey, { state, evidence: given.length });
    } catch (error) {
      throw new Wrong(error.message);
    }
  }

  /** A flipped bit at the beginning, middle and end of every file that counts, and every such file left out. */
  async breaks() {
    const counts = [...this.files.keys()].filter((path) => path === "ledger/checkpoint" || path.startsWith("ledger/tile/"));
    for (const path of sample(counts)) {
      const bytes = this.files.get(path);
      // Of a checkpoint, what the log signed and its signature: other signatures say nothing without their keys.
      const end = path.includes("tile") ? bytes.length : signatureEnd(bytes);
      for (const at of new Set([0, Math.floor(end / 3), end - 1])) {
        const changed = bytes.slice();
        changed[at] ^= 1;
        await this.mustFail(new Map(this.files).set(path, changed), `byte ${at} of ${path} may change`);
      }
      const fewer = new Map(this.files);
      fewer.delete(path);
      if (path !== "ledger/checkpoint" && !path.includes("entries")) await this.mustFail(fewer, `${path} may be missing`);
    }
    const forged = `${this.vkey.split("+")[0]}\n1\n`;
    await this.mustFail(new Map(this.files).set("ledger/checkpoint", this.code.utf8(forged)), "a checkpoint needs no signature");
  }

  async mustFail(files, otherwise) {
    this.broken += 1;
    need((await this.audit(files)).state === "fails", otherwise);
  }

  /** A proof of an entry, as a file and as a receipt; and of another entry. */
  async proofs() {
    const { index, entry, path, note, size, root } = await this.prove();
    const { utf8, base64 } = this.code;
    const proof = (index, hashes = path) => utf8(`c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes.map((hash) => `${base64(hash)}\n`).join("")}\n${note}`);
    const receipt = (root, leaf) => utf8(JSON.stringify({ chains: [{ proof: { index, size, root, path: path.map(base64), checkpoint: note, leaf } }] }));
    const other = this.code.concat(entry, utf8(" "));
    const inclusion = async (files, kind) => states(await this.audit(new Map(files)), kind).Inclusion;
    const wanted = [
      ["a proof", [["p.tlog-proof", proof(index)], ["entry", entry]], "Proof", "holds"],
      ["a proof without its entry", [["p.tlog-proof", proof(index)]], "Proof", "unchecked"],
      ["a proof with another entry", [["p.tlog-proof", proof(index)], ["entry", other]], "Proof", "fails"],
      ["a proof that is too long", [["p.tlog-proof", proof(index, [new Uint8Array(32), ...path])], ["entry", entry]], "Proof", "fails"],
      ["a proof that is too short", [["p.tlog-proof", proof(index, path.slice(1))], ["entry", path.length ? entry : other]], "Proof", "fails"],
      ["a proof of another index", [["p.tlog-proof", proof(index ^ 1)], ["entry", entry]], "Proof", "fails"],
      ["a receipt", [["r.json", receipt(root)], ["entry", entry]], "Receipt", "holds"],
      ["a receipt with the entry in it", [["r.json", receipt(root, new TextDecoder().decode(entry))]], "Receipt", "holds"],
      ["a receipt with another entry in it", [["r.json", receipt(root, new TextDecoder().decode(other))]], "Receipt", "fails"],
      ["a receipt with the ledger", [["r.json", receipt(root)], ...this.files], "Receipt", "holds"],
      ["a receipt of another root", [["r.json", receipt(base64(new Uint8Array(32)))], ["entry", entry]], "Receipt", "fails"],
    ];
    for (const [what, files, kind, state] of wanted) {
      const found = await inclusion(files, kind);
      need(found === state, `${what}: inclusion ${found}`);
    }
  }

  /** What is not written as the specifications say is refused. */
  async forms() {
    const made = await Made.start(this.code);
    const { files } = await made.ledger(["a", "b", "c", "d", "e"], []);
    const { index, path, note } = await new Check(this.page, files, made.log.vkey).prove();
    const { openProof, openKey, openPolicy, openNote, openCheckpoint, utf8, base64 } = this.code;
    const proof = `c2sp.org/tlog-proof@v1\nindex ${index}\n${path.map((hash) => `${base64(hash)}\n`).join("")}\n${note}`;
    const refused = async (what, open) => {
      const message = await Promise.resolve().then(open).then(() => null, (error) => error.constructor.name);
      need(message === "Broken", `${what} is ${message === null ? "accepted" : `a ${message}`}`);
    };
    for (const [from, to] of [["@v1", "@v2"], ["index ", "index 0"], ["index", "extra *\nindex"], [/\nindex.*/, ""], ["=\n", "= \n"], [/\n/g, "\r\n"], [/.(?==\n)/, "/"]]) {
      await refused(`a proof with ${from}`, () => openProof(utf8(proof.replace(from, to))));
    }
    const open = (text) => openCheckpoint(openNote(utf8(text)));
    const [origin, size, root] = note.split("\n");
    for (const [from, to] of [["\u2014", "-"], [`\n${size}\n`, `\n0${size}\n`], [`\n${size}\n`, `\n-${size}\n`], [root, root.slice(4)], [root, root.replace(/.=$/, "/=")], [/\n/g, "\r\n"], [/\n$/, ""], ["\n\n", "\n"], [origin, ""], [" ", "\u0001"]]) {
      await refused(`a checkpoint with ${from}`, () => open(note.replace(from, to)));
    }
    const { vkey: whole } = made.log;
    const [name, id, key] = whole.split(/\+(.{8})\+/);
    for (const vkey of ["", name, `${name}+${id}`, `${name}+00000000+${key}`, `x${name}+${id}+${key}`, `${name}+${id.toUpperCase()}A+${key}`, `${name}+${id}+${key.slice(4)}`]) {
      await refused(`the key ${vkey}`, () => openKey(vkey));
    }
    const witness = made.policy.split("\n").filter((line) => line.startsWith("witness"));
    const policies = ["", `log ${whole}`, `log ${whole}\nlog ${whole}\nquorum none`, "quorum none\nquorum none", "quorum w", `${witness[0]}\n${witness[0]}\nquorum w0`,
      `${witness[0]}\ngroup g 2 w0\nquorum g`, `${witness[0]}\ngroup g 0 w0\nquorum g`, `${witness[0]}\ngroup g any w0 w0\nquorum g`, `group g any w0\n${witness[0]}\nquorum g`,
      `${witness[0]}\ngroup w0 any w0\nquorum w0`, `witness w0 ${whole}\nquorum w0`, `log ${witness[0].split(" ")[2]}\nquorum none`, "nonsense\nquorum none"];
    for (const policy of policies) await refused(`the policy ${policy}`, () => openPolicy(policy));
    await openPolicy(`# all of it\n\tlog  ${whole}\thttps://log.example \n\n${witness.join("\n")}\ngroup a 2 w0 w1\ngroup b all a w2\nquorum b\n`);
  }

  /** Verdicts that need witnesses, pruning, erasure or numbers, on a log made for them. */
  async verdicts() {
    const made = await Made.start(this.code);
    const event = (iseq, what) => ({ id: `ev_${iseq}`, iseq, obs: "obs_1", ts: NOW * 1e6, v: 2, what });
    const plain = Array.from({ length: 600 }, (_, at) => event(at + 1, { kind: "settled" }));
    const { files, leaves } = await made.ledger(plain, [0, 1]);
    const root = await this.code.treeHash(leaves);
    const old = async (size, cosigners) => made.checkpoint(size, await this.code.treeHash(leaves.slice(0, size)), cosigners);
    const has = async (what, changed, wanted, keys = made.policy, from = files) => {
      const found = states(await this.audit(new Map([...from, ...changed]), this.code, keys), "Ledger");
      for (const [name, state] of Object.entries(wanted)) need(found[name] === state, `${what}: ${name} ${found[name]}`);
      this.broken += Object.values(wanted).includes("fails") ? 1 : 0;
    };
    const head = async (...cosigned) => [["ledger/checkpoint", await made.checkpoint(600, root, ...cosigned)]];
    const [other] = leaves;
    await has("a quorum", [], { Signature: "holds", Inclusion: "holds", "Witness quorum": "holds", Freshness: "holds", Sequence: "holds" });
    await has("one witness of two", await head([2]), { Signature: "holds", "Witness quorum": "fails" });
    await has("a cosignature of another tree", await head([0, 1], `made.example/log\n5\n${this.code.base64(other)}\n`), { "Witness quorum": "fails" });
    await has("one witness, a quorum before", [...(await head([2])), ["old", await old(300, [0, 1])]], { "Witness quorum": "limited", Consistency: "holds" });
    await has("no policy", [], { "Witness quorum": "unchecked", Freshness: "limited" }, made.log.vkey);
    await has("nobody trusted", [], { Signature: "unchecked" }, "");
    await has("the ledger's own key", [["ledger/verifier", this.code.utf8(made.log.vkey)]], { Signature: "limited" }, "");
    for (const size of [1, 256, 300, 512, 600]) await has(`the tree of ${size}`, [["old", await old(size)]], { Consistency: "holds" });
    for (const size of [1, 300, 600]) await has(`another tree of ${size}`, [["old", await made.checkpoint(size, leaves[1])]], { Consistency: "fails" });
    await has("a longer tree", [["old", await made.checkpoint(601, other)]], { Consistency: "unchecked" });

    const without = (...paths) => new Map([...files].filter(([path]) => !paths.includes(path)));
    const first = "ledger/tile/entries/000";
    await has("a pruned bundle", [], { Inclusion: "holds", Pruned: "limited", Sequence: "holds" }, made.policy, without(first));
    await has("a pruned bundle and tile", [], { Inclusion: "holds", Pruned: "limited" }, made.policy, without(first, "ledger/tile/0/000"));
    await has("a lost bundle", [], { Pruned: "fails" }, made.policy, without("ledger/tile/entries/001"));
    const rule = await made.ledger([...plain.slice(0, 599), event(600, { kind: "pruned", below: 256, policy: "six months" })], [0, 1]);
    rule.files.delete(first);
    await has("a pruned bundle with a rule", [], { Inclusion: "holds", Pruned: "holds" }, made.policy, rule.files);

    const hole = await made.ledger([event(1, {}), event(4, {})], []);
    await has("a hole in the numbers", [], { Sequence: "fails" }, made.policy, hole.files);
    const gap = await made.ledger([event(1, {}), event(4, {}), event(5, { kind: "gap", observer: "obs_1", from: 2, to: 3 })], []);
    await has("a gap that is admitted", [], { Sequence: "limited" }, made.policy, gap.files);
    await this.erasure(made, event);
  }

  /** A commitment opens to its content and to no other; without an opening its entry is proven all the same. */
  async erasure(made, event) {
    const salt = "000102030405060708090a0b0c0d0e0f";
    const digest = await this.code.sha256(this.code.utf8("a purpose"));
    const commitment = `commit:${this.code.hex(await this.code.sha256(this.code.fromHex(salt), digest))}`;
    const entry = JSON.stringify(event(1, { kind: "task_started", task: { purpose: commitment } }));
    const { files, leaves } = await made.ledger([entry, event(2, { kind: "erased", pseudonym: "user:~00" })], [0, 1]);
    const path = this.code.base64(leaves[1]);
    const note = new TextDecoder().decode(files.get("ledger/checkpoint"));
    const proof = this.code.utf8(`c2sp.org/tlog-proof@v1\nindex 0\n${path}\n\n${note}`);
    const judged = async (opening) => {
      const given = [["p.tlog-proof", proof], ["entry", this.code.utf8(entry)]];
      if (opening) given.push(["openings.json", this.code.utf8(JSON.stringify([opening]))]);
      return states(await this.audit(new Map(given), this.code, made.policy), "Proof");
    };
    const opening = { field: "/what/task/purpose", salt, value: "a purpose", commitment };
    const name = "Erased but proven";
    for (const [what, given, state] of [
      ["no opening", null, "holds"],
      ["an opening", opening, "holds"],
      ["a digest that opens", { ...opening, value: `sha256:${this.code.hex(digest)}` }, "holds"],
      ["another content", { ...opening, value: "another purpose" }, "fails"],
      ["another field", { ...opening, field: "/what/kind" }, "fails"],
    ]) {
      const found = await judged(given);
      need(found[name] === state && found.Inclusion === "holds", `${what}: ${found[name]}, inclusion ${found.Inclusion}`);
    }
    await this.contents(made, [["p.tlog-proof", proof], ["entry", this.code.utf8(entry)]], { ...opening, value: `sha256:${this.code.hex(digest)}` });
  }

  /** A file is the content that an entry commits to, or it is said that nothing here is of it. */
  async contents(made, evidence, opening) {
    const openings = ["openings.json", this.code.utf8(JSON.stringify([opening]))];
    const letters = [["letter", this.code.utf8("a purpose")], ["stranger", this.code.utf8("another purpose")]];
    const result = await this.audit(new Map([...evidence, openings, ...letters]), this.code, made.policy);
    const proof = result.subjects.find(({ kind }) => kind === "Proof");
    const content = proof.verdicts.find(({ name }) => name === "Content");
    need(proof.proven && content?.state === "holds" && content.text.includes("`letter` at /what/task/purpose"), `the letter: ${content?.text}`);
    const others = result.subjects.filter(({ kind }) => kind === "File");
    need(others.length === 1 && others[0].name === "stranger" && others[0].verdicts[0].state === "unchecked", "the stranger's letter");
    const wrong = { ...opening, salt: opening.salt.replace("0", "1") };
    const spoiled = await this.audit(new Map([...evidence, ["openings.json", this.code.utf8(JSON.stringify([wrong]))], ...letters]), this.code, made.policy);
    need(spoiled.subjects.filter(({ kind }) => kind === "File").length === 2, "an opening that does not fit shows nothing");
  }

  /** An inclusion proof, made from the entries as RFC 6962 section 2.1.1 says. */
  async prove() {
    const note = new TextDecoder().decode(this.files.get("ledger/checkpoint"));
    const [, written, root] = note.split("\n");
    const size = Number(written);
    const entries = [];
    for (let at = 0; at * 256 < size; at += 1) {
      const held = Math.min(256, size - at * 256);
      const full = this.code.tilePath("entries", at, 256);
      const path = this.files.has(`ledger/${full}`) ? full : this.code.tilePath("entries", at, held);
      entries.push(...this.code.splitBundle({ data: this.files.get(`ledger/${path}`), path, held: path === full ? 256 : held }).slice(0, held));
    }
    const leaves = await Promise.all(entries.map((entry) => this.code.sha256(Uint8Array.of(0), entry)));
    const index = Math.floor(size / 2);
    return { index, entry: entries[index], path: await this.path(index, leaves), note, size, root };
  }

  async path(index, leaves) {
    if (leaves.length < 2) return [];
    let split = 1;
    while (split * 2 < leaves.length) split *= 2;
    const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
    if (index < split) return [...(await this.path(index, left)), await this.code.treeHash(right)];
    return [...(await this.path(index - split, right)), await this.code.treeHash(left)];
  }
}

const NOW = Math.floor(Date.now() / 1000);

/** Behind the last byte that counts of the log's own signature line. */
function signatureEnd(bytes) {
  const note = Buffer.from(bytes);
  const name = note.subarray(0, note.indexOf("\n")).toString();
  const line = note.indexOf(`\u2014 ${name} `);
  return note.indexOf("\n", line) - 2;
}

/** At most a dozen of a list, from all over it. */
function sample(list) {
  const step = Math.max(1, Math.floor(list.length / 12));
  return list.filter((_, at) => at % step === 0);
}

const VECTORS = [
  ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"],
  ["3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"],
  ["fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"],
];

async function check(args, expect) {
  const [folder, vkey, older] = args;
  const page = await readFile(PAGE, "utf8");
  const [, version] = /<meta name="version" content="([^"]+)">/.exec(page) ?? [];
  try {
    const check = new Check(page, await readFolder(folder), vkey, older && new Uint8Array(await readFile(older)));
    if (expect) return { version, ...(await fault(check)) };
    check.silence();
    await check.signatures();
    const { text, size, root } = await check.whole();
    await check.breaks();
    await check.proofs();
    await check.forms();
    await check.verdicts();
    await check.dropped();
    const seen = `${text}; ${check.broken} breaks found, proofs and receipts judged, with and without the browser's Ed25519, files and folders dropped`;
    return { version, ok: true, seen, size, root };
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { version, ok: false, seen: error.message };
  }
}

async function fault(check) {
  const result = await check.audit(check.files);
  const wrong = result.subjects.flatMap(({ verdicts }) => verdicts).filter(({ state }) => state === "fails");
  const seen = wrong.map(({ name, text, more }) => `${name}: ${[text, ...more].join("; ")}`).join(". ");
  return wrong.length > 0 ? { ok: true, seen: `found: ${seen}` } : { ok: false, seen: "no fault was found" };
}

// Node calls its Ed25519 experimental on standard error.
process.removeAllListeners("warning");
const args = process.argv.slice(2).filter((arg) => arg !== "--expect-fault");
if (args.length < 2 || args.length > 3) {
  console.error("usage: auditor_check.mjs [--expect-fault] LEDGER VKEY [OLDER-CHECKPOINT]");
  process.exit(2);
}
const line = await check(args, process.argv.includes("--expect-fault"));
console.log(JSON.stringify({ client: "auditor-page", ...line }));
process.exit(line.ok ? 0 : 1);
