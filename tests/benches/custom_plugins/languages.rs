//! How long a plugin in each language takes from its ConfigMap to Ready with nothing compiled, and from an update to the new
//! one, beside what the plugin host alone takes for it. One in Python has more than ConfigMaps hold, and comes out of a volume.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kubeopencode_api::plugin::Kind;
use kubeopencode_plugin_host::LimitClass;
use kubeopencode_tests::components::{config_map, sha256, with_noise};
use serde_json::json;

use super::{Bench, JAVASCRIPT, RUST, compressed, decompressed};

const GO: &[u8] = include_bytes!("../../../host/plugin-host/tests/fixtures/1.0.0/go.wasm.zst");
const PYTHON: &[u8] = include_bytes!("../../../host/plugin-host/tests/fixtures/1.0.0/python.wasm.zst");
/// How long whoever waited for a Plugin that is gone has to hear of it.
const GONE: Duration = Duration::from_millis(500);

impl Bench {
    /// One language after the other, since all of them have the same type.
    pub(super) async fn languages(&mut self) {
        let _operator = self.operator().await;
        for (language, goal, packed) in
            [("Rust", "< 1 s", RUST), ("JavaScript", "", JAVASCRIPT), ("Go", "", GO), ("Python", "", PYTHON)]
        {
            let component = decompressed(packed);
            let updated = with_noise(&component, 1);
            let is_in_volume = language == "Python";
            let (source, class) = match is_in_volume {
                true => ("Plugin", LimitClass::Large),
                false => ("ConfigMap", LimitClass::Default),
            };
            let first = format!("its {source} to Ready");
            for (what, component) in [(first.as_str(), component), ("an update to the new", updated)] {
                let (packed, alone) = (compressed(&component), self.alone(&component, class));
                let applied = if is_in_volume {
                    let path = self.put_into_volume(&sha256(&component), &packed);
                    let applied = Instant::now();
                    self.apply_plugin(
                        "language",
                        &json!({
                            "kind": "context-type", "source": {"directory": {"path": path}}, "limits": {"class": class},
                        }),
                    )
                    .await;
                    applied
                } else {
                    let map = config_map("language", Kind::ContextType, "plugin.wasm.zst", &packed);
                    let applied = Instant::now();
                    self.apply(&map).await;
                    applied
                };
                self.serves("language", &component).await;
                let took = applied.elapsed().as_secs_f64();
                self.bed.table.ratio(format!("{language} (the host alone): from {what}"), took, alone, goal);
            }
            self.clear().await;
            while !self.plugins().list(&ListParams::default()).await.unwrap().items.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(GONE).await;
        }
    }

    /// A file in the folder of the operator's volumes.
    fn put_into_volume(&self, name: &str, packed: &[u8]) -> PathBuf {
        let folder = self.bed.cache.with_extension("volumes");
        std::fs::create_dir_all(&folder).unwrap();
        let path = std::fs::canonicalize(folder).unwrap().join(format!("{name}.wasm.zst"));
        std::fs::write(&path, packed).unwrap();
        path
    }
}
