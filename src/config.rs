//! Configuration in layers, loaded into any type; knows no key of its own.
