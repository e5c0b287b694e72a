//! A stranger that exhausts pools, ports, descriptors or the log.
