//! Policy documents of another version, and names that are not vouched for.
