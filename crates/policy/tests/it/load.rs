//! What is refused when policies are read, and the place that the error names.

use marque_core::Digest;
use marque_policy::BASELINE;

use crate::world::load;

const GOOD: &str = "@id(\"good\")\npermit (principal, action, resource);\n";

/// `bad.cedar` is refused at this line, with words that hold `says`.
fn refused(text: &str, line: usize, says: &str) {
    let error = load(&[("good.cedar", GOOD), ("bad.cedar", text)]).unwrap_err();
    assert_eq!((error.file.as_str(), error.line), ("bad.cedar", line), "{error}");
    assert!(error.message.contains(says), "{error}");
    assert!(error.to_string().starts_with(&format!("bad.cedar:{line}: ")), "{error}");
}

fn loads(text: &str) -> bool {
    load(&[("a.cedar", text)]).is_ok()
}

#[test]
fn the_baseline_loads_and_others_add_to_it() {
    let baseline = load(&[]).unwrap();
    assert!(!baseline.is_empty());
    assert_eq!(baseline.len(), BASELINE.matches("@id(").count());
    assert_eq!(baseline.digest(), Digest::from_bytes([1; 32]));
    assert_eq!(load(&[("good.cedar", GOOD)]).unwrap().len(), baseline.len() + 1);
}

#[test]
fn a_syntax_error_names_its_line() {
    let text = "@id(\"one\")\npermit (principal, action, resource);\n\n@id(\"two\")\npermit (principal, action resource);\n";
    refused(text, 5, "unexpected token");
}

#[test]
fn what_the_schema_does_not_know_names_its_line() {
    let start = "@id(\"one\")\npermit (principal, action, resource);\n\n@id(\"two\")\n";
    let head = "forbid (principal, action == Marque::Action::\"invoke\", resource is Marque::Tool)\nwhen {\n";
    refused(&format!("{start}{head}  resource.colour == \"red\"\n}};\n"), 7, "colour");
    refused(&format!("{start}{head}  resource.name like \"a*\" && resource.risk\n}};\n"), 7, "");
}

#[test]
fn a_tag_must_be_looked_for_before_it_is_read() {
    let head = "@id(\"one\")\nforbid (principal, action == Marque::Action::\"invoke\", resource)\nwhen {\n";
    refused(&format!("{head}  context.call.getTag(\"to\") like \"a*\"\n}};\n"), 4, "");
    assert!(loads(&format!("{head}  context.call.hasTag(\"to\") && context.call.getTag(\"to\") like \"a*\"\n}};\n")));
}

#[test]
fn an_unknown_action_is_refused() {
    let text = "@id(\"one\")\npermit (principal, action == Marque::Action::\"fly\", resource);\n";
    let error = load(&[("bad.cedar", text)]).unwrap_err();
    assert_eq!(error.file, "bad.cedar");
    assert!(error.message.contains("fly"), "{error}");
}

#[test]
fn every_policy_needs_a_name() {
    refused("permit (principal, action, resource);\n", 1, "needs a name");
    refused("@id(\"\") permit (principal, action, resource);\n", 1, "needs a name");
}

/// The second policy has no name: the error is at its line, not at the file's first.
#[test]
fn a_missing_name_is_told_where_it_is_missing() {
    refused("@id(\"one\")\npermit (principal, action, resource);\n\npermit (principal, action, resource);\n", 4, "needs a name");
}

#[test]
fn a_name_is_used_once_in_all_files() {
    refused("// again\n\n@id(\"good\")\npermit (principal, action, resource);\n", 3, "another policy is called `good`");
    refused("@id(\"tool-changed\")\npermit (principal, action, resource);\n", 1, "another policy is called `tool-changed`");
}

/// The error is at the second of the two, which is the one to rename.
#[test]
fn a_name_is_used_once_in_a_file() {
    refused(
        "@id(\"one\")\npermit (principal, action, resource);\n\n@id(\"one\")\npermit (principal, action, resource);\n",
        4,
        "another policy is called `one`",
    );
}

#[test]
fn a_permit_is_never_soft() {
    refused("// soft\n@id(\"soft\")\n@elevation(\"x\")\npermit (principal, action, resource);\n", 2, "belongs on a forbid");
}

#[test]
fn what_belongs_to_an_elevation_stands_beside_one() {
    for stray in ["ttl(\"5m\")", "approvals(\"2\")"] {
        let text = format!("\n@id(\"hard\")\n@{stray}\nforbid (principal, action, resource);\n");
        let name = stray.split('(').next().unwrap();
        refused(&text, 2, &format!("`@{name}` means something only beside `@elevation`"));
    }
}

#[test]
fn a_soft_forbid_can_be_discharged() {
    let soft = |clause: &str| format!("\n\n@id(\"soft\")\n@elevation(\"x\")\nforbid (principal, action, resource){clause};\n");
    for clause in ["", " unless { context.approved.contains(\"y\") }", " unless { context.task.depth > 0 }"] {
        refused(&soft(clause), 3, "no approval would discharge it: add `unless { context.approved.contains(\"x\") }`");
    }
    assert!(loads(&soft(" unless { context.approved.contains(\"x\") }")));
}

/// What a comment says discharges nothing.
#[test]
fn a_comment_is_no_discharge() {
    let text = "@id(\"soft\")\n@elevation(\"x\")\nforbid (principal, action, resource)\n\
                // unless { context.approved.contains(\"x\") }\nwhen { context.task.depth == 0 };\n";
    refused(text, 1, "no approval would discharge it");
}

#[test]
fn the_numbers_of_an_elevation_are_sensible() {
    let soft = |more: &str| {
        format!("@id(\"soft\") {more} forbid (principal, action, resource) unless {{ context.approved.contains(\"x\") }};")
    };
    for approvals in ["0", "21", "-1", "many", ""] {
        refused(&soft(&format!("@elevation(\"x\") @approvals(\"{approvals}\")")), 1, "`@approvals` is a number");
    }
    for ttl in ["0s", "soon", "-5m", ""] {
        refused(&soft(&format!("@elevation(\"x\") @ttl(\"{ttl}\")")), 1, "`@ttl` is a duration");
    }
    refused(&soft("@elevation(\"\")"), 1, "`@elevation` needs a name");
}

#[test]
fn templates_are_refused() {
    let text = "@id(\"one\")\npermit (principal, action, resource);\n@id(\"two\")\npermit (principal == ?principal, action, resource);\n";
    refused(text, 4, "templates are not supported");
}
