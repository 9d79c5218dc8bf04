//! Where an item may be fetched from, as far as its address says it. What its host's name leads to, and where it redirects
//! to, the programs in the Pod look at, by the same rules.
//!
//! May touch: names. Must not touch: the network.

use kubeopencode_api::network::{NetworkRules, REFUSED};

use super::Validator;
use crate::Refusal;

impl Validator<'_> {
    /// The rules for this item, which allow its host.
    pub(super) fn network(&self, host: &str) -> Result<NetworkRules, Refusal> {
        let network = &self.run.agent.network;
        let rules = match self.item.is_agents() {
            true => &network.of_agents,
            false => network.of_tasks.as_ref().map_err(|problem| {
                self.item.refused(format!(
                    "{REFUSED} {host}: spec.taskNetwork of a KubeOpenCodeConfig decides, and {problem}; ask who runs \
                     KubeOpenCode"
                ))
            })?,
        };
        rules.check_host(host).map_err(|problem| self.item.refused(problem))?;
        Ok(rules.clone())
    }
}
