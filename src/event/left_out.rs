//! The last element of a list that was cut: how many more there are. Written by whoever cuts one whose payload has no field
//! for that number, and read by whoever shows it or cuts it again.

/// `and 12 more`
pub fn and_more(count: u64) -> String {
    format!("and {count} more")
}

/// The opposite of [`and_more`]; `None` for an element that stands for itself.
pub fn left_out(element: &str) -> Option<u64> {
    element.strip_prefix("and ")?.strip_suffix(" more")?.parse().ok()
}
