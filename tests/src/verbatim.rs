//! Objects sent to the API server as their YAML is written. The server itself reads the text, as kubectl does (`0400`
//! is octal), and it is told to refuse what it does not know, so that nothing is dropped in silence.
//!
//! May touch: objects of the kinds that we define. Must not touch: what the text says.

use std::path::Path;
use std::sync::LazyLock;

use http::{Method, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::Status;
use kube::{Client, Error};
use serde_json::Value;

use crate::cluster::FIELD_MANAGER;
use crate::objects::documents;

/// One object as YAML, and where it belongs.
#[derive(Clone, Debug)]
pub struct Verbatim {
    /// What is sent.
    pub yaml: String,
    /// The same as JSON; what is octal in YAML as kubectl reads it is a number here too.
    pub object: Value,
    /// Where objects of this kind are.
    collection: String,
}

impl Verbatim {
    /// One YAML document; `namespace` is where it goes, unless its kind is cluster-scoped.
    ///
    /// # Panics
    /// When it is no object of a kind that we define.
    pub fn new(yaml: &str, namespace: &str) -> Self {
        let [mut object] = <[Value; 1]>::try_from(documents(yaml)).expect("one document");
        as_kubectl_reads(&mut object);
        static CRDS: LazyLock<Vec<CustomResourceDefinition>> =
            LazyLock::new(|| kubeopencode_api::crd::all().unwrap());
        let crd = CRDS.iter().map(|crd| &crd.spec).find(|crd| {
            object["kind"] == crd.names.kind
                && object["apiVersion"] == format!("{}/{}", crd.group, crd.versions[0].name)
        });
        let crd = crd.unwrap_or_else(|| panic!("no kind of ours:\n{yaml}"));
        let within =
            if crd.scope == "Namespaced" { format!("namespaces/{namespace}/") } else { String::new() };
        let collection = format!("/apis/{}/{}/{within}{}", crd.group, crd.versions[0].name, crd.names.plural);
        Self { yaml: yaml.to_owned(), object, collection }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().expect("a name")
    }

    /// `kubectl create`.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn create(&self, client: &Client) -> Result<Value, Box<Status>> {
        self.send(client, Method::POST, "application/yaml", "", "").await
    }

    /// `kubectl create --dry-run=server`.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_out(&self, client: &Client) -> Result<Value, Box<Status>> {
        self.send(client, Method::POST, "application/yaml", "", "&dryRun=All").await
    }

    /// `kubectl apply --server-side`.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn apply(&self, client: &Client) -> Result<Value, Box<Status>> {
        let more = format!("&fieldManager={FIELD_MANAGER}");
        self.send(client, Method::PATCH, "application/apply-patch+yaml", &self.at(""), &more).await
    }

    /// Sets its status to what a JSON object says.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn set_status(&self, client: &Client, status: &Value) -> Result<Value, Box<Status>> {
        let patch = Self { yaml: serde_json::json!({"status": status}).to_string(), ..self.clone() };
        patch.send(client, Method::PATCH, "application/merge-patch+json", &self.at("/status"), "").await
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn get(&self, client: &Client) -> Result<Value, Box<Status>> {
        let empty = Self { yaml: String::new(), ..self.clone() };
        empty.send(client, Method::GET, "application/yaml", &self.at(""), "").await
    }

    /// Deletes it.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn delete(&self, client: &Client) -> Result<Value, Box<Status>> {
        let empty = Self { yaml: String::new(), ..self.clone() };
        empty.send(client, Method::DELETE, "application/yaml", &self.at(""), "").await
    }

    fn at(&self, subresource: &str) -> String {
        format!("/{}{subresource}", self.name())
    }

    async fn send(
        &self,
        client: &Client,
        method: Method,
        content: &str,
        place: &str,
        more: &str,
    ) -> Result<Value, Box<Status>> {
        let strict =
            if method == Method::POST || method == Method::PATCH { "fieldValidation=Strict" } else { "" };
        let uri = format!("{}{place}?{strict}{more}", self.collection);
        let request = Request::builder().method(method).uri(uri).header("Content-Type", content);
        match client.request(request.body(self.yaml.clone().into_bytes()).unwrap()).await {
            Ok(object) => Ok(object),
            Err(Error::Api(status)) => Err(status),
            Err(error) => panic!("{error}\n{}", self.yaml),
        }
    }
}

/// Plain numbers with a leading 0 are octal to kubectl and texts to our parser. No example has a text like that.
fn as_kubectl_reads(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > 1 && text.starts_with('0') => {
            if let Ok(number) = i64::from_str_radix(text, 8) {
                *value = number.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(as_kubectl_reads),
        Value::Object(fields) => fields.values_mut().for_each(as_kubectl_reads),
        _ => {}
    }
}

/// The texts of a folder of fixtures, by their names in order.
///
/// # Panics
/// When it cannot be read.
pub fn fixtures(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut texts: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    texts.sort();
    texts
}
