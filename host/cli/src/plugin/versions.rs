//! Which KubeOpenCode has which version of the plugin interface. Pure.

/// Versions of the interface, and the first KubeOpenCode with each.
const INTERFACES: [(&str, [u32; 3]); 1] = [("kubeopencode:plugin@1.0.0", [0, 1, 0])];

/// A version of KubeOpenCode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u32; 3]);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<_> = text.trim_start_matches('v').split('.').map(str::parse).collect();
        match numbers.as_slice() {
            [Ok(major), Ok(minor), Ok(patch)] => Ok(Self([*major, *minor, *patch])),
            _ => Err(format!("\"{text}\" is no version: write it as in 0.2.0")),
        }
    }
}

/// The first KubeOpenCode that has this interface; later ones have it too.
pub(super) fn since(interface: &str) -> Option<Version> {
    INTERFACES.iter().find(|(known, _)| *known == interface).map(|(_, since)| Version(*since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_version_has_each_interface() {
        let own: Version = env!("CARGO_PKG_VERSION").parse().unwrap();
        for (interface, _) in INTERFACES {
            assert!(since(interface).unwrap() <= own, "{interface}");
        }
        assert!(
            "0.2".parse::<Version>().is_err()
                && "v0.10.0".parse::<Version>().unwrap() > "0.9.1".parse().unwrap()
        );
    }
}
