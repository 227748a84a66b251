//! Bad input at the command line: a clear error, an exit code, and nothing changed.

use crate::process::finish;
use crate::world::World;

/// A world, and what a bad manifest must leave as it is.
struct Unchanged {
    world: World,
    plan: String,
    entries: u64,
}

impl Unchanged {
    fn new() -> Self {
        let world = World::with_example();
        let plan = world.run(&["plan", "-f", &world.path("example")]).out;
        Self { entries: world.entries(), plan, world }
    }

    /// Planning and applying the manifest in `dir` fails as bad input that names `words`, and changes nothing.
    #[track_caller]
    fn refuses(&self, dir: &str, words: &[&str]) {
        let dir = self.world.path(dir);
        for verb in ["plan", "apply"] {
            self.world.run(&[verb, "-f", &dir]).must(2, words);
        }
        assert_eq!(self.world.entries(), self.entries, "the log has grown");
        assert_eq!(self.world.run(&["plan", "-f", &self.world.path("example")]).out, self.plan);
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_named() {
    let it = Unchanged::new();
    it.refuses("nowhere", &["nowhere", "No such file or directory"]);
    it.refuses("example/identities.yaml", &["identities.yaml", "Not a directory"]);
    std::fs::create_dir(it.world.path("empty")).unwrap();
    it.refuses("empty", &["found none", "marque init"]);
    std::fs::create_dir(it.world.path("bytes")).unwrap();
    std::fs::write(it.world.path("bytes/a.yaml"), b"identities: \xff\xfe\n").unwrap();
    it.refuses("bytes", &["a.yaml:1", "UTF-8"]);
}

#[test]
fn errors_of_a_manifest_name_file_line_column_and_field_all_at_once() {
    let it = Unchanged::new();
    it.world.write(
        "bad/a.yaml",
        "identities:\n  - name: agent/a\n    kind: robot\n    owner: alice@example.com\n    purpose: x\n    \
         ceiling: [\"fly:tool:x/y\"]\n",
    );
    it.world.write("bad/deeper/b.yaml", "resources:\n  - id: tool:x/y\n    risk: none\n  - ident: tool:x/z\n");
    let words = ["a.yaml:3:11: identities[0].kind:", "found `robot`", "a.yaml:6:15: identities[0].ceiling[0]:", "found `fly`"];
    it.refuses("bad", &words);
    it.refuses("bad", &["nothing was changed", "deeper/b.yaml:4:5: resources[1].ident: expected one of the keys"]);

    it.world.write("open/a.yaml", "identities: [\n");
    it.refuses("open", &["a.yaml:1:13:", "valid YAML"]);
    it.world.write("deep/a.yaml", &format!("identities: {}\n", "[".repeat(20_000)));
    it.refuses("deep", &["a.yaml:1:"]);
    let aliases = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    it.world.write("bomb/a.yaml", &format!("{aliases}d: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nidentities: []\n"));
    it.refuses("bomb", &["a.yaml:"]);
    let json = finish(it.world.command(&["--json", "apply", "-f", &it.world.path("bad")]), "");
    let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(error["code"], 2, "{json:?}");
}

#[test]
fn a_step_that_does_not_exist_is_named_with_its_file_and_line() {
    let it = Unchanged::new();
    let text =
        "identities:\n  - name: agent/a\n    kind: agent\n    owner: alice@example.com\n    purpose: x\n    state: retired\n";
    it.world.write("new/a.yaml", text);
    it.refuses("new", &["a.yaml:6:12: identities[0].state: expected proposed or active, for the identity is new"]);
}

#[test]
fn a_bad_policy_is_named_with_its_file_and_line() {
    let it = Unchanged::new();
    let good = "@id(\"a\")\npermit (principal, action, resource);\n\n";
    it.world.write(
        "type/p/x.cedar",
        &format!("{good}@id(\"b\")\nforbid (principal, action, resource)\nwhen {{ resource.nothing }};\n"),
    );
    it.refuses("type", &["p/x.cedar:6:", "`nothing`"]);
    it.world.write("syntax/x.cedar", &format!("{good}@id(\"b\")\nforbid (principal action, resource);\n"));
    it.refuses("syntax", &["x.cedar:5:", "unexpected token `action`"]);
    it.world.write("twice/x.cedar", &format!("{good}{good}"));
    it.refuses("twice", &["x.cedar:", "another policy is called `a` already"]);
    it.world.write("nameless/x.cedar", "permit (principal, action, resource);\n");
    it.refuses("nameless", &["x.cedar:1:", "@id"]);
}

/// A policy that nests deeper than a stack is long must not end the server.
#[test]
fn deep_nesting_in_a_policy_is_refused_and_the_server_goes_on() {
    let it = Unchanged::new();
    let mut server = it.world.serve();
    for (folder, open, inner, close) in [("round", "(", "true", ")"), ("square", "[", "", "]")] {
        let (open, close) = (open.repeat(20_000), close.repeat(20_000));
        let test = if inner.is_empty() { ".isEmpty()" } else { "" };
        let text = format!("@id(\"d\")\npermit (principal, action, resource) when {{ {open}{inner}{close}{test} }};\n");
        it.world.write(&format!("{folder}/d.cedar"), &text);
        let said = it.world.run(&["plan", "-f", &it.world.path(folder)]);
        assert!(!server.has_ended(), "the server ended: {}", it.world.log_text());
        said.must(2, &["d.cedar:2"]);
    }
    assert!(server.stop().success());
    it.refuses("round", &["d.cedar:2"]);
}

#[test]
fn malformed_names_are_bad_input() {
    let world = World::with_example();
    let server = world.serve();
    let before = world.entries();
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "frobnicate"),
        (&["task", "finish"], "<TASK>"),
        (&["identity", "suspend", "agent/researcher"], "--why <WHY>"),
        (&["identity", "activate", "agent/researcher"], "--why <WHY>"),
        (&["identity", "retire", "agent/researcher"], "--why <WHY>"),
        (&["identity", "retire", "agent/researcher", "--why", " "], "`why` is empty"),
        (&["who-can", "fly", "tool:crm/find_customer"], "`fly`"),
        (&["who-can", "invoke", "crm"], "`crm`"),
        (&["task", "start", "--as", "agent/researcher", "--purpose", "x", "--ttl", "never"], "`never`"),
        (&["task", "start", "--as", "agent/researcher", "--purpose", "x", "--ttl", "30"], "`30` has no unit"),
        (&["task", "start", "--as", "agent/researcher", "--purpose", "x", "--scope", "invoke:tool:cr*"], "`tool:cr*`"),
        (&["task", "finish", "task_x"], "`task_x`"),
        (&["task", "finish", "lease_01JD0000000000000000000000"], "`lease_01JD0000000000000000000000`"),
        (&["elevation", "approve", "elev_x"], "`elev_x`"),
        (&["revoke", "everything"], "`everything`"),
        (&["revoke", "spiffe://a/../b"], "`spiffe://a/../b`"),
        (&["records", "--task", "task_x"], "`task_x`"),
        (&["run", "--as", "agent/researcher", "--task", "task_x", "--", "true"], "`task_x`"),
        (&["run", "--as", "agent/researcher", "--task", "task_x", "--", "true"], "error: task: expected an identifier"),
        (&["authority", "activate", "jwt"], "marque authority prepare jwt"),
        (&["person", "add", "../x"], "`../x`"),
        (&["person", "add", "alice@example.com"], "known already"),
        (&["--person", "../x", "status"], "`../x`"),
        (&["secret", "set", "../x"], "secret"),
        (&["serve", "--listen", "nonsense"], "nonsense"),
        (&["serve", "--config", "nowhere.toml"], "nowhere.toml"),
        (&["trace", "nowhere.md"], "nowhere.md"),
        (&["ledger", "query", "--kind", "bogus"], "task_started"),
        (&["ledger", "query", "--kind", "bogus", "--all"], "task_started"),
    ];
    for (args, word) in cases {
        world.run(args).must(2, &[*word]);
    }
    assert_eq!(world.entries(), before, "the log has grown");
    drop(server);
}

