//! The pool against real servers that misbehave: every trap has its test.
//!
//! The servers are small Python scripts in `fixtures/`, started as real processes over real pipes and sockets.

#[path = "mcp_servers/fixture.rs"]
mod fixture;
#[path = "mcp_servers/http.rs"]
mod http;
#[path = "mcp_servers/life.rs"]
mod life;
#[path = "mcp_servers/stdio.rs"]
mod stdio;
