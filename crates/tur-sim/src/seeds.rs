//! Seeds whose worlds once broke a promise. They are run first, for ever.

/// The committed list, as it stands in `seeds.txt`: a seed on each line, `#` begins a comment.
pub const KEPT: &str = include_str!("../seeds.txt");

/// The seeds of a list.
///
/// # Errors
/// The first line that holds something else.
pub fn kept(text: &str) -> Result<Vec<u64>, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().map_err(|_| format!("not a seed: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_for_people_and_nonsense_is_refused() {
        assert_eq!(kept("# why\n7 # a hang\n\n 9\n"), Ok(vec![7, 9]));
        assert!(kept("7\nseven").is_err());
    }
}
