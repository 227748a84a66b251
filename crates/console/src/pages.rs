//! The pages.

use marque_core::elevation::{Elevation, Status};
use marque_core::id::RecordId;
use marque_core::task::Task;
use marque_engine::{Caller, Chain, Engine, EngineError, RecordRow, State};
use maud::{DOCTYPE, Markup, html};

use crate::picture;

/// A page with entries of the log on it.
pub struct Page {
    /// What is shown.
    pub markup: Markup,
    /// Where it stands, for the log. Made from what was understood of the request: what else it carried may be a secret.
    pub path: String,
    /// How many entries are on it.
    pub rows: u64,
}

/// The sign-in page.
pub fn sign_in(engine: &Engine, error: Option<&str>) -> Markup {
    layout(
        "Sign in",
        html! {
            h1 { "Sign in" }
            p { "Paste the content of your credential file, as " code { (engine.root().display()) "/people/<you>.token" } "." }
            @if let Some(error) = error { p.bad role="alert" { (error) } }
            form method="post" action="/sign-in" {
                label for="credential" { "Credential" }
                input #credential name="credential" type="password" autocomplete="current-password" required autofocus;
                button { "Sign in" }
            }
        },
    )
}

/// A page that says what went wrong.
pub fn failure(error: &str) -> Markup {
    layout("Not done", html! { h1 { "Not done" } p.bad role="alert" { (error) } p { a href="/" { "Back" } } })
}

/// What is held, what is wrong, what runs, what happened.
pub fn overview(engine: &Engine, caller: &Caller) -> Result<Page, EngineError> {
    let records = engine.records(None, None, 25)?;
    let findings = engine.findings();
    let now = engine.now();
    let state = engine.state();
    let waits = |e: &&Elevation| e.status == Status::Pending && now < e.decide_by && state.check_task(e.call.task, now).is_ok();
    let held: Vec<&Elevation> = state.elevations.values().filter(waits).collect();
    let tasks: Vec<&Task> = state.tasks.values().filter(|t| state.check_task(t.id, now).is_ok()).collect();
    let markup = layout(
        "Overview",
        html! {
            (head(engine, caller))
            section {
                h2 { "Waiting for a person " span.count { (held.len()) } }
                @if held.is_empty() { p.faint { "Nothing is held." } }
                @for elevation in held { (waiting(elevation)) }
            }
            @if !findings.is_empty() {
                section {
                    h2 { "Findings " span.count { (findings.len()) } }
                    ul { @for finding in &findings { li { strong { (finding.subject) } ": " (finding.text) } } }
                }
            }
            section {
                h2 { "Live tasks " span.count { (tasks.len()) } }
                @for root in tasks.iter().filter(|t| t.lineage.is_empty()) { ul.tree { (tree(root, &tasks)) } }
            }
            section { h2 { "Identities " span.count { (state.identities.len()) } } (identities(&state)) }
            section { h2 { "Last actions" } (actions(&records)) }
        },
    );
    Ok(Page { markup, path: "/".into(), rows: records.len() as u64 })
}

fn head(engine: &Engine, caller: &Caller) -> Markup {
    let person = caller.person().map(|p| p.name().to_owned()).unwrap_or_default();
    html! {
        header {
            h1 { "Marque " span.faint { (engine.trust_domain()) } }
            form method="post" action="/sign-out" { span { (person) } " " button.quiet { "Sign out" } }
        }
        p.faint { (engine.log_size()) " entries in the log" }
    }
}

/// Who asks, for whom, what exactly, and why it waits.
fn waiting(elevation: &Elevation) -> Markup {
    let call = &elevation.call;
    html! {
        article {
            p { strong { (call.identity.short()) } " wants to " (call.action) " " strong { (call.resource) } }
            @for reason in &elevation.reasons { p.faint { "held: " (reason.text) } }
            pre { (elevation.sight) }
            p.faint { (elevation.votes.len()) " of " (elevation.needs.approvals) " approvals, until " (elevation.decide_by) }
            form method="post" action=(format!("/elevations/{}/approve", elevation.id)) { button { "Approve this call" } }
            form method="post" action=(format!("/elevations/{}/refuse", elevation.id)) { button.quiet { "Refuse" } }
        }
    }
}

