//! Loads and calls WebAssembly plugins within hard limits; knows no Kubernetes
