//! `kubeopencode plugin install` and `uninstall`, as an author calls them, with an operator that says what it makes of a component.

use kubeopencode_tests::components::{checked_greeting, sha256};
use kubeopencode_tests::namespace::TEAM;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::pushed::Author;
use super::{clear, is_gone, named, serves};
use crate::scenario;

#[tokio::test]
async fn what_is_installed_serves_and_of_what_does_not_the_condition_is_told() {
    scenario(async |ns| {
        let (folder, hello, salut) = (TempDir::new().unwrap(), checked_greeting("hello"), checked_greeting("salut"));
        let author = Author::new(folder.path());
        author.writes("hello.wasm", &hello);
        author.writes("salut.wasm", &salut);
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let (first, second) = (named(ns, "first"), named(ns, "second"));
        let config_map = |name: &str| format!("ConfigMap {}/{name}", ns.name);
        let install =
            |file: &str, name: &str| format!("install {file} --name {name} --namespace {}", ns.name);

        let said = author.calls(&install("hello.wasm", &first)).await;
        let applied = format!("{} applied\nPlugin {first}: Ready after ", config_map(&first));
        assert!(said.code == 0 && said.stdout.starts_with(&applied), "{said:?}");
        assert!(said.stdout.contains(" ms: serves Greeting"), "{said:?}");
        let next = format!(
            "\ntry it: write a Task with the example of `kubeopencode plugin explain` into try.yaml, then kubectl apply --namespace \
             NAMESPACE --filename try.yaml; NAMESPACE is that of your Tasks, and not the operator's, {}\n",
            ns.name
        );
        assert!(said.stderr.ends_with(&next), "{said:?}");
        serves(ns, "first", &hello).await;
        let said = author.prints(&format!("{} --output json", install("hello.wasm", &first))).await;
        let mut came: Value = serde_json::from_str(&said).unwrap();
        assert!(came["millis"].take().is_u64() && came["serves"]["loadedMillis"].take().is_i64(), "{said}");
        assert!(came["serves"]["version"].take().is_string(), "{said}");
        let digest = format!("sha256:{}", sha256(&hello));
        let serving = json!({"types": ["Greeting"], "version": null, "loadedMillis": null});
        assert_eq!(
            came,
            json!({
                "plugin": first, "digest": digest, "ok": true, "applied": [config_map(&first)], "millis": null,
                "serves": serving, "problem": null,
            })
        );

        // of two with one type the older serves
        let why = format!("Ready=False NameTaken: \"Greeting\" is served by Plugin \"{first}\"");
        let said = author.calls(&install("salut.wasm", &second)).await;
        let applied = format!("{} applied\nPlugin {second}: {why}", config_map(&second));
        assert!(said.code == 1 && said.stdout.starts_with(&applied), "{said:?}");
        let said = author.calls(&format!("{} --output json", install("salut.wasm", &second))).await;
        let came: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((said.code, &came["ok"], &came["serves"]), (1, &json!(false), &json!(null)));
        assert!(came["problem"].as_str().unwrap().starts_with(&why), "{came}");

        let said = author.prints(&format!("uninstall {second} --namespace {} --output json", ns.name)).await;
        let gone: Value = serde_json::from_str(&said).unwrap();
        let deleted = [config_map(&second), format!("Plugin {second}")];
        assert_eq!(gone, json!({"plugin": second, "deleted": deleted}));
        is_gone(ns, "second").await;
        let said = author.prints(&format!("uninstall {first} --namespace {}", ns.name)).await;
        assert_eq!(said, format!("{} deleted\nPlugin {first} deleted\n", config_map(&first)));
        clear(ns).await;
    })
    .await;
}
