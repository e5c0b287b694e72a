//! A stranger on the network and on layer 2.
