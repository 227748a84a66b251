//! A chain as a picture: from what was done, over credential, instance and tasks, to the person who asked.

pub mod trace;

use marque_core::decision::Effect;
use marque_engine::Chain;
use maud::{Markup, html};

/// One box of the picture.
struct Step {
    title: &'static str,
    name: String,
    note: String,
    tone: &'static str,
}

/// The chain as SVG, the newest at the top.
pub fn chain(chain: &Chain) -> Markup {
    let steps = steps(chain);
    let height = steps.len() * ROW + MARGIN;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox=(format!("0 0 {WIDTH} {height}")) {
            title { "How " (name(chain)) " came about" }
            @for (n, step) in steps.iter().enumerate() {
                @let y = n * ROW + MARGIN;
                @if n > 0 {
                    path d=(format!("M {x} {} L {x} {}", y - ROW + BOX, y - 4, x = WIDTH / 2)) stroke="#8a8f98" stroke-width="1.5" fill="none" {}
                    path d=(format!("M {} {} L {} {} L {} {} Z", WIDTH / 2 - 4, y - 8, WIDTH / 2 + 4, y - 8, WIDTH / 2, y - 1)) fill="#8a8f98" {}
                }
                rect x="8" y=(y) width=(WIDTH - 16) height=(BOX) rx="6" fill="none" stroke=(step.tone) stroke-width="1.5" {}
                text x="20" y=(y + 19) font-size="11" fill="#6b7280" { (step.title) }
                text x="20" y=(y + 37) font-size="13" fill="currentColor" { (step.name) }
                text x="20" y=(y + 54) font-size="11" fill="#6b7280" { (step.note) }
            }
        }
    }
}

/// What a chain is of.
pub fn name(chain: &Chain) -> String {
    let artifact = || chain.artifact.as_ref().map(|a| a.name.clone());
    chain.decided.as_ref().map(|d| d.record.to_string()).or_else(artifact).unwrap_or_else(|| format!("entry {}", chain.entry))
}

/// The first box: what was done.
fn deed(chain: &Chain) -> Step {
    let Some(decided) = &chain.decided else {
        return Step { title: "artifact", name: name(chain), note: format!("attested at {}", chain.at), tone: "#15803d" };
    };
    let tone = match decided.effect {
        Effect::Allow => "#15803d",
        Effect::Deny => "#b91c1c",
        Effect::Hold => "#b45309",
    };
    let why: Vec<&str> = decided.reasons.iter().map(|r| r.text.as_str()).collect();
    let name = format!("{} {}: {}", decided.action, decided.resource, decided.effect.as_str());
    Step { title: "action", name, note: cut(&why.join("; ")), tone }
}

fn steps(chain: &Chain) -> Vec<Step> {
    let mut steps = vec![deed(chain)];
    if let Some(lease) = &chain.lease {
        steps.push(Step {
            title: "credential",
            name: lease.id.to_string(),
            note: format!("{} until {}", lease.class.as_str(), lease.expires),
            tone: PLAIN,
        });
    }
    if let Some(instance) = &chain.instance {
        let seen = format!("pid {}, seen by {}", instance.attestation.pid, instance.attestation.method);
        steps.push(Step { title: "instance", name: instance.identity.to_string(), note: seen, tone: PLAIN });
    }
    for step in &chain.tasks {
        let task = &step.task;
        let (title, note) = match step.elevation {
            Some(_) => ("approved task", format!("approved by {}, for this call only", task.principal.name())),
            None => ("task", format!("{}: {}", task.actor.short(), task.purpose)),
        };
        steps.push(Step { title, name: task.id.to_string(), note: cut(&note), tone: PLAIN });
    }
    if let Some(first) = chain.tasks.last() {
        steps.push(Step {
            title: "person",
            name: first.task.principal.name().to_owned(),
            note: "asked for it".into(),
            tone: "#1d4ed8",
        });
    }
    steps
}

/// As much as fits into a box.
fn cut(text: &str) -> String {
    if text.chars().count() <= FITS { text.to_owned() } else { format!("{}…", text.chars().take(FITS).collect::<String>()) }
}

const WIDTH: usize = 560;
const ROW: usize = 84;
const BOX: usize = 62;
const MARGIN: usize = 8;
const FITS: usize = 84;
const PLAIN: &str = "#8a8f98";
