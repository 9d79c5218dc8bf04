//! Harness for the tests on a real API server.
