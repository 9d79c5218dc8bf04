//! The whole way from the YAML that users write to the Pod and ConfigMaps that a cluster gets.

mod build;
mod guests;
mod pods;
mod refusals;
mod stable;
