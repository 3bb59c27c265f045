//! The words for where a hidden value comes from.

/// Names a variable or a header of the entry at a place of the file.
pub(super) fn origin(kind: &str, name: &str, place: &str) -> String {
    let server = place.split_once('.').map_or(place, |(_, server)| server);
    format!("{kind} `{name}` of server `{server}`")
}
