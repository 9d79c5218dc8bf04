//! `--grant`: what a plugin may do, as it is written on the command line. Pure.

use std::collections::BTreeSet;
use std::str::FromStr;

use kubeopencode_api::globs::matches;
use kubeopencode_api::plugin::Capability;
use kubeopencode_api::plugin_object::{Grants, SecretGrant};
use kubeopencode_plan::is_object_name;

/// One `--grant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Capability(Capability),
    Env(String),
    Image(String),
    Host(String),
    Secret(SecretGrant),
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((what, value)) = text.split_once('=') else {
            return match Capability::parse(text) {
                // without a pattern they allow nothing
                Some(Capability::Env) => {
                    Err("write env=NAME, with the variable that it may set, or a pattern".to_owned())
                }
                Some(Capability::InitContainer) => {
                    Err("write image=IMAGE, with the image that it may run, or a pattern".to_owned())
                }
                Some(capability) => Ok(Self::Capability(capability)),
                None => Err(format!(
                    "\"{text}\" is no grant; write git, url, secret, env=NAME, image=IMAGE, host=HOST, or secret=NAME:HOST"
                )),
            };
        };
        if value.is_empty() {
            return Err(format!("nothing stands after {what}="));
        }
        if what != "secret" {
            matches(value, "").map_err(|error| format!("\"{value}\" is no pattern: {error}"))?;
        }
        match what {
            "env" => Ok(Self::Env(value.to_owned())),
            "image" => Ok(Self::Image(value.to_owned())),
            "host" => Ok(Self::Host(value.to_owned())),
            "secret" => secret(value).map(Self::Secret),
            _ => Err(format!("\"{what}=\" is no grant; write env=, image=, host= or secret=")),
        }
    }
}

fn secret(text: &str) -> Result<SecretGrant, String> {
    let (name, hosts) = text.split_once(':').unwrap_or((text, ""));
    if !is_object_name(name) {
        return Err(format!("\"{name}\" is no name of a Secret"));
    }
    let hosts: Vec<_> = hosts.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect();
    if hosts.is_empty() {
        return Err(format!("write secret={name}:HOST, with the hosts that it may be sent to"));
    }
    Ok(SecretGrant { name: name.to_owned(), hosts })
}

/// All grants of a command line together; a pattern brings the capability that it is for.
///
/// # Errors
/// A capability that the plugin does not ask for.
pub(crate) fn grants(all: &[Grant], asked: &BTreeSet<Capability>) -> Result<Option<Grants>, String> {
    let mut grants = Grants::default();
    let mut capabilities = BTreeSet::new();
    for grant in all {
        match grant {
            Grant::Capability(capability) => _ = capabilities.insert(*capability),
            Grant::Env(glob) => {
                capabilities.insert(Capability::Env);
                grants.env.push(glob.clone());
            }
            Grant::Image(glob) => {
                // a command builder brings its program with an image, and asks for nothing
                capabilities.extend(asked.get(&Capability::InitContainer));
                grants.images.push(glob.clone());
            }
            Grant::Host(glob) => grants.hosts.push(glob.clone()),
            Grant::Secret(secret) => {
                capabilities.insert(Capability::Secret);
                match grants.secrets.iter_mut().find(|known| known.name == secret.name) {
                    Some(known) => known.hosts.extend(secret.hosts.clone()),
                    None => grants.secrets.push(secret.clone()),
                }
            }
        }
    }
    if let Some(capability) = capabilities.difference(asked).next() {
        let asked: Vec<_> = asked.iter().map(|capability| capability.as_str()).collect();
        let asked = if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") };
        return Err(format!(
            "it does not ask for {}, and is granted no more than it asks for: {asked}",
            capability.as_str()
        ));
    }
    grants.capabilities = capabilities.into_iter().collect();
    Ok((!all.is_empty()).then_some(grants))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(texts: &[&str], asked: &[Capability]) -> Result<Option<Grants>, String> {
        let all = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        grants(&all, &asked.iter().copied().collect())
    }

    #[test]
    fn grants_are_read_and_put_together() {
        let texts = [
            "url",
            "env=JIRA_*",
            "secret=jira:acme.atlassian.net",
            "secret=jira:b.example,c.example",
            "host=*.acme.net",
            "image=acme/*",
        ];
        let grants = granted(&texts, &Capability::ALL).unwrap().unwrap();
        let hosts = ["acme.atlassian.net", "b.example", "c.example"].map(str::to_owned).into();
        assert_eq!(
            grants,
            Grants {
                capabilities: vec![
                    Capability::Env,
                    Capability::Url,
                    Capability::Secret,
                    Capability::InitContainer
                ],
                env: vec!["JIRA_*".to_owned()],
                images: vec!["acme/*".to_owned()],
                hosts: vec!["*.acme.net".to_owned()],
                secrets: vec![SecretGrant { name: "jira".to_owned(), hosts }],
            }
        );
        assert_eq!(granted(&[], &Capability::ALL), Ok(None));
    }

    #[test]
    fn what_is_no_grant_says_what_is_one() {
        for (text, words) in [
            ("root", "\"root\" is no grant; write git, url, secret, env=NAME"),
            ("env", "write env=NAME"),
            ("init-container", "write image=IMAGE"),
            ("env=", "nothing stands after env="),
            ("env=[", "\"[\" is no pattern: "),
            ("file=x", "\"file=\" is no grant"),
            ("secret=jira", "write secret=jira:HOST"),
            ("secret=jira:", "write secret=jira:HOST"),
            ("secret=A b:c", "\"A b\" is no name of a Secret"),
        ] {
            let error = text.parse::<Grant>().unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_is_granted_that_is_not_asked_for() {
        let refusal = granted(&["git"], &[Capability::Url, Capability::Secret]).unwrap_err();
        assert_eq!(refusal, "it does not ask for git, and is granted no more than it asks for: url, secret");
        assert!(granted(&["env=A"], &[]).unwrap_err().ends_with("asks for: nothing"));
    }
}
