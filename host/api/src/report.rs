//! What the result reader in the Pod is told (`ResultReader`) and what it reports (`AgentReport`).
