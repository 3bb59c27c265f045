//! Descriptions of the origins of hidden values.

/// Describes a variable or a header of the entry at the path `place` of the file.
pub(super) fn origin(kind: &str, name: &str, place: &str) -> String {
    let server = place.split_once('.').map_or(place, |(_, server)| server);
    format!("{kind} `{name}` of server `{server}`")
}
