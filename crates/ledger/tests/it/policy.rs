//! Random policies and cosignatures.

use marque_ledger::{Checkpoint, Hash, Policy, Signature, WitnessSigner, WitnessVerifier, add_cosignatures};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{cosigned, sample_note, signer, witness};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn policies_round_trip_and_count_each_witness_once(rule in rule(), has_log: bool, url: bool) {
        let mut file = Written::default();
        let quorum = file.write(&rule, url);
        let log = if has_log { format!("log {}\n", signer().verifier()) } else { String::new() };
        let policy: Policy = format!("{log}{}quorum {quorum}\n", file.text).parse().unwrap();
        prop_assert_eq!(&policy.to_string().parse::<Policy>().unwrap(), &policy);
        let verdict = policy.evaluate(&cosigned(&sample_note(7), &file.cosigned)).unwrap();
        prop_assert_eq!(verdict.is_quorum, rule.holds());
        prop_assert_eq!(verdict.is_signed, has_log);
        let times: Vec<u64> = verdict.cosigned.iter().map(|cosigner| cosigner.time).collect();
        prop_assert_eq!(times, file.cosigned.iter().map(|(_, time)| *time).collect::<Vec<_>>());
        prop_assert_eq!(verdict.cosigned.len() + verdict.missing.len(), usize::from(file.witnesses));
    }

    #[test]
    fn any_bytes_are_read_or_refused(file: Vec<u8>, words in vec(word(), 0..20)) {
        let _ = Policy::from_bytes(&file);
        if let Ok(policy) = words.join(" ").replace(" \n ", "\n").parse::<Policy>() {
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn cosignatures_round_trip(
        name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}(/[a-z0-9]{1,8})?",
        seed: [u8; 32],
        root: [u8; 32],
        (size, time) in (any::<u64>(), 1..=i64::MAX as u64),
        (place, bit) in (any::<Index>(), 0..8u32),
    ) {
        let signer = WitnessSigner::from_seed(&name, seed).unwrap();
        let verifier = signer.verifier();
        prop_assert_eq!(&verifier.to_string().parse::<WitnessVerifier>().unwrap(), &verifier);
        let head = Checkpoint { origin: "ledger.example/log".to_owned(), size, root: Hash(root), extensions: vec![] };
        let note = head.sign(&crate::sample::signer()).unwrap();
        let line = signer.cosign(&head.body(), time).unwrap();
        prop_assert_eq!(&line.to_string().parse::<Signature>().unwrap(), &line);
        let whole = add_cosignatures(&note, &format!("{line}\n"), std::slice::from_ref(&verifier)).unwrap();
        prop_assert_eq!(verifier.verify(&whole), Ok(Some(time)));
        let mut changed = line;
        let place = place.index(changed.blob.len());
        changed.blob[place] ^= 1 << bit;
        let changed = format!("{changed}\n");
        prop_assert!(add_cosignatures(&whole, &changed, std::slice::from_ref(&verifier)).is_err());
        prop_assert!(verifier.verify(&(note + &changed)).is_err());
    }
}

/// A quorum rule: a witness that cosigned or did not, or so many of some rules.
#[derive(Clone, Debug)]
enum Rule {
    Witness(bool),
    Group(Index, Vec<Rule>),
}

impl Rule {
    fn holds(&self) -> bool {
        match self {
            Self::Witness(cosigned) => *cosigned,
            Self::Group(least, members) => members.iter().filter(|member| member.holds()).count() > least.index(members.len()),
        }
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let witness = any::<bool>().prop_map(Rule::Witness);
    witness.prop_recursive(4, 16, 4, |inner| {
        (any::<Index>(), vec(inner, 1..5)).prop_map(|(least, members)| Rule::Group(least, members))
    })
}

/// A policy file in the making.
#[derive(Default)]
struct Written {
    text: String,
    witnesses: u8,
    groups: usize,
    cosigned: Vec<(u8, u64)>,
}

impl Written {
    /// Writes the lines of a rule after those of its members, and gives its name.
    fn write(&mut self, rule: &Rule, url: bool) -> String {
        match rule {
            Rule::Witness(cosigned) => {
                self.witnesses += 1;
                if *cosigned {
                    self.cosigned.push((self.witnesses, 1_700_000_000 + u64::from(self.witnesses)));
                }
                let name = format!("w{}", self.witnesses);
                let url = if url { " https://witness.example" } else { "" };
                self.text += &format!("witness {name} {}{url}\n", witness(self.witnesses).verifier());
                name
            }
            Rule::Group(least, members) => {
                let names: Vec<String> = members.iter().map(|member| self.write(member, url)).collect();
                self.groups += 1;
                let name = format!("g{}", self.groups);
                let least = match least.index(members.len()) + 1 {
                    1 => "any".to_owned(),
                    all if all == members.len() => "all".to_owned(),
                    number => number.to_string(),
                };
                self.text += &format!("group {name} {least} {}\n", names.join(" "));
                name
            }
        }
    }
}

/// Words of which policies are made, and the ends of lines.
fn word() -> impl Strategy<Value = String> {
    let keys = [signer().verifier().to_string(), witness(1).verifier().to_string(), witness(2).verifier().to_string()];
    let words = ["log", "witness", "group", "quorum", "none", "a", "b", "any", "all", "1", "\n", "\n"].map(str::to_owned);
    proptest::sample::select([keys.to_vec(), words.to_vec()].concat())
}
