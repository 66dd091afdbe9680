//! `SOURCE[:TARGET[:PERMISSIONS]]`.

use crate::node::{Data, Node, Place};

/// Reads the short form.
pub(super) fn parse_device(text: &str, at: Place) -> Result<Node, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => {
            return Err(format!(
                "confusing device mapping, please use long syntax: {text}"
            ));
        }
    };
    let fields = [
        ("source", source),
        ("target", target),
        ("permissions", permissions),
    ];
    let entries = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Node::text(value, at)));
    Ok(Node::new(Data::Map(entries.collect()), at))
}
