//! Prints docs/reference.md; `make crds` calls it.

fn main() -> Result<(), serde_json::Error> {
    print!("{}", kubeopencode_api::reference::markdown()?);
    Ok(())
}
