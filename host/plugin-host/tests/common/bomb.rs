//! A component that fits a ConfigMap and that no compiler should be given: also for the bench of the whole operator.

/// A component of some 100 KiB whose compilation would take gigabytes: its functions keep thousands of values alive
/// across thousands of joins.
pub(crate) fn bomb() -> Vec<u8> {
    let locals = "i64 ".repeat(4000);
    let joins: String = (0..4000)
        .map(|i| format!("(if (local.get 0) (then (local.set {} (i64.const {i}))))", 1 + i))
        .collect();
    let uses: String = (0..4000).map(|i| format!("(i64.add (local.get {}))", 1 + i)).collect();
    let function = format!("(func (param i32) (result i64) (local {locals}) {joins} (i64.const 0) {uses})");
    wat::parse_str(format!("(component (core module {}))", function.repeat(2))).unwrap()
}
