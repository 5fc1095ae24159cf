//! Calls against a real HTTP server on loopback: what is sent, what is made of every kind of
//! answer, when it is tried again, and what no answer may do.

mod answers;
mod documents;
mod evil;
mod limits;
mod logs;
mod matching;
mod redirects;
mod requests;
mod retries;
mod sink;
mod world;
