//! Requests of clients and their handlers, independent of the transport.

mod bodies;
mod dead_letters;
mod error_response;
mod filters;
mod handlers;
mod request;
mod run_value;
mod truncate;
mod waiting;

pub use self::error_response::ErrorResponse;
pub use self::handlers::RequestHandlers;
pub use self::request::{Api, ApiRequest, Verb};