#[test]
fn what_is_not_there_and_what_is_refused_have_codes_of_their_own() {
    let world = World::with_example();
    let server = world.serve();
    world.write("stray.md", "no agent wrote this");
    let before = world.entries();
    let (stray, none) = (world.path("stray.md"), "01JD0000000000000000000000");
    let (task, elevation) = (format!("task_{none}"), format!("elev_{none}"));
    let nowhere = world.path("nowhere");
    let cases: &[(&[&str], i32)] = &[
        (&["can", "agent/nobody"], 4),
        (&["identity", "suspend", "agent/nobody", "--why", "x"], 4),
        (&["authority", "revoke", "x509", "nope"], 4),
        (&["authority", "taint", "x509", "nope"], 4),
        (&["who-can", "invoke", "tool:crm/nothing"], 4),
        (&["ledger", "access", "invoke", "tool:crm/nothing", "--at", "0s"], 4),
        (&["task", "start", "--as", "agent/nobody", "--purpose", "x"], 4),
        (&["task", "finish", &task], 4),
        (&["elevation", "approve", &elevation], 4),
        (&["revoke", &task], 4),
        (&["revoke", "spiffe://example.org/agent/nobody"], 4),
        (&["revoke", "agent/nobody"], 4),
        (&["revoke", "user:nobody@example.com"], 4),
        (&["trace", &stray], 4),
        (&["ledger", "verify", &nowhere], 4),
        (&["--person", "nobody@example.com", "status"], 4),
        (&["task", "start", "--as", "agent/researcher", "--purpose", "x", "--scope", "invoke:tool:hr/fire"], 3),
        (&["run", "--as", "agent/researcher", "--task", &task, "--", "true"], 3),
    ];
    for (args, code) in cases {
        let said = world.run(args);
        said.must(*code, &[]);
        assert!(!said.all().trim().is_empty(), "{args:?} says nothing");
    }
    // Who looks something up in the ledger is on record, whatever they find.
    assert_eq!(world.entries(), before + 1, "the log has grown");
    drop(server);
}
