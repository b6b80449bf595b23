//! What of a mount table is seen: in a user namespace the host's mounts come along, locked, and lie
//! beneath those of the instance.

/// The lines of proc_pid_mountinfo(5) whose mount some path leads to.
pub fn seen(table: &str) -> Vec<&str> {
    let lines: Vec<Line<'_>> = table.lines().map(Line::parse).collect();
    let is_seen = |line: &&Line<'_>| {
        let mut on_top = lines.iter().filter(|other| other.parent == line.id);
        is_reached(&lines, line) && !on_top.any(|other| other.place == line.place)
    };
    let seen = lines.iter().filter(is_seen);
    seen.map(|line| line.text).collect()
}

struct Line<'a> {
    id: &'a str,
    parent: &'a str,
    place: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        Self {
            id: words[0],
            parent: words[1],
            place: words[4],
            text,
        }
    }
}

/// Is its own root what is found at its place, but for what lies on that?
fn is_reached(lines: &[Line<'_>], line: &Line<'_>) -> bool {
    let Some(parent) = lines.iter().find(|other| other.id == line.parent) else {
        return true;
    };
    let is_in_the_way = |other: &&Line<'_>| {
        other.parent == line.parent && other.id != line.id && contains(other.place, line.place)
    };
    is_reached(lines, parent) && !lines.iter().any(|other| is_in_the_way(&other))
}

fn contains(place: &str, other: &str) -> bool {
    let rest = other.strip_prefix(place);
    place == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
