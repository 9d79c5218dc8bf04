//! Reads are calls: what was not read yet is asked for, and the plugin is called again from its beginning.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::{
    Answer, ConfigMapRead, Content, HttpRequest, Outcome, PluginError, Request, Required, Requirement,
    Resolved, Response,
};

/// The feature of the host that reads from servers.
const FETCH: &str = "fetch";
/// What a read gives that was not made yet.
const TO_BE_READ: &str = "to be read by the host first: give this error back as it is, with `?`";

thread_local! {
    /// What this call of the plugin asked for so far.
    static ASKED: RefCell<Vec<Required>> = const { RefCell::new(Vec::new()) };
}

/// Runs a plugin. Where it asked for a read that was not made yet, it needs all that it asked for, whatever it answers: what it made of
/// the read's error, as with `.ok()`, it made without knowing what there is.
pub(crate) fn asking(request: &Request, evaluate: impl FnOnce() -> Answer) -> Answer {
    ASKED.set(Vec::new());
    let answer = evaluate();
    let asked = ASKED.take();
    let is_unread = asked.iter().any(|one| request.input(&one.id).is_none());
    let asks_itself = matches!(answer, Ok(Outcome::Needs(_)));
    if is_unread && !asks_itself { Ok(Outcome::Needs(asked)) } else { answer }
}

/// Whoever reads with [`ConfigMapRef`](crate::ConfigMapRef) or [`need`](crate::need) reads all so: these give the needs of one
/// call alone.
impl Request {
    /// A ConfigMap of the item's namespace, by its keys: these, or all where none is named. `None`: there is none.
    ///
    /// # Errors
    /// It was not read yet: to be given back as it is, with `?`.
    pub fn config_map(
        &self,
        name: &str,
        keys: &[&str],
    ) -> Result<Option<BTreeMap<&str, &Content>>, PluginError> {
        let id = [&["config-map", name][..], keys].concat().join("/");
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let what = Requirement::ConfigMap(ConfigMapRead { name: name.to_owned(), keys });
        Ok(match self.read(id, what)? {
            Resolved::ConfigMap(entries) => {
                Some(entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect())
            }
            _ => None,
        })
    }

    /// The Task's description; `None`: it has none.
    ///
    /// # Errors
    /// It was not read yet: to be given back as it is, with `?`.
    pub fn prompt(&self) -> Result<Option<&str>, PluginError> {
        Ok(match self.read("prompt".to_owned(), Requirement::Prompt)? {
            Resolved::Prompt(prompt) => Some(prompt.as_str()),
            _ => None,
        })
    }

    /// What a server answers; `None`: nothing. It happens in the Pod, where the plugin is called again, and may then answer with texts
    /// and files alone.
    ///
    /// # Errors
    /// It was not read yet: to be given back as it is, with `?`. This host fetches nothing.
    pub fn fetch(&self, what: HttpRequest) -> Result<Option<&Response>, PluginError> {
        if !self.host.features.iter().any(|feature| feature == FETCH) {
            let version = &self.host.version;
            let problem =
                format!("KubeOpenCode {version} fetches nothing for plugins: a newer one is needed");
            return Err(PluginError::unsupported(problem));
        }
        let id = format!("{FETCH}/{} {}", what.url, what.body.as_deref().unwrap_or_default());
        Ok(match self.read(id, Requirement::Fetch(what))? {
            Resolved::Response(response) => Some(response),
            _ => None,
        })
    }

    fn read(&self, id: String, what: Requirement) -> Result<&Resolved, PluginError> {
        let found = self.input(&id);
        ASKED.with_borrow_mut(|asked| {
            if asked.iter().all(|one| one.id != id) {
                asked.push(Required { id, what });
            }
        });
        found.ok_or_else(|| PluginError::internal(TO_BE_READ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{config_map, evaluate, missing, request};
    use crate::{
        About, Answer, ContextType, ErrorKind, HttpRequest, Input, Outcome, PluginError, Request, Resolved,
        text,
    };

    struct Reader;

    impl ContextType for Reader {
        type Config = Value;
        const ABOUT: About = About { name: "Reader", ..About::NOTHING };

        fn evaluate(config: Value, request: &Request) -> Answer {
            if config == "swallow" {
                let words = request.config_map("words", &[]).ok().flatten();
                return text(format!("{}", words.is_some()));
            }
            if config == "replace" {
                let refused = |_: PluginError| PluginError::unsatisfied("there are no words");
                return text(format!("{}", request.config_map("words", &[]).map_err(refused)?.is_some()));
            }
            if config == "fetch" {
                let response = request.fetch(HttpRequest::get("https://a.example"))?;
                return text(format!("{:?}", response.map(|response| response.status)));
            }
            let words = request.config_map("words", &[])?.unwrap_or_default();
            let hello = words.get("hello").and_then(|word| word.as_text()).unwrap_or_default();
            let more = request.config_map("more", &["a", "b"])?;
            let prompt = request.prompt()?.unwrap_or_default();
            text(format!("{hello} {} {prompt}", more.is_some()))
        }
    }

    fn needs(request: &Request) -> Vec<String> {
        match evaluate::<Reader>(request) {
            Ok(Outcome::Needs(needs)) => needs.into_iter().map(|need| need.id).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_was_not_read_is_asked_for_with_all_that_was_asked_for_before() {
        let mut asked = request(json!({}));
        assert_eq!(needs(&asked), ["config-map/words"]);
        asked.inputs.push(config_map("config-map/words", &[("hello", b"Ahoy")]));
        assert_eq!(needs(&asked), ["config-map/words", "config-map/more/a/b"]);
        asked.inputs.push(missing("config-map/more/a/b"));
        assert_eq!(needs(&asked), ["config-map/words", "config-map/more/a/b", "prompt"]);
        asked.inputs.push(Input { id: "prompt".to_owned(), value: Resolved::Prompt("Do it.".to_owned()) });
        assert_eq!(evaluate::<Reader>(&asked), text("Ahoy false Do it."));
    }

    #[test]
    fn what_is_made_of_the_error_of_a_read_is_made_again_once_it_was_read() {
        for config in ["swallow", "replace"] {
            let mut asked = request(json!(config));
            assert_eq!(needs(&asked), ["config-map/words"], "{config}");
            asked.inputs.push(config_map("config-map/words", &[("hello", b"Ahoy")]));
            assert_eq!(evaluate::<Reader>(&asked), text("true"), "{config}");
        }
    }

    #[test]
    fn a_host_that_fetches_nothing_is_named_and_another_is_asked() {
        let mut asked = request(json!("fetch"));
        let refused = evaluate::<Reader>(&asked).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unsupported);
        assert!(refused.message.ends_with(" fetches nothing for plugins: a newer one is needed"));
        asked.host.features.push("fetch".to_owned());
        assert_eq!(needs(&asked), ["fetch/https://a.example "]);
        asked.inputs.push(missing("fetch/https://a.example "));
        assert_eq!(evaluate::<Reader>(&asked), text("None"));
    }
}
