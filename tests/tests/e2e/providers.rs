//! The examples of providers with the real OpenCode: what it understands of each, and what it asks the provider for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{Builder, documents, secret};
use serde_json::{Value, json};

use crate::support::{log, on_the_whole_cluster, task};

/// What the agents do in place of their work.
const ASK: &str = include_str!("../../fixtures/providers/ask.sh");

/// The key in each Secret.
const KEY: &str = "fake-key";

/// So many OpenCodes at once, whatever the machine has.
const AT_ONCE: usize = 3;

struct Example {
    name: &'static str,
    model: &'static str,
    small_model: &'static str,
    access: Access,
}

/// How OpenCode gets in.
enum Access {
    /// With a key in this variable.
    Key(&'static str),
    /// Nobody asks for a key.
    Open,
    /// As the ServiceAccount with this annotation.
    Identity {
        annotation: &'static str,
        /// What the cloud gives to such a Pod, leading nowhere.
        given: &'static [(&'static str, &'static str)],
        /// What OpenCode says then.
        missed: &'static str,
    },
}

const EXAMPLES: [Example; 10] = [
    Example {
        name: "anthropic",
        model: "anthropic/claude-sonnet-5",
        small_model: "anthropic/claude-haiku-4-5",
        access: Access::Key("ANTHROPIC_API_KEY"),
    },
    Example {
        name: "azure",
        model: "azure/gpt-5.5",
        small_model: "azure/gpt-5.4-mini",
        access: Access::Key("AZURE_API_KEY"),
    },
    Example {
        name: "bedrock",
        model: "amazon-bedrock/eu.anthropic.claude-sonnet-5",
        small_model: "amazon-bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        access: Access::Identity {
            annotation: "eks.amazonaws.com/role-arn",
            given: &[
                ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/kubeopencode-agent"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
            ],
            missed: "open '/nowhere/token'",
        },
    },
    Example {
        name: "google",
        model: "google/gemini-2.5-pro",
        small_model: "google/gemini-2.5-flash",
        access: Access::Key("GOOGLE_GENERATIVE_AI_API_KEY"),
    },
    Example {
        name: "litellm",
        model: "litellm/coder",
        small_model: "litellm/small",
        access: Access::Key("LITELLM_API_KEY"),
    },
    Example {
        name: "ollama",
        model: "ollama/qwen3-coder:30b",
        small_model: "ollama/qwen3-coder:30b",
        access: Access::Open,
    },
    Example {
        name: "openai",
        model: "openai/gpt-5.5",
        small_model: "openai/gpt-5.4-mini",
        access: Access::Key("OPENAI_API_KEY"),
    },
    Example {
        name: "openai-compatible",
        model: "company/large",
        small_model: "company/small",
        access: Access::Key("COMPANY_API_KEY"),
    },
    Example {
        name: "openrouter",
        model: "openrouter/anthropic/claude-sonnet-5",
        small_model: "openrouter/anthropic/claude-haiku-4.5",
        access: Access::Key("OPENROUTER_API_KEY"),
    },
    Example {
        name: "vertex",
        model: "google-vertex/gemini-2.5-pro",
        small_model: "google-vertex/gemini-2.5-flash",
        access: Access::Identity {
            annotation: "iam.gke.io/gcp-service-account",
            given: &[("GCE_METADATA_HOST", "127.0.0.1:9")],
            missed: "Could not load the default credentials",
        },
    },
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/providers")
}

/// The provider of a model, and what the provider calls it.
fn parts(model: &str) -> (&str, &str) {
    model.split_once('/').expect("a provider and a model")
}

impl Example {
    fn yaml(&self) -> String {
        std::fs::read_to_string(folder().join(self.name).with_extension("yaml")).unwrap()
    }

    /// Its Agent under its own name, with a Task that asks, and what must be there before.
    async fn apply(&self, ns: &TestNamespace) {
        let yaml = self.yaml();
        let models = BTreeSet::from([self.model, self.small_model]).len().to_string();
        let command = json!(["sh", "-c", ASK, "sh", parts(self.model).0, models]);
        let mut agent = Builder::<Agent>::among(&yaml, "Agent", "default")
            .change("/metadata/name", self.name)
            .set("/spec/command", command)
            .json();
        match &self.access {
            Access::Key(variable) => {
                let credential = &agent["spec"]["credentials"][0];
                assert_eq!(credential["env"], *variable, "{}", self.name);
                let [name, key] =
                    ["name", "key"].map(|field| credential["secretRef"][field].as_str().unwrap());
                ns.apply(secret(name, &[(key, KEY)])).await;
            }
            Access::Open => assert_eq!(agent["spec"]["credentials"], Value::Null, "{}", self.name),
            Access::Identity { annotation, given, .. } => {
                assert_eq!(agent["spec"]["credentials"], Value::Null, "{}", self.name);
                let env = agent["spec"]["podSpec"]["env"].as_array_mut().unwrap();
                env.extend(given.iter().map(|(name, value)| json!({"name": name, "value": value})));
                let account =
                    documents(&yaml).into_iter().find(|object| object["kind"] == "ServiceAccount").unwrap();
                assert!(account["metadata"]["annotations"][annotation].is_string(), "{}", self.name);
            }
        }
        let others = documents(&yaml).into_iter().filter(|object| object["kind"] != "Agent");
        ns.apply(others.chain([agent]).collect::<Vec<_>>()).await;
        ns.apply(task(self.name).agent(self.name)).await;
    }

    /// What is seen outside of OpenCode.
    fn expected(&self) -> BTreeSet<String> {
        let asked = |key: &str| {
            BTreeSet::from(
                [self.model, self.small_model].map(|model| format!("asked: {key}, {}", parts(model).1)),
            )
        };
        match self.access {
            Access::Key(_) => asked(KEY),
            Access::Open => asked("no key"),
            Access::Identity { missed, .. } => BTreeSet::from([format!("said: {missed}")]),
        }
    }
}

#[tokio::test]
async fn each_provider_is_asked_for_the_models_of_its_example_with_its_key() {
    on_the_whole_cluster(async |ns| {
        for examples in EXAMPLES.chunks(AT_ONCE) {
            for example in examples {
                example.apply(ns).await;
            }
            for example in examples {
                let said = log(ns, &ns.phase(example.name, Phase::Completed).await).await;
                let (understood, seen) = said.split_once("---\n").unwrap_or_else(|| panic!("{said}"));
                let understood: Value = serde_json::from_str(understood).unwrap();
                assert_eq!(understood["model"], example.model);
                assert_eq!(understood["small_model"], example.small_model);
                let seen: BTreeSet<String> = seen.lines().map(str::to_owned).collect();
                assert_eq!(seen, example.expected(), "{}: {said}", example.name);
            }
        }
    })
    .await;
}

#[test]
fn every_example_of_a_provider_is_asked() {
    let files: BTreeSet<OsString> =
        std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
    let asked: BTreeSet<OsString> =
        EXAMPLES.iter().map(|example| format!("{}.yaml", example.name).into()).collect();
    assert_eq!(files, asked);
}
