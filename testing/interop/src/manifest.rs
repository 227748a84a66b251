//! The manifest of the judges: this program and the Python interpreter as agents, an office and a clock as tools.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::fault::Result;

/// The Python interpreter.
#[derive(Clone, Copy, Debug)]
pub struct Python<'a> {
    /// What to start, so that its packages are found.
    pub program: &'a Path,
    /// What the kernel says is running then.
    pub executable: &'a Path,
}

/// Another agent: its name, its executable, and the hint that tells it from others with the same one.
pub type Program = (String, std::path::PathBuf, Option<String>);

/// Writes the manifest for this executable, the Python interpreter if there is one, and the tool server's address.
pub fn write(dir: &Path, own: &Path, python: Option<Python<'_>>, programs: &[Program], tools: &str) -> Result<()> {
    std::fs::create_dir_all(dir.join("policies"))?;
    let mut identities = String::from("identities:\n");
    identity(&mut identities, "agent/interop", own, &["invoke:tool:office/find_customer"])?;
    for (name, executable, hint) in programs {
        identity(&mut identities, name, executable, &["invoke:tool:office/find_customer"])?;
        if let Some(hint) = hint {
            writeln!(identities, "    hint: {hint}")?;
        }
    }
    let mut resources = OFFICE.replace("TOOLS", tools);
    if let Some(python) = python {
        identity(&mut identities, crate::world::PYTHON, python.executable, &["invoke:tool:office/*", "invoke:tool:clock/*"])?;
        resources.push_str(&CLOCK.replace("PYTHON", &quoted(python.program)));
    }
    std::fs::write(dir.join("identities.yaml"), identities)?;
    std::fs::write(dir.join("resources.yaml"), resources)?;
    std::fs::write(dir.join("policies/interop.cedar"), POLICIES)?;
    Ok(())
}

fn identity(text: &mut String, name: &str, executable: &Path, ceiling: &[&str]) -> Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let path = json!(format!("unix:path:{}", executable.display()));
    writeln!(text, "  - name: {name}")?;
    writeln!(text, "    kind: agent")?;
    writeln!(text, "    owner: alice@example.com")?;
    writeln!(text, "    purpose: Speaks for clients that no one here wrote")?;
    writeln!(text, "    selectors: [\"unix:uid:{uid}\", {path}]")?;
    writeln!(text, "    ceiling: {}", json!(ceiling))?;
    Ok(())
}

/// A path as YAML takes it: every JSON text is one of YAML.
fn quoted(path: &Path) -> String {
    json!(path.display().to_string()).to_string()
}

const OFFICE: &str = r#"
resources:
  - id: dataset:customers
    description: Customer records with names, addresses and balances
    sensitivity: confidential
    personal: true
  - id: service:office
    description: The office's tool server; it demands a key that only the gateway has
    upstream:
      http: { url: "http://TOOLS/mcp", credential: { header: authorization, prefix: "Bearer ", secret: office-key } }
  - { id: tool:office/find_customer, description: Look up one customer, risk: low, touches: [dataset:customers] }
  - { id: tool:office/customer_statistics, description: Counts and averages, risk: low }
  - { id: tool:office/export_customers, description: Write customers to a file, risk: high, touches: [dataset:customers] }
  - { id: tool:office/send_mail, description: Send a mail, risk: high, egress: true, touches: [dataset:customers] }
"#;

const CLOCK: &str = r#"
  - id: service:clock
    description: The MCP project's own time server, started by the gateway
    upstream:
      stdio: { command: PYTHON, args: ["-m", "mcp_server_time", "--local-timezone", "UTC"] }
  - { id: tool:clock/get_current_time, description: What time it is somewhere, risk: low }
  - { id: tool:clock/convert_time, description: A time elsewhere, risk: low }
"#;

const POLICIES: &str = r#"@id("within-task")
@reason("the task grants it")
permit (principal, action, resource);

@id("mail-domains")
@reason("mail goes to example.com and example.org only")
forbid (principal, action == Marque::Action::"invoke", resource == Marque::Tool::"office/send_mail")
unless {
  context.call.hasTag("to") &&
  (context.call.getTag("to") like "*@example.com" || context.call.getTag("to") like "*@example.org")
};

@id("personal-data-out")
@elevation("personal-data-out")
@approvals("1")
@ttl("10m")
@reason("a tool that can send personal data out waits for a person")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.personal && resource.egress }
unless { context.approved.contains("personal-data-out") };
"#;
