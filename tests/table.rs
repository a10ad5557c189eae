//! The table of operations in `nbio::op` says what each backend says of itself.

use std::collections::BTreeMap;

use nbio::{Backend, Builder, EventLoop, Report, Simulation};

/// The rows of the table, by the name of the operation: what stands under each backend.
fn rows() -> BTreeMap<String, Vec<String>> {
    let rows = include_str!("../src/op/mod.rs").lines().filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[0].trim_end_matches("`]").to_owned();
        (name, cells[3..].iter().map(|&cell| cell.to_owned()).collect())
    })
    .collect()
}

/// Every operation that a backend tells of has a row, and every row's cell of this backend begins with what it tells.
fn agrees(report: &Report, column: usize) {
    let mut rows = rows();
    for &(kind, support) in report.operations() {
        let name = format!("{kind:?}");
        let cells = rows.remove(&name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let cell = &cells[column];
        let word = cell.split(": ").next().unwrap_or_default();
        assert_eq!(word, support.to_string(), "{name} on {}", report.backend());
    }
    assert!(rows.is_empty(), "in the table, but not told of: {:?}", rows.keys());
}

#[test]
fn the_table_of_operations_is_what_the_backends_report() {
    let io = EventLoop::<()>::new().unwrap();
    agrees(&io.report(), 0);
    let io: EventLoop = Builder::new().backend(Backend::Epoll).build().unwrap();
    agrees(&io.report(), 1);
    let simulation = Simulation::new(1);
    let io: EventLoop<()> = Builder::new().simulation(&simulation).build().unwrap();
    agrees(&io.report(), 2);
}
