//! Labels and annotations that users give to Pods: which are KubeOpenCode's own, and are left out.
//!
//! May touch: keys and values.

use std::collections::BTreeMap;

use kubeopencode_api::group::Group;
use kubeopencode_api::literals::APP_LABEL;

use crate::object_name::{is_label_key, is_label_value};
use crate::run::pod_options::IgnoredKeys;

type Keys = BTreeMap<String, String>;

/// Labels that Kubernetes takes, without our own.
///
/// # Errors
/// The first one that is no label.
pub(super) fn labels(field: &'static str, given: &Keys) -> Result<(Keys, Option<IgnoredKeys>), String> {
    for (key, value) in given {
        if !is_label_key(key) || !is_label_value(value) {
            return Err(format!(
                "\"{key}: {value}\" is no label: use at most 63 letters, digits, -, _ and ."
            ));
        }
    }
    Ok(leave_out(field, given, APP_LABEL))
}

/// All but the keys of both groups and `own`.
pub(super) fn leave_out(field: &'static str, given: &Keys, own: &str) -> (Keys, Option<IgnoredKeys>) {
    let ours = |key: &str| {
        let prefix = key.split_once('/').map(|(prefix, _)| prefix);
        key == own || Group::ALL.iter().any(|group| prefix == Some(group.names().group))
    };
    let (ignored, rest): (Keys, _) = given.clone().into_iter().partition(|(key, _)| ours(key));
    let keys: Vec<_> = ignored.into_keys().collect();
    (rest, (!keys.is_empty()).then_some(IgnoredKeys { field, keys }))
}
