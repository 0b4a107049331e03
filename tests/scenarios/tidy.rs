//! The house rules that lints cannot say, as tests. A rule that is broken names the place and what to do instead.

mod crates;
mod sources;
mod tree;
