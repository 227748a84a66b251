//! The demo's manifest: what a user would write for this office.

use std::path::Path;

use crate::failure::Result;

/// Writes the manifest for agents whose executables are in `bin` and whose tool server is at `tools`.
pub fn write(dir: &Path, bin: &Path, tools: &str) -> Result<()> {
    std::fs::create_dir_all(dir.join("policies"))?;
    let uid = rustix::process::geteuid().as_raw();
    let bin = bin.display();
    std::fs::write(
        dir.join("identities.yaml"),
        format!(
            "\
# Who may act. A process is an instance of an identity when the kernel says all of its selectors of it.
identities:
  - name: agent/orchestrator
    kind: agent
    owner: alice@example.com
    purpose: Plans the weekly customer report and hands out the work
    selectors: [\"unix:uid:{uid}\", \"unix:path:{bin}/orchestrator\"]
    ceiling:
      - invoke:tool:office/find_customer
      - invoke:tool:office/customer_statistics
      - invoke:tool:office/send_mail
      - invoke:tool:office/write_report
      - invoke:tool:office/watch_mail
      - delegate:identity:agent/researcher
  - name: agent/researcher
    kind: agent
    owner: alice@example.com
    purpose: Looks up customers, writes reports and mails
    selectors: [\"unix:uid:{uid}\", \"unix:path:{bin}/researcher\"]
    ceiling:
      - invoke:tool:office/*
"
        ),
    )?;
    std::fs::write(
        dir.join("resources.yaml"),
        format!(
            "\
# What is acted on. A tool is as sensitive as the data that it touches.
resources:
  - id: dataset:customers
    description: Customer records with names, addresses and balances
    sensitivity: confidential
    personal: true
  - id: service:office
    description: The office's tool server; it demands a key that only the gateway has
    upstream:
      http: {{ url: \"http://{tools}/mcp\", credential: {{ header: authorization, prefix: \"Bearer \", secret: office-key }} }}
  - {{ id: tool:office/find_customer, description: Look up one customer, risk: low, touches: [dataset:customers] }}
  - {{ id: tool:office/customer_statistics, description: Counts and averages, risk: low }}
  - {{ id: tool:office/export_customers, description: Write customers to a file, risk: high, touches: [dataset:customers] }}
  - {{ id: tool:office/write_report, description: Write a file into the report folder, risk: medium, touches: [dataset:customers] }}
  - {{ id: tool:office/send_mail, description: Send a mail, risk: high, egress: true, touches: [dataset:customers] }}
  - {{ id: tool:office/watch_mail, description: Watch the outbox, risk: low }}
"
        ),
    )?;
    std::fs::write(dir.join("policies/office.cedar"), POLICIES)?;
    Ok(())
}

const POLICIES: &str = r#"// An agent may do what its task grants; the task's scope and the identity's ceiling bound every call already.
@id("within-task")
@reason("the task grants it")
permit (principal, action, resource);

// Mail goes to our own domains and to nobody else.
@id("mail-domains")
@reason("mail goes to example.com and example.org only")
forbid (principal, action == Marque::Action::"invoke", resource == Marque::Tool::"office/send_mail")
unless {
  context.call.hasTag("to") &&
  (context.call.getTag("to") like "*@example.com" || context.call.getTag("to") like "*@example.org")
};

// Personal data leaves only when a person says so, for exactly that call.
@id("personal-data-out")
@elevation("personal-data-out")
@approvals("1")
@ttl("10m")
@reason("a tool that can send personal data out waits for a person")
forbid (principal, action == Marque::Action::"invoke", resource is Marque::Tool)
when { resource.personal && resource.egress }
unless { context.approved.contains("personal-data-out") };
"#;
