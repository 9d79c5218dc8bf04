//! How the tools read their environment: what is set to nothing counts as not set, and what is wrong is named.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::Error;

/// A process's environment variables.
pub(crate) struct Environment(HashMap<OsString, OsString>);

impl Environment {
    pub(crate) fn of_process() -> Self {
        Environment(env::vars_os().collect())
    }

    #[cfg(any(test, debug_assertions))]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Environment(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    pub(crate) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.0.get(OsString::from(name).as_os_str()).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.path(name) else { return Ok(None) };
        let text = value.into_os_string().into_string();
        text.map(Some).map_err(|_| Error::Env { name, reason: "it is no UTF-8 text".into() })
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<String, Error> {
        self.text(name)?.ok_or(Error::EnvMissing(name))
    }

    /// Absent means false.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Error> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::Env { name, reason: format!("{other:?} is neither true nor false") }),
        }
    }

    pub(crate) fn number<T: FromStr>(&self, name: &'static str, default: T) -> Result<T, Error> {
        match self.text(name)? {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Error::Env { name, reason: format!("{text:?} is no number in range") }),
        }
    }

    /// Permission bits as a decimal number, as in JSON.
    pub(crate) fn mode(&self, name: &'static str) -> Result<Option<u32>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let mode = text.parse().ok().filter(|mode| *mode <= 0o777);
        mode.map(Some).ok_or_else(|| Error::Env { name, reason: format!("{text:?} is not within 0 and 511") })
    }

    /// A value from a Secret, without the newline at its end that most files have. Errors never show it.
    pub(crate) fn secret(&self, name: &'static str) -> Result<Option<String>, Error> {
        let text = self.text(name)?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The same of a variable whose name is told by another; one that is no text says nothing.
    pub(crate) fn named_secret(&self, name: &str) -> Option<String> {
        let text = self.0.get(OsString::from(name).as_os_str())?.to_str()?.trim_end_matches(['\r', '\n']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(crate) fn json<T: DeserializeOwned + Default>(&self, name: &'static str) -> Result<T, Error> {
        match self.text(name)? {
            None => Ok(T::default()),
            Some(text) => serde_json::from_str(&text).map_err(|e| Error::Env { name, reason: e.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_to_nothing_is_not_set() {
        let env = Environment::of(&[("EMPTY", "")]);
        assert!(!env.flag("EMPTY").unwrap());
        assert_eq!(env.number("EMPTY", 7).unwrap(), 7);
        assert_eq!(env.json::<Vec<u8>>("EMPTY").unwrap(), [0; 0]);
        assert_eq!(
            env.required("EMPTY").unwrap_err().to_string(),
            "environment variable EMPTY is not set; the operator sets it, so start the tool through a Task"
        );
    }

    #[test]
    fn wrong_values_are_named() {
        let env = Environment::of(&[("FLAG", "yes"), ("DEPTH", "-1"), ("MAP", "[")]);
        let messages = [
            env.flag("FLAG").unwrap_err().to_string(),
            env.number("DEPTH", 1u32).unwrap_err().to_string(),
            env.json::<Vec<u8>>("MAP").unwrap_err().to_string(),
        ];
        assert_eq!(messages[0], "environment variable FLAG: \"yes\" is neither true nor false");
        assert_eq!(messages[1], "environment variable DEPTH: \"-1\" is no number in range");
        assert!(messages[2].starts_with("environment variable MAP: EOF while parsing"));
    }

    #[test]
    fn a_secret_made_from_a_file_loses_its_newline() {
        let env = Environment::of(&[("TOKEN", "abc\r\n"), ("BLANK", "\n")]);
        assert_eq!(env.secret("TOKEN").unwrap().unwrap(), "abc");
        assert_eq!(env.secret("BLANK").unwrap(), None);
    }
}
