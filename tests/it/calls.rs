//! Calls as runs make them, end to end: places at a destination, credentials, functions, documents
//! of APIs.

mod limits;
mod openapi;
mod outages;
mod places;
mod tokens;
