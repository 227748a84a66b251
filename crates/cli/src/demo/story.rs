//! The story: twelve steps, each with what was really seen and how long it took.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use super::agent::now;
use super::processes::{Spoken, cli, executable, fresh_dir};
use super::{ending, manifest};
use crate::args::DemoArgs;
use crate::failure::{Failure, Result};
use crate::files::write_private;
use crate::output::{Output, Tone};
use crate::serve::Addresses;

/// Everything that runs during the story.
pub struct Story<'a> {
    pub output: &'a Output,
    pub dir: PathBuf,
    pub state: PathBuf,
    pub server: Option<Spoken>,
    pub tools: Option<Spoken>,
    pub orchestrator: Option<Spoken>,
    pub researcher: Option<Spoken>,
    pub addresses: Option<Addresses>,
    pub task: String,
    /// The orchestrator's task token, as it handed it to the researcher.
    token: String,
    since: i64,
}

pub const ALICE: &str = "alice@example.com";
pub const BOB: &str = "bob@example.com";

/// Runs the story.
pub async fn story(args: &DemoArgs, output: &Output) -> Result<()> {
    let dir = fresh_dir(&args.dir)?;
    let mut story = Story {
        output,
        state: dir.join("state"),
        dir,
        server: None,
        tools: None,
        orchestrator: None,
        researcher: None,
        addresses: None,
        task: String::new(),
        token: String::new(),
        since: now(),
    };
    story.prologue().await?;
    story.attested().await?;
    story.task_started().await?;
    story.delegated().await?;
    story.allowed_denied_held().await?;
    story.revoked().await?;
    ending::traced(&mut story).await?;
    ending::verified(&mut story, args.serve).await?;
    ending::tampered(&mut story).await?;
    ending::epilogue(&mut story, args).await
}

