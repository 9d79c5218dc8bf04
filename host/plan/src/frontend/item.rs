//! Context items, in whatever form a group writes them.
//!
//! May touch: an item and the object that holds it. Must not touch: what a plugin makes of it.

use kubeopencode_api::context::BuiltInType;
use kubeopencode_api::plugin::Origin;
use serde_json::Value;

use crate::Refusal;
use crate::conventions::Conventions;
use crate::item::{Item, MountPath, UNNAMED, described, file_mode};
use crate::paths::AbsPath;

/// Field of the payload of a plugin's type.
pub(super) const CONFIG: &str = "config";

/// Where items stand.
pub(super) struct Place<'a> {
    pub(super) origin: Origin,
    pub(super) namespace: &'a str,
    pub(super) holder: &'a str,
    pub(super) workspace: &'a AbsPath,
    pub(super) conventions: &'a Conventions,
}

/// What stands there. An empty text is as good as none.
pub(super) struct Written<'a> {
    pub(super) field: String,
    pub(super) type_: &'a str,
    pub(super) name: Option<&'a str>,
    /// What its plugin is given, or why the item makes no sense.
    pub(super) payload: Result<Value, String>,
    pub(super) mount_path: Option<&'a str>,
    pub(super) file_mode: Option<i32>,
    pub(super) optional: Option<bool>,
}

pub(super) fn read(written: Written<'_>, place: &Place<'_>) -> Result<Item, Refusal> {
    let Written { field, type_, payload, .. } = written;
    let set = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let name = set(written.name);
    let refuse = |problem: String| {
        Refusal::context(format!("{}: {problem}", described(&field, name.as_deref(), place.holder)))
    };
    let payload = payload.map_err(refuse)?;
    let mount_path = set(written.mount_path);
    let mount_path = mount_path.map(|path| MountPath::read(&path, place.workspace, place.conventions));
    let mount_path = mount_path.transpose().map_err(refuse)?;
    let file_mode = written.file_mode.map(file_mode).transpose().map_err(refuse)?;
    Ok(Item {
        origin: place.origin,
        namespace: place.namespace.to_owned(),
        type_: type_.to_owned(),
        optional: written.optional.unwrap_or(false),
        holder: place.holder.to_owned(),
        built_in: BuiltInType::find(type_).is_some(),
        unnamed: UNNAMED.to_owned(),
        payload,
        mount_path,
        file_mode,
        field,
        name,
    })
}
