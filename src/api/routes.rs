//! The list of routes: what the router serves, what each needs, what OpenAPI says of it.
//!
//! A function can be added only if its first argument is an [`Allowed`], so a route without a
//! declared permission does not compile; and the router, the roles and the published description
//! cannot differ, because they are one list.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};

use super::State;
use super::access::{Allowed, Permission, Role};

/// What a request body is.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Media types, the usual one first.
    pub media: &'static [&'static str],
    /// Name of the schema of its JSON, or `None` for text and bytes.
    pub schema: Option<&'static str>,
}

/// What people read about a route.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// One sentence.
    pub summary: &'static str,
    /// Query parameters: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Its body.
    pub request: Option<Request>,
    /// Good answers: status, and the schema of the body unless it is empty. A schema in brackets
    /// is an array of it.
    pub answers: &'static [(u16, Option<&'static str>)],
    /// Statuses of its own among the bad ones; 401, 403, 500 and 503 go without saying.
    pub problems: &'static [u16],
}

impl About {
    /// A route without query and body.
    #[must_use]
    pub const fn plain(
        summary: &'static str,
        answers: &'static [(u16, Option<&'static str>)],
        problems: &'static [u16],
    ) -> Self {
        Self {
            summary,
            query: &[],
            request: None,
            answers,
            problems,
        }
    }
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// In lower case, as OpenAPI writes it.
    pub method: &'static str,
    /// Below [`super::PREFIX`], with `{names}`.
    pub path: &'static str,
    /// The permission it needs.
    pub permission: &'static str,
    /// The least role that has it.
    pub role: Role,
    /// What people read.
    pub about: About,
}

/// Arguments of a function that start with an [`Allowed`].
pub trait Guarded {
    /// The permission that it declares.
    type Permission: Permission;
}

macro_rules! guarded {
    ($($argument:ident),*) => {
        impl<M, P: Permission, $($argument),*> Guarded for (M, Allowed<P>, $($argument),*) {
            type Permission = P;
        }
    };
}
guarded!();
guarded!(A);
guarded!(A, B);
guarded!(A, B, C);
guarded!(A, B, C, D);
guarded!(A, B, C, D, E);

/// The routes so far.
#[derive(Default)]
pub struct Routes {
    router: Router<State>,
    operations: Vec<Operation>,
}

impl Routes {
    /// Adds a route. `route` is method and path, such as `get /runs/{id}`.
    ///
    /// # Panics
    /// At start, where `route` is not of that form or is there twice.
    #[must_use]
    pub fn add<H, T>(mut self, route: &'static str, function: H, about: About) -> Self
    where
        H: Handler<T, State>,
        T: Guarded + 'static,
    {
        let (method, path) = route
            .split_once(' ')
            .expect("routes are written `method path`");
        let filter = match method {
            "get" => MethodFilter::GET,
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "delete" => MethodFilter::DELETE,
            other => unreachable!("no route has the method {other}"),
        };
        let operation = Operation {
            method,
            path,
            permission: <T::Permission as Permission>::NAME,
            role: <T::Permission as Permission>::ROLE,
            about,
        };
        self.operations.push(operation);
        self.router = self.router.route(path, on(filter, function));
        self
    }

    /// The router and the list of what it serves.
    pub fn finish(self) -> (Router<State>, Vec<Operation>) {
        (self.router, self.operations)
    }

    /// The list of what it serves.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}