impl Story<'_> {
    /// One step: its name, what was seen, and the time since the last one.
    pub fn step(&mut self, name: &str, seen: &str, details: Value) {
        let tenths = (now() - self.since) / 100;
        let millis = format!("{}.{}", tenths / 10, tenths % 10);
        self.since = now();
        let value = json!({ "name": name, "ok": true, "seen": seen, "milliseconds": tenths as f64 / 10.0, "details": details });
        self.output.show(&value, || {
            let title = self.output.paint(Tone::Strong, format!("{name:<17}"));
            self.output.line(format!(
                "{} {title} {seen} {}",
                self.output.paint(Tone::Good, "✓"),
                self.output.paint(Tone::Faint, format!("{millis} ms"))
            ));
        });
    }

    /// What must be so for the story to be true.
    pub fn must(&self, so: bool, what: &str, seen: &Value) -> Result<()> {
        if so { Ok(()) } else { Err(Failure::failed(format!("the story broke: {what}; seen: {seen}"))) }
    }

    /// A CLI command that must succeed.
    pub async fn marque(&self, person: &str, args: &[&str]) -> Result<Value> {
        match cli(&self.state, person, args, None).await? {
            (Some(0), value) => Ok(value),
            (_, value) => Err(Failure::failed(format!("`marque {}`: {value}", args.join(" ")))),
        }
    }

    /// Starts the tool server and the control plane, and applies the manifest.
    async fn prologue(&mut self) -> Result<()> {
        if !self.output.json {
            self.output.line("An office: customers, mail and reports behind a tool server that demands a key.");
            self.output.line("Two agents work there. They hold no key; Marque stands between.\n");
        }
        let own = std::env::current_exe()?;
        let key_file = self.dir.join("office.key");
        let key = random_key()?;
        write_private(&key_file, key.as_bytes())?;
        let mut tools = Command::new(&own);
        tools.args(["demo", "tools", "--dir"]).arg(self.dir.join("office")).arg("--key-file").arg(&key_file);
        let mut tools = Spoken::start("tool server", &mut tools, &self.dir.join("tools.log"))?;
        let address = tools.line().await?;
        self.tools = Some(tools);

        let mut serve = Command::new(&own);
        serve.arg("--json").arg("--state").arg(&self.state).args(["serve", "--administrator", ALICE]);
        serve.args(["--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0"]);
        let mut server = Spoken::start("control plane", &mut serve, &self.dir.join("serve.log"))?;
        self.addresses = Some(serde_json::from_value(server.answer().await?)?);
        self.server = Some(server);

        let bin = self.dir.join("bin");
        manifest::write(&self.dir.join("manifest"), &bin, &address)?;
        cli(&self.state, ALICE, &["secret", "set", "office-key"], Some(&key)).await?;
        self.marque(ALICE, &["person", "add", BOB]).await?;
        let manifest = self.dir.join("manifest").display().to_string();
        self.marque(ALICE, &["apply", "-f", &manifest]).await?;
        Ok(())
    }

    fn addresses(&self) -> Result<&Addresses> {
        self.addresses.as_ref().ok_or_else(|| Failure::failed("the control plane is not running"))
    }

    /// An agent that finds the Workload API by its well-known socket.
    fn agent(&self, executable: &Path, name: &'static str) -> Result<Spoken> {
        let addresses = self.addresses()?;
        let mut command = Command::new(executable);
        command.args(["demo", "agent"]).env_clear();
        command.env("SPIFFE_ENDPOINT_SOCKET", &addresses.workload_api);
        command.env("MARQUE_ISSUER", &addresses.issuer).env("MARQUE_GATEWAY", &addresses.gateway);
        Spoken::start(name, &mut command, &self.dir.join(format!("{name}.log")))
    }

    /// A process that the kernel knows gets its identity; one that it does not gets nothing.
    async fn attested(&mut self) -> Result<()> {
        let bin = self.dir.join("bin");
        let mut stranger = self.agent(&executable(&bin, "stranger")?, "stranger")?;
        let refused = stranger.ask(json!({ "do": "attest" })).await?;
        let error = refused.get("error").and_then(Value::as_str).unwrap_or_default();
        self.must(error.starts_with("PermissionDenied"), "a stranger got no PermissionDenied", &refused)?;
        let mut researcher = self.agent(&executable(&bin, "researcher")?, "researcher")?;
        let seen = researcher.ask(json!({ "do": "attest" })).await?;
        let id = seen.get("spiffe_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.must(id.ends_with("/agent/researcher"), "the researcher got another identity", &seen)?;
        self.researcher = Some(researcher);
        let text = format!("the kernel knows the researcher's executable: it is {id}; a stranger got PermissionDenied");
        self.step("attested", &text, json!({ "spiffe_id": id, "stranger": error }));
        Ok(())
    }

    /// Alice starts a task, and the orchestrator under it.
    async fn task_started(&mut self) -> Result<()> {
        let task = self
            .marque(
                ALICE,
                &["task", "start", "--as", "agent/orchestrator", "--purpose", "weekly customer report", "--ttl", "30m"],
            )
            .await?;
        self.task = task.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = std::env::current_exe()?;
        let mut run = Command::new(own);
        run.arg("--state").arg(&self.state).args([
            "--person",
            ALICE,
            "run",
            "--as",
            "agent/orchestrator",
            "--task",
            &self.task,
            "--",
        ]);
        run.arg(executable(&self.dir.join("bin"), "orchestrator")?).args(["demo", "agent"]);
        let mut orchestrator = Spoken::start("orchestrator", &mut run, &self.dir.join("orchestrator.log"))?;
        let list = orchestrator.ask(json!({ "do": "list" })).await?;
        let tools = list.get("tools").and_then(Value::as_array).cloned().unwrap_or_default();
        self.must(!tools.is_empty() && !tools.contains(&json!("export_customers")), "the list of tools is not filtered", &list)?;
        self.orchestrator = Some(orchestrator);
        let text = format!(
            "alice asked for a weekly report; `marque run` started the orchestrator under {}, which sees {} of 6 tools",
            self.task,
            tools.len()
        );
        self.step("task-started", &text, json!({ "task": self.task, "tools": tools }));
        Ok(())
    }

    /// The orchestrator hands work on; what it hands on can only be narrower.
    async fn delegated(&mut self) -> Result<()> {
        let orchestrator = self.orchestrator.as_mut().ok_or_else(gone)?;
        orchestrator.ask(json!({ "do": "attest" })).await?;
        let own = orchestrator.ask(json!({ "do": "own-token", "task": self.task })).await?;
        let token = own.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.token.clone_from(&token);
        let researcher = self.researcher.as_mut().ok_or_else(gone)?;
        let scope = "invoke:tool:office/find_customer invoke:tool:office/send_mail invoke:tool:office/write_report invoke:tool:office/watch_mail";
        let child = researcher
            .ask(json!({ "do": "child-token", "subject": token, "scope": scope, "purpose": "look up Ada and write to her" }))
            .await?;
        let ok = child.get("ok") == Some(&json!(true));
        let task = child.get("task").cloned().unwrap_or_default();
        self.must(ok, "the delegation failed", &json!([own, child]))?;
        let claims = claims(child.get("token").and_then(Value::as_str).unwrap_or_default());
        let actors = [claims.pointer("/act/sub"), claims.pointer("/act/act/sub")]
            .map(|a| a.and_then(Value::as_str).unwrap_or_default().to_owned());
        self.must(
            actors[0].ends_with("researcher") && actors[1].ends_with("orchestrator"),
            "the token does not name the chain",
            &claims,
        )?;
        let text = "the researcher exchanged the orchestrator's token and its own SVID for a child task: it acts, for the orchestrator, for alice";
        self.step(
            "delegated",
            text,
            json!({ "task": task, "sub": claims.get("sub"), "act": claims.get("act"), "scope": child.get("scope") }),
        );

        let researcher = self.researcher.as_mut().ok_or_else(gone)?;
        let wider = researcher.ask(json!({ "do": "child-token", "subject": token, "scope": "invoke:tool:office/export_customers", "purpose": "everything" })).await?;
        self.must(wider.get("error") == Some(&json!("invalid_scope")), "a widening was not refused", &wider)?;
        let why = wider.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.step("widening-refused", &format!("asking for `export_customers` on the way failed: {why}"), wider);
        Ok(())
    }

    /// Three answers: yes, no, and ask a person.
    async fn allowed_denied_held(&mut self) -> Result<()> {
        let found = self.researcher_calls("find_customer", json!({ "name": "Ada Holm" })).await?;
        let customer = found.pointer("/structuredContent/customers/0").cloned().unwrap_or_default();
        let email = customer.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.must(!email.is_empty(), "no customer was found", &found)?;
        let field = |name: &str| customer.get(name).and_then(Value::as_str).unwrap_or_default();
        let report = format!(
            "# Weekly customer report\n\nAda Holm ({email}) lives in {}. The register says of her:\n\n> {}\n\n\
             So she gets a mail with her balance this week, and the offer for two years along with it.\n",
            field("city"),
            field("note")
        );
        let written = self.researcher_calls("write_report", json!({ "name": "weekly.md", "content": report })).await?;
        self.must(written.get("isError") != Some(&json!(true)), "the report was not written", &written)?;
        self.step(
            "allowed",
            "the researcher looked up Ada and wrote a report; the gateway put the key in, the agent never had it",
            json!({ "customer": customer, "report": written.get("structuredContent") }),
        );

        let mail = |to: &str| json!({ "to": to, "subject": "Your balance", "body": "Dear Ada, your balance is attached." });
        let denied = self.researcher_calls("send_mail", mail("news@press.example.net")).await?;
        let decision =
            |v: &Value| v.pointer("/structuredContent/marque/decision").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.must(decision(&denied) == "deny", "a mail to a stranger was not denied", &denied)?;
        self.step("denied", &format!("a mail to a stranger: {}", content(&denied)), json!({ "answer": denied }));

        let held = self.researcher_calls("send_mail", mail(&email)).await?;
        let elevation =
            held.pointer("/structuredContent/marque/elevation").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.must(decision(&held) == "hold" && !elevation.is_empty(), "personal data was not held", &held)?;
        self.step("held", &format!("a mail to Ada waits for a person, as {elevation}"), json!({ "answer": held }));

        let (code, own) = cli(&self.state, ALICE, &["elevation", "approve", &elevation], None).await?;
        self.must(code == Some(3), "alice could approve her own request", &own)?;
        self.marque(BOB, &["elevation", "approve", &elevation]).await?;
        let sent = self.researcher_calls("send_mail", mail(&email)).await?;
        self.must(sent.get("isError") != Some(&json!(true)), "the approved mail was not sent", &sent)?;
        let again = self.researcher_calls("send_mail", mail(&email)).await?;
        self.must(decision(&again) == "hold", "the approval worked twice", &again)?;
        self.step(
            "approved",
            "alice could not approve what she asked for; bob did, and the same call went through, once",
            json!({ "sent": sent.get("structuredContent"), "alice": own }),
        );
        Ok(())
    }

    async fn researcher_calls(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let researcher = self.researcher.as_mut().ok_or_else(gone)?;
        let answer = researcher.ask(json!({ "do": "call", "tool": tool, "arguments": arguments })).await?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(Failure::failed(format!("`{tool}`: {answer}"))),
        }
    }

    /// One verb; the open stream, the gateway, the token endpoint and the Workload API all say no.
    async fn revoked(&mut self) -> Result<()> {
        let researcher = self.researcher.as_mut().ok_or_else(gone)?;
        let mine = researcher.ask(json!({ "do": "validate" })).await?;
        researcher.tell(&json!({ "do": "watch", "tool": "watch_mail", "arguments": { "seconds": 60 } })).await?;
        let streaming = researcher.answer().await?;
        self.must(streaming.get("streaming") == Some(&json!(true)), "there is no stream", &streaming)?;
        self.must(mine.get("ok") == Some(&json!(true)), "the SVID was not valid before", &mine)?;
        let mut client = crate::client::Client::connect(&self.state, Some(ALICE)).await?;
        let target = "spiffe://example.org/agent/researcher";
        let asked = now();
        let revoked: Value = client.post("/v1/revocations", &json!({ "target": target, "why": "the demo says so" })).await?;
        let answered = now();
        let researcher = self.researcher.as_mut().ok_or_else(gone)?;
        let ended = researcher.answer().await?;
        let cut = ended.get("at").and_then(Value::as_i64).unwrap_or_default() - asked;
        let call = researcher.ask(json!({ "do": "call", "tool": "find_customer", "arguments": { "name": "Ada" } })).await?;
        let refused = now() - asked;
        let token = researcher.ask(json!({ "do": "child-token", "subject": self.token, "purpose": "again" })).await?;
        let svid = researcher.ask(json!({ "do": "validate" })).await?;
        let says = |v: &Value, word: &str| v.get("error").and_then(Value::as_str).is_some_and(|e| e.contains(word));
        let was_cut = ended.get("ended").and_then(Value::as_str).is_some_and(|e| e.starts_with("cut"));
        self.must(was_cut, "the stream was not cut", &ended)?;
        let refusals = says(&call, "401") && says(&token, "invalid_client") && says(&svid, "PermissionDenied");
        self.must(refusals, "something still works, or failed for another reason", &json!([call, token, svid]))?;
        let millis = |micros: i64| format!("{}.{:01} ms", micros / 1000, micros % 1000 / 100);
        let text = format!(
            "one verb: recorded in {}, the open stream was cut after {}, the next call was refused after {}; no new token, no valid SVID",
            millis(answered - asked),
            millis(cut),
            millis(refused)
        );
        let details = json!({ "revoked": revoked, "recorded_us": answered - asked, "stream_cut_us": cut, "call_refused_us": refused,
            "call": call.get("error"), "token": token.get("error"), "svid": svid.get("error") });
        self.step("revoked", &text, details);
        Ok(())
    }
}

fn gone() -> Failure {
    Failure::failed("an agent is not running")
}

/// What a tool said.
fn content(result: &Value) -> String {
    result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The claims of a token, unverified: for showing them.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn random_key() -> Result<String> {
    let mut bytes = [0; 24];
    marque_engine::Env::system().entropy.fill(&mut bytes);
    Ok(hex::encode(bytes))
}
