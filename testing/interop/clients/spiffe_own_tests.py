#!/usr/bin/env python3
"""The crate `spiffe`'s own ignored Workload API tests, run from a copy (a model for the interop stage).

    spiffe_own_tests.py REPOSITORY COPY EXECUTABLE SOCKET

Takes the source that cargo has already fetched (Cargo.lock pins it, its checksum guards it), builds three of its test
files without the two dev-dependencies that only its other tests use, puts each test binary in turn at EXECUTABLE (the
path that both identities have as their selector), and runs each ignored test in a process of its own with a limit.
"""
import json, os, re, shutil, subprocess, sys
from pathlib import Path

repo, copy, executable, socket = map(Path, sys.argv[1:])
FILES = ("workload_api_client", "jwt_source", "x509_source")
WELL_KNOWN = Path("/tmp/spire-agent/public/api.sock")  # two tests have it written into them

meta = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=repo))
source = next(Path(p["manifest_path"]).parent for p in meta["packages"] if p["name"] == "spiffe")
shutil.rmtree(copy, ignore_errors=True)
shutil.copytree(source, copy)
(copy / "Cargo.lock").unlink(missing_ok=True)
shutil.copy(repo / "Cargo.lock", copy / "Cargo.lock")
text = (copy / "Cargo.toml").read_text()
for name in ("openssl", "p256"):
    text = re.sub(rf"(?ms)^\[dev-dependencies\.{name}\]\n.*?(?=^\[)", "", text)
for name in ("jwt_authority_policy", "x509_bundle", "x509_svid"):
    text = re.sub(rf'(?m)^\[\[test\]\]\nname = "{name}"\npath = .*\n\n?', "", text)
(copy / "Cargo.toml").write_text(text + "\n[workspace]\n")

# `workload-api` is needed: without it the 14 tests of workload_api_client.rs are compiled away and nothing is run.
build = ["cargo", "test", "--no-run", "--message-format=json", "--features", "workload-api,x509-source,jwt-source"]
build += [word for name in FILES for word in ("--test", name)]
out = subprocess.run(build, cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": str(repo / "target")}, stdout=subprocess.PIPE, check=True, text=True)
built = {m["target"]["name"]: m["executable"] for m in map(json.loads, out.stdout.splitlines()) if m.get("reason") == "compiler-artifact" and m.get("executable")}

WELL_KNOWN.parent.mkdir(parents=True, exist_ok=True)
WELL_KNOWN.unlink(missing_ok=True); WELL_KNOWN.symlink_to(socket)
env = {**os.environ, "SPIFFE_ENDPOINT_SOCKET": f"unix:{WELL_KNOWN}"}
counts = {"passed": 0, "failed": 0, "hung": 0}
for name in FILES:
    executable.unlink(missing_ok=True); shutil.copy(built[name], executable)
    listed = subprocess.check_output([executable, "--ignored", "--list", "--format=terse"], env=env, text=True)
    for test in (l.removesuffix(": test") for l in listed.splitlines() if l.endswith(": test")):
        try:
            done = subprocess.run([executable, "--ignored", "--exact", test], env=env, capture_output=True, text=True, timeout=30)
            ran = "1 passed" in done.stdout
            verdict = "passed" if done.returncode == 0 and ran else "failed"
        except subprocess.TimeoutExpired:
            verdict = "hung"
        counts[verdict] += 1
        if verdict != "passed":
            print(verdict, name, test.split("::")[-1])
shutil.rmtree(WELL_KNOWN.parent.parent)
print(json.dumps({"client": "spiffe-rust-own-tests", "version": next(p["version"] for p in meta["packages"] if p["name"] == "spiffe"), "ok": counts["passed"] == 60, "seen": counts}))