fn tree(task: &Task, all: &[&Task]) -> Markup {
    html! {
        li {
            strong { (task.actor.short()) } " for " (task.principal.name()) ": " (task.purpose) " " span.faint { "until " (task.expires) }
            @let below: Vec<_> = all.iter().filter(|t| t.lineage.last() == Some(&task.id)).collect();
            @if !below.is_empty() { ul { @for child in below { (tree(child, all)) } } }
        }
    }
}

fn identities(state: &State) -> Markup {
    html! {
        table {
            thead { tr { th { "Identity" } th { "Kind" } th { "State" } th { "Owner" } th { "Purpose" } } }
            tbody { @for identity in state.identities.values() {
                tr {
                    td { (identity.id.short()) }
                    td { (identity.kind.as_str()) }
                    td { (identity.state) }
                    td { (identity.owner.as_ref().map_or("-", |o| o.name())) }
                    td { (identity.purpose) }
                }
            } }
        }
    }
}

fn actions(records: &[RecordRow]) -> Markup {
    html! {
        table {
            thead { tr { th { "When" } th { "Identity" } th { "Action" } th { "Decision" } th { "Record" } } }
            tbody { @for row in records {
                tr {
                    td { (row.at) }
                    td { (row.decided.identity.short()) }
                    td { (row.decided.action) " " (row.decided.resource) }
                    td class=(row.decided.effect.as_str()) { (row.decided.effect.as_str()) }
                    td { a href=(format!("/records/{}", row.decided.record)) { (row.decided.record) } }
                }
            } }
        }
    }
}

/// One action and everything that it hangs from.
pub fn record(id: RecordId, chain: &Chain) -> Page {
    let markup = layout(
        "Record",
        html! {
            p { a href="/" { "Overview" } }
            h1 { (picture::name(chain)) }
            (picture::chain(chain))
            section {
                h2 { "What is proved" }
                @match &chain.proof {
                    Some(proof) if proof.verified => p.allow { "Entry " (proof.index) " of " (proof.size) ", under root " code { (proof.root) } },
                    Some(proof) => p.bad { "Entry " (proof.index) " does not verify." },
                    None => p.faint { "Not in a checkpoint yet; look again in a second." },
                }
                dl {
                    @if let Some(decided) = &chain.decided {
                        dt { "Policies" } dd { code { (decided.policy) } }
                        dt { "Request" } dd { code { (decided.request) } }
                    }
                    @if let Some(outcome) = &chain.outcome {
                        dt { "Outcome" } dd { (format!("{:?}", outcome.ending)) ", status " (outcome.status) ", " (outcome.bytes) " bytes" }
                    }
                    @for content in chain.decided.iter().flat_map(|d| &d.contents) { dt { (content.at) } dd { code { (content.exact) } } }
                }
            }
        },
    );
    Page { markup, path: format!("/records/{id}"), rows: 1 }
}

fn layout(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Marque" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 64rem; margin: 1.5rem auto; padding: 0 1rem; }
header { display: flex; justify-content: space-between; align-items: baseline; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 1.8rem; }
td:first-child { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
td, th { padding: .25rem .8rem .25rem 0; vertical-align: top; border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
article { border: 1px solid #b45309; border-radius: 6px; padding: .2rem 1rem 1rem; margin: .8rem 0; }
article form { display: inline-block; margin-right: .6rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: color-mix(in srgb, currentColor 7%, transparent); padding: .6rem; }
code { overflow-wrap: anywhere; } svg { max-width: 40rem; width: 100%; }
.faint, .count { color: color-mix(in srgb, currentColor 62%, transparent); } .bad, .deny { color: #b91c1c; } .allow { color: #15803d; } .hold { color: #b45309; }
button { font: inherit; padding: .35rem .8rem; } button.quiet { background: none; border: 1px solid; }
input { font: inherit; padding: .35rem; width: 100%; max-width: 30rem; display: block; margin: .4rem 0; }
@media (prefers-color-scheme: dark) { .bad, .deny { color: #f87171; } .allow { color: #4ade80; } .hold { color: #fbbf24; } }
";
