//! The chart's CustomResourceDefinitions are what the types say.

use std::path::Path;

use crate::common::call;

#[test]
fn the_definitions_of_the_chart_are_fresh() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let written =
        std::fs::read_to_string(repository.join("deploy/chart/files/crds/definitions.yaml")).unwrap();
    let said = call("crds", &[], &repository, "", &[]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert!(said.stdout == written, "the chart's definitions are not those of host/api; run: make crds");
}
