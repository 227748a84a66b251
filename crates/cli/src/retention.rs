//! Configuration of how long the contents of the log are kept.

use marque_core::time::Ttl;
use marque_engine::{Retention, SHORTEST_RETENTION};
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// `[retention]`: how long the contents of entries are kept. Without it, for good.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// How many months, of 31 days; at least 6.
    pub months: u32,
    /// Allows less than 6 months, where no law asks for them.
    #[serde(default)]
    pub danger_short: bool,
}

impl RetentionConfig {
    /// The rule for the engine.
    pub fn rule(&self) -> Result<Retention> {
        let keep = Ttl::from_seconds(u64::from(self.months) * MONTH);
        if self.months == 0 || (keep < SHORTEST_RETENTION && !self.danger_short) {
            return Err(Failure::input(format!(
                "`retention.months` is {}: the EU AI Act has the logs of high-risk systems kept for at least 6 months, by \
                 providers (Art. 19(1)) and by deployers (Art. 26(6)); where that does not bind you, say `danger_short = true`",
                self.months
            )));
        }
        Ok(Retention { keep, policy: format!("contents are kept for {} months", self.months) })
    }
}

const MONTH: u64 = 31 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_six_months_is_a_danger_that_somebody_must_name() {
        let rule = |text: &str| toml::from_str::<RetentionConfig>(text).unwrap().rule();
        assert_eq!(rule("months = 6").unwrap().keep, SHORTEST_RETENTION);
        let refused = rule("months = 5").unwrap_err();
        assert!(refused.message.contains("Art. 19(1)") && refused.message.contains("26(6)"), "{}", refused.message);
        assert_eq!(rule("months = 1\ndanger_short = true").unwrap().policy, "contents are kept for 1 months");
        assert!(rule("months = 0\ndanger_short = true").is_err());
        assert!(toml::from_str::<RetentionConfig>("months = 7\ndays = 1").is_err());
    }
}
