//! The sidecar: mutual TLS for its pod. It depends on the contract only: it does not know that
//! Kubernetes exists.
