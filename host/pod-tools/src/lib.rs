//! What runs inside the Pod: context-init and the result reader
