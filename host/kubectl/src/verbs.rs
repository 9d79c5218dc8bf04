//! The verbs, one module each.

pub(crate) mod completion;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod rerun;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod stop;
pub(crate) mod then;
pub(crate) mod top;
