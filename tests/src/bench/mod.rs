//! Figures against their references: measured here in one run where they can be, else as DESIGN.md states them.

mod compute;
mod rounds;
mod row;

pub use compute::compute_rows;
pub use rounds::round_rows;
pub use row::{Row, print_table, write_json};
